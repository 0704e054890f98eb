"""What makes a model: its architecture, its training objective with its values, or a published checkpoint."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from pagoda.options.base import Count, Expanded, Length, Name, Options, Precision, Share, Unique, option

TAKES = {"airbench": {"widths"}, "wideresnet": {"depth", "width", "variant"}, "preactresnet18": {"variant"}}
"""Options of architectures: those without a default must be given."""
VARIANTS = {"wideresnet": ("deepmind",), "preactresnet18": ("fast", "rice", "deepmind")}


class Network(Options):
    """An architecture of ours."""

    name: Literal[
        *("airbench", "resnet18", "resnet20", "resnet110", "resnet50"),
        *("cifar-resnet50", "preactresnet18", "wideresnet", "lenet"),
    ] = option("which")
    widths: tuple[Count, ...] | None = option("airbench: channels of each group of convolutions", None, min_length=1)
    depth: int | None = option("wideresnet: layers, 6n + 4", None, ge=10)
    width: int | None = option("wideresnet: how many times as wide as the first ones", None, ge=1)
    variant: Literal["deepmind", "fast", "rice"] | None = option(
        "wideresnet, preactresnet18: whose code, where it differs from the usual (pagoda.nets.published)", None
    )

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> "Network":
        for key in ("widths", "depth", "width", "variant"):
            takes, given = key in TAKES.get(self.name, ()), getattr(self, key) is not None
            if given > takes or (takes and not given and key != "variant"):
                raise ValueError(f"{self.name} {'needs' if takes else 'takes no'} {key}")
        if self.variant and self.variant not in (known := VARIANTS[self.name]):
            raise ValueError(f"{self.name} has no variant {self.variant}; it has {', '.join(known)}")
        if self.depth and (self.depth - 4) % 6:
            raise ValueError(f"depth is {self.depth}: must be 6n + 4 (10, 16, 22, 28, 34, 40 ...)")
        return self

    @property
    def smallest(self) -> int:
        """The side of the smallest pictures that it takes."""
        return 2 ** len(self.widths or ()) + 1

    def too_small(self, size: int) -> str:
        """Return what is wrong with pictures of `size` pixels a side, where that is below `smallest`."""
        return f"{len(self.widths)} groups, which each halve the side, need {self.smallest} pixels a side, not {size}"


class Factory(Options):
    """Any network that can be imported; further keys are arguments of the function that makes it."""

    smallest: ClassVar[int] = 1

    model_config = ConfigDict(extra="allow")
    factory: str = option("module:function", pattern=r"^[\w.]+:[\w.]+$")


def _kind_of_architecture(given: Any) -> str:
    held = given if isinstance(given, dict) else getattr(given, "__dict__", ())
    return "factory" if "factory" in held else "network"


Architecture = Annotated[
    Annotated[Network, Tag("network")] | Annotated[Factory, Tag("factory")], Discriminator(_kind_of_architecture)
]


class SGD(Options):
    """SGD with Nesterov momentum, on a one-cycle schedule."""

    name: Literal["sgd"]
    learning_rate: float = option("peak of the schedule", 0.1, gt=0)
    momentum: float = option("of the steps", 0.9, ge=0, lt=1)
    weight_decay: float = option("L2 penalty on the weights", 0.0005, ge=0)


class Muon(Options):
    """Muon on the filters, Adam on biases and the head; both rates fall linearly to 0 (Jordan 2024)."""

    name: Literal["muon"]
    learning_rate: float = option("of the filters, each of norm sqrt(its outputs), at the start", 0.12, gt=0)
    momentum: float = option("of the filters' steps", 0.6, ge=0, lt=1)
    others: float = option("learning rate of biases and the head, at the start", 0.01, gt=0)


Optimiser = Annotated[SGD | Muon, Field(discriminator="name")]


class DnCNN(Options):
    """A denoiser (Zhang et al. 2017), as denoised smoothing has it (Salman et al. 2020)."""

    name: Literal["dncnn"] = option("which")
    depth: int = option("convolutions", 17, ge=3)
    width: int = option("their channels", 64, ge=1)


class Denoiser(Options):
    """What makes pictures of noisy ones, before a classifier."""

    architecture: Annotated[
        Annotated[DnCNN, Tag("network")] | Annotated[Factory, Tag("factory")], Discriminator(_kind_of_architecture)
    ] = option("{name: dncnn}, or {factory: module:function, ...}")
    file: Expanded | None = option("where its weights lie (none: its factory has them)", None)


class Import(Options):
    """A published checkpoint, taken as it is."""

    file: Expanded = option("where it lies")
    format: Literal["auto", "locuslab", "smoothadv", "robustness", "robustbench", "torchvision"] = option(
        "whose it is; auto: as its weights' names say", "auto"
    )
    mean: tuple[Share, ...] = option("of each channel, where the file lacks it", ())
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] = option("of each channel, where the file lacks it", ())
    clamp: bool | None = option(
        "clamp pictures to [0, 1] before all else, which cuts noise off (none: as published; robustness does)", None
    )
    standardise: bool = option("bring each picture to mean 0 and deviation 1 by itself (Ding et al. 2020)", False)
    classes: Annotated[tuple[str, ...], Unique] = option(
        "names of the network's outputs in turn, where their order is not the dataset's", ()
    )
    accuracy: Share | None = option("on clean test pictures, as published: another one is refused", None)
    denoiser: Denoiser | None = option("what comes before the classifier (Salman et al. 2020)", None)
    precision: Precision = option("of the network's arithmetic", "float32")
    trusted: bool = option("read the files even where that runs code from them", False)

    @property
    def parts(self) -> dict[str, Any]:
        """What `pagoda.nets.importers.assemble` takes of it."""
        same = {name: getattr(self, name) for name in ("mean", "std", "clamp", "standardise", "trusted")}
        denoiser = self.denoiser and self.denoiser.values()
        return same | {"form": self.format, "order": self.classes, "denoiser": denoiser}

    @property
    def files(self) -> list[str]:
        """The files that it is read from."""
        return [self.file, *filter(None, [self.denoiser and self.denoiser.file])]


class Model(Options):
    """A model: its training objective, and what it has of its own beside the experiment."""

    name: Name | None = option("what tells it from another of its objective and sigma or epsilon", None)
    architecture: Architecture | None = option("if not the experiment's", None)
    train: dict[str, Any] = option("options of train, if not the experiment's", {})
    checkpoint: Import | None = option("a published checkpoint, instead of a training", None, alias="import")
    init: Name | None = option("another model, whose weights, architecture and normalisation it starts from", None)

    @property
    def objective_values(self) -> dict[str, Any]:
        """The training objective: {"name": …} and its values."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in Model.model_fields}
        return {"name": own.pop("objective")} | own

    @property
    def is_trained(self) -> bool:
        """Whether it is trained here, neither fitted nor imported."""
        return self.checkpoint is None and self.objective != "bayes"

    @property
    def label(self) -> str:
        """What paths and figures call the model: its objective, sigma (else epsilon), and name where it has one."""
        values = [value for key in ("sigma", "epsilon") if (value := self.objective_values.get(key))][:1]
        return "-".join([self.objective, *(f"{value:g}" for value in values), *filter(None, [self.name])])


