"""The base classifier as a file: ``model.safetensors``, whose metadata rebuild the network with no config at hand."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pagoda.data.dataset import Description, sides
from pagoda.errors import BadInput
from pagoda.files import file_hash, write_bytes
from pagoda.nets.architectures import build, fold_batch_norms

FORMAT = "pagoda-model-2"


@dataclass(frozen=True)
class Identity:
    """What a model file says of itself.

    `architecture` is what `build` takes: a name or a factory, and options; `objective` what `Objective` takes: a name
    and its values, lengths in pixel values. `mean` and `std` are the normalisation that is part of the network.
    `micro_batch` is how many pictures went through the network at once in training, which batch norm normalised
    together; 0: the whole batch. `precision` is that of the network's arithmetic, in training and ever after: in
    bfloat16 it is another classifier than in float32. `data` and `code` are the fingerprints of the dataset and of what
    made the model: the step, and the factory where there is one.
    """

    architecture: dict
    classes: tuple[str, ...]
    channels: int
    size: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    objective: dict[str, float | str]
    seed: int
    precision: str
    data: str
    code: str
    micro_batch: int = 0

    @classmethod
    def of(cls, description: Description, **others) -> "Identity":
        """Return that of a model for the pictures of a dataset, with its normalisation unless `others` name another."""
        own = {name: getattr(description, name) for name in ("classes", "channels", "size", "mean", "std")}
        return cls(**own | {"data": description.fingerprint} | others)


class BaseClassifier(nn.Module):
    """Normalisation, then a network: pictures [B, C, H, W] in [0, 1] (plus noise) -> logits [B, classes].

    Normalisation is in the pictures' precision, the network in that of its parameters, and so are the logits.
    """

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], classes: tuple[str, ...] = ()
    ):
        """Put (x - mean) / std, channel by channel, before `network`; `classes` are the names of its classes."""
        super().__init__()
        self.network, self.classes = network, classes
        # Not in the state: the metadata hold them.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        x = (x - self.mean) / self.std
        dtype = next(self.network.parameters()).dtype
        # Under autocast, parameters are float32 whatever the arithmetic.
        return self.network(x.to(dtype) if dtype == torch.bfloat16 else x)


@dataclass(frozen=True)
class Loaded:
    """A model read from a file: the network, frozen and ready for inference; what it is; and the hash of its file."""

    classifier: BaseClassifier
    identity: Identity
    hash: str


def save_model(path: Path, network: nn.Module, identity: Identity) -> None:
    """Write `network`'s weights and `identity` to `path`; the same weights give the same bytes."""
    # One key, because the order of several is not kept.
    metadata = {"pagoda": json.dumps({"format": FORMAT, **asdict(identity)}, sort_keys=True)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def read_identity(path: Path) -> Identity:
    """Read what a model file says of itself, without its weights. Raises BadInput as `load_model` does."""
    try:
        with safe_open(path, "pt") as file:
            fields = json.loads((file.metadata() or {})["pagoda"])
        if fields.pop("format") != FORMAT:
            raise KeyError("format")
        return Identity(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except FileNotFoundError:
        raise BadInput(f"no model at {path}: the train step writes it") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is truncated or no safetensors file: {error}") from None
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{path} is a safetensors file, but its metadata are not those of a {FORMAT} file") from None


def load_model(path: Path | str, device: torch.device | str = "cpu") -> Loaded:
    """Rebuild the base classifier that the train step wrote to `path`, frozen and in eval mode, on `device`.

    The batch-norms of our own architectures are folded into convolutions, parameters are in the model's precision:
    certify, predict and ascend meet the same classifier. A file that names a factory has that imported and called: load
    such only from those you trust.

    Raises:
        BadInput: where the file is missing, truncated, foreign, or does not fit the network that it names, or where
            the factory of that network is missing.

    """
    identity = read_identity(path)
    try:
        network = build(identity.architecture, len(identity.classes), identity.channels)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except (RuntimeError, SafetensorError) as error:
        first_lines = " ".join(str(error).split())[:300]
        raise BadInput(f"{path} does not hold the weights of {identity.architecture}: {first_lines}") from None
    network.eval()
    if "name" in identity.architecture:
        fold_batch_norms(network)
    if identity.precision == "bfloat16":
        network.to(torch.bfloat16)
    classifier = BaseClassifier(network, identity.mean, identity.std, identity.classes).eval().requires_grad_(False)
    classifier.to(device, memory_format=torch.channels_last)
    return Loaded(classifier, identity, file_hash(path))


def check_fits(model: Path, identity: Identity, data: Path, description: Description) -> None:
    """Raise BadInput unless the model takes the dataset's pictures and knows its classes."""
    takes, has = ("{} x {} x {}".format(one.channels, *sides(one.size)) for one in (identity, description))
    if takes != has:
        raise BadInput(f"{model} takes pictures of {takes}, but those of {data} are {has}")
    if identity.classes != description.classes:
        raise BadInput(
            f"{model} knows the classes {', '.join(identity.classes)}, but {data} has {', '.join(description.classes)}"
        )
