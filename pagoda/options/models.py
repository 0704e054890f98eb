"""What makes a model: its architecture, its training objective with its values, or a published checkpoint."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from pagoda.options.base import Count, Length, Name, Options, Precision, Share, option


class Network(Options):
    """An architecture of ours."""

    name: Literal["fast_resnet", "resnet18", "resnet20", "resnet110", "resnet50"] = option("which")
    width: int | None = option("fast_resnet: channels of the stem", None, ge=1)

    @model_validator(mode="after")
    def _has_a_width_where_it_takes_one(self) -> "Network":
        if (self.width is None) == (self.name == "fast_resnet"):
            raise ValueError(f"{self.name} {'needs a' if self.width is None else 'takes no'} width")
        return self


class Factory(Options):
    """Any network that can be imported; further keys are arguments of the function that makes it."""

    model_config = ConfigDict(extra="allow")
    factory: str = option("module:function", pattern=r"^[\w.]+:[\w.]+$")


Architecture = Annotated[
    Annotated[Network, Tag("network")] | Annotated[Factory, Tag("factory")],
    Discriminator(
        lambda given: (
            "factory"
            if "factory" in (given if isinstance(given, dict) else getattr(given, "__dict__", ()))
            else "network"
        )
    ),
]


class Import(Options):
    """A published checkpoint, taken as it is."""

    file: str = option("where it lies")
    format: Literal["locuslab", "smoothadv", "robustness", "robustbench", "torchvision"] = option("whose it is")
    mean: tuple[Share, ...] = option("of each channel, where the file lacks it", ())
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] = option("of each channel, where the file lacks it", ())
    precision: Precision = option("of the network's arithmetic", "float32")
    trusted: bool = option("read the file even where that runs code from it", False)


class Model(Options):
    """A model: its training objective, and what it has of its own beside the experiment."""

    name: Name | None = option("what tells it from another of its objective and sigma or epsilon", None)
    architecture: Architecture | None = option("if not the experiment's", None)
    train: dict[str, Any] = option("options of train, if not the experiment's", {})
    checkpoint: Import | None = option("a published checkpoint, instead of a training", None, alias="import")

    @property
    def objective_values(self) -> dict[str, Any]:
        """The training objective: {"name": …} and its values."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in Model.model_fields}
        return {"name": own.pop("objective")} | own

    @property
    def label(self) -> str:
        """What paths and figures call the model: its objective, sigma (else epsilon), and name where it has one."""
        values = [self.objective_values[key] for key in ("sigma", "epsilon") if key in self.objective_values][:1]
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


AnyModel = Annotated[Standard | Gaussian | Adversarial | SmoothAdv | Consistency, Field(discriminator="objective")]