class Standard(Model):
    """Training on the pictures themselves."""

    objective: Literal["standard"]


class Gaussian(Model):
    """Training under Gaussian noise (Cohen et al. 2019)."""

    objective: Literal["gaussian"]
    sigma: Length = option("standard deviation of the noise")


class Adversarial(Model):
    """L2-adversarial training (Madry et al. 2018)."""

    objective: Literal["adversarial"]
    epsilon: Length = option("radius of the attack")
    attack_steps: Count = option("steps of the attack")
    attack_step: Length = option("length of a step, L2")
    warmup: int = option("epochs over which epsilon and step grow", 0, ge=0)


class SmoothAdv(Model):
    """Adversarial training of the smoothed classifier (Salman et al. 2019)."""

    objective: Literal["smoothadv"]
    sigma: Length = option("standard deviation of the noise")
    epsilon: Length = option("radius of the attack")
    attack_steps: Count = option("steps of the attack")
    attack_step: Length = option("length of a step, L2")
    draws: Count = option("m, noise draws of a picture", 2)
    warmup: int = option("epochs over which epsilon and step grow", 0, ge=0)


class Consistency(Model):
    """Training under Gaussian noise, with draws that agree (Jeong & Shin 2020)."""

    objective: Literal["consistency"]
    sigma: Length = option("standard deviation of the noise")
    draws: int = option("m, noise draws of a picture", 2, ge=2)
    agreement: float = option("lambda, weight of the divergence of the draws from their mean", 10, ge=0)
    entropy: float = option("eta, weight of the entropy of their mean", 0.5, ge=0)


class Bayes(Model):
    """The Bayes classifier under noise, were each class a Gaussian; fitted, not trained."""

    objective: Literal["bayes"]
    sigma: Length = option("standard deviation of the noise")
    rank: Count = option("principal components of a class, at most; the rest of its covariance is isotropic", 512)


class SmoothMix(Model):
    """Training under Gaussian noise, with mixtures of pictures and their attacked selves (Jeong et al. 2021)."""

    objective: Literal["smoothmix"]
    sigma: Length = option("standard deviation of the noise")
    attack_steps: Count = option("T, steps of the attack, which has no ball", 4)
    attack_step: Length = option("alpha, length of a step, L2", 1)
    draws: Count = option("m, noise draws of a picture", 2)
    mixing: float = option("eta, weight of the mixtures", 5, ge=0)
    warmup: int = option("epochs over which mixing grows", 0, ge=0)


class PAG(Model):
    """Training with input gradients that point to class means (Ganz, Kawar & Elad 2023)."""

    objective: Literal["pag"]
    sigma: float = option("standard deviation of the noise (0: none)", 0, ge=0)
    alignment: float = option("weight of 1 - cosine, a mean over classes (published code: 15)", 15, ge=0)
    targets: Count = option("classes of which a picture's gradients are aligned", 2)


class GradNorm(Model):
    """Training with a penalty on the norm of input gradients (Drucker & LeCun 1992; Finlay & Oberman 2019)."""

    objective: Literal["gradnorm"]
    sigma: float = option("standard deviation of the noise (0: none)", 0, ge=0)
    penalty: float = option("lambda, weight of half the squared L2 norm", 0.1, ge=0)


AnyModel = Annotated[
    Standard | Gaussian | Adversarial | SmoothAdv | Consistency | SmoothMix | PAG | GradNorm | Bayes,
    Field(discriminator="objective"),
]
