"""The sections of an experiment. What is beyond the base of a ``…Section`` are for planning: no step has it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pagoda.data.classes import PUBLISHED
from pagoda.data.views import View
from pagoda.maths.certification import MODES, RADII, Rule
from pagoda.options.base import ClassName, Count, Length, Options, Precision, Unique, option
from pagoda.options.models import SGD, AnyModel, Bayes, Gaussian, Optimiser

BATCH = "noisy pictures at once"
Classes = Annotated[
    tuple[ClassName, ...],
    Unique,
    BeforeValidator(lambda given: () if given == "all" else given),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Train(Options):
    """Training of a base classifier."""

    epochs: int = option("passes over the training pictures", 30, ge=1)
    batch: int = option("pictures a step", 128, ge=1)
    micro_batch: int = option("pictures that go at once, which batch norm sees together (0: the whole batch)", 0, ge=0)
    optimiser: Optimiser = option("what takes the steps", SGD(name="sgd"))
    label_smoothing: float = option("share of the target that is spread over all classes", 0, ge=0, lt=1)
    flip: bool = option("mirror half of the training pictures", False)
    shift: int = option("pixels by which training pictures move at most, each way", 0, ge=0)
    crop: bool = option("random crops of 8-100 % of the area (storage files)", False)
    precision: Precision = option("of matrix products; auto: bfloat16 where the device is faster at it", "auto")
    seed: int = option("of weights, order, augmentation and noise", 0, ge=0)
    workers: int = option("processes that decode (storage files), for each GPU", 0, ge=0, speed=True)
    checkpoint_seconds: float = option("between checkpoints", 30, gt=0, le=60, speed=True)


class JudgePictures(Options):
    """Test images that a judge is made from, instead of the training images, and those that it is tested on."""

    judge_fit: int = option("make a judge, from the last so many test images (0: from the training images)", 0, ge=0)
    judge_held_out: int = option("test the judge on so many test images before those", 0, ge=0)


class TrainSection(Train):
    """Training, and on what."""

    gpus: int = option("of each node; they share each batch", 1, ge=1, speed=True)
    nodes: int = option("of a SLURM allocation", 1, ge=1, speed=True)


class SmoothedViewOptions(Options):
    """A smoothed model."""

    model: str = option("its name")
    sigma: Length = option("standard deviation of the smoothing noise")

    @property
    def view(self) -> View:
        """The same, as the library has it."""
        return View(**self.model_dump())


class ViewOptions(SmoothedViewOptions):
    """A model, smoothed or not, and what ascents of it start from."""

    sigma: float = option("standard deviation of the smoothing noise; 0: unsmoothed", ge=0)
    start: Literal["images", "seeds", "noise"] = option(
        "test images of other classes, draws from the target class's Gaussian, or noise", "images"
    )


class Chosen(Options):
    """Which test images: numbered in the order of their source, as in published logs."""

    images: int = option("test images, evenly spread; with skip: at most", 100, ge=1)
    skip: int = option("take every skip-th image (0: evenly spread)", 0, ge=0)
    first: int = option("number of the first image, with skip", 0, ge=0)

    @model_validator(mode="after")
    def _first_goes_with_skip(self) -> "Chosen":
        if self.first and not self.skip:
            raise ValueError(f"first is {self.first}: it goes with skip, e.g. skip 1")
        return self


class Certify(Chosen):
    """Certification (Cohen et al. 2019)."""

    mode: Literal[MODES] = option(
        "grid: draws until the radii are decided; fixed: n (Cohen et al. 2019); radius: for the average radius", "grid"
    )
    n0: int = option("draws that select the class", 100, ge=1)
    n: int = option("fresh draws that bound its probability, at most", 1000, ge=1)
    alpha: float = option("chance that a certificate is wrong", 0.001, gt=0, lt=1)
    radii: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Unique] = option(
        "grid: radii of interest", RADII, min_length=1
    )
    looks: tuple[Count, ...] = option("grid: draws after which to look (none: a fifteenth more each)", ())
    label_aware: bool = option("grid: do not certify an image whose selected class is not its label", False)
    tolerance: float = option("radius: share of the radius that may be lost to fewer draws", 0.05, gt=0, lt=1)
    seed: int = option("of the noise", 0, ge=0)
    batch: int = option(BATCH, 250, ge=1, speed=True)

    @model_validator(mode="after")
    def _makes_a_rule(self) -> "Certify":
        self.rule(sigma=1)
        return self

    def rule(self, sigma: float) -> Rule:
        """Return the rule that these options make at a noise level. Raises ValueError where they contradict."""
        names = ("mode", "n0", "n", "alpha", "radii", "looks", "label_aware", "tolerance")
        return Rule(sigma=sigma, **{name: getattr(self, name) for name in names})


class CertifySection(Certify):
    """Certification, and of what: each model trained under noise at its sigma, and `also`."""

    also: tuple[SmoothedViewOptions, ...] = option("further models and the noise that smooths them", ())
    published: Literal[tuple(PUBLISHED)] | None = option("compare with published figures of", None)


class Predict(Chosen):
    """Prediction (Cohen et al. 2019)."""

    n: int = option("draws for a prediction", 1000, ge=1)
    alpha: float = option("chance that a prediction is not the smoothed classifier's", 0.001, gt=0, lt=1)
    seed: int = option("of the noise", 0, ge=0)
    batch: int = option(BATCH, 250, ge=1, speed=True)


class Ascend(Options):
    """Targeted L2 ascent (Kaur et al. 2019)."""

    images: int = option("sources: the first test images of other classes", 16, ge=1)
    steps: int = option("of ascent", 30, ge=1)
    step: float = option("length of a step, as a fraction of epsilon", 0.1, gt=0)
    momentum: float = option("share of the steps so far that a step takes along", 0.0, ge=0, lt=1)
    draws: int = option("N, noise draws a step", 16, ge=1)
    check_draws: int = option("fresh draws for p_t before and after", 256, ge=1)
    frames: int = option("pictures kept along the way, with start and end", 11, ge=2)
    seed: int = option("of the noise", 0, ge=0)
    batch: int = option(BATCH, 256, ge=1, speed=True)


class AscendSection(Ascend):
    """Ascents, and which: every view towards every class at every epsilon."""

    images: int | None = option("sources: the first test images of other classes (none: 16, fewer of few)", None, ge=1)
    views: tuple[ViewOptions, ...] = option("models, and the noise that smooths them", min_length=1)
    epsilon: Annotated[tuple[Length, ...], Unique] = option("radii of the balls", min_length=1)
    classes: Classes = option("target classes, a list of names, or all", ())


class Sweep(Options):
    """What N does: ascents from the same sources, at the headline's epsilon."""

    views: Annotated[tuple[SmoothedViewOptions, ...], Unique] = option(
        "models, and the noise that smooths them", min_length=1
    )
    draws: Annotated[tuple[Count, ...], Unique] = option("N, noise draws a step", (1, 4, 16, 64), min_length=1)
    target: ClassName = option("target class", alias="class")


SCORES = ("log-p", "logit", "untargeted")


class Ablation(Options):
    """What else could be ascended: from the same sources, at the headline's epsilon."""

    views: Annotated[tuple[SmoothedViewOptions, ...], Unique] = option(
        "models, and the noise that smooths them", min_length=1
    )
    scores: Annotated[tuple[Literal[SCORES], ...], Unique] = option(
        "log p_t, the mean logit of the target, -log p of the source's own class", SCORES, min_length=1
    )


class Align(Options):
    """How well gradients and ascents agree with the classes."""

    draws: int = option("N, noise draws of a gradient", 64, ge=1)
    judge_fit: int = option("last test images, on which the judges are fitted", ge=1)
    judge_held_out: int = option("test images before those, on which the judges' accuracy is measured", ge=1)
    seed: int = option("of noise and judges", 0, ge=0)
    batch: int = option(BATCH, 256, ge=1, speed=True)


class AlignSection(Align):
    """Alignment, the judge that is trained for it, and when it says nothing."""

    judge_fit: int | None = option("last test images, on which the judges are fitted (none: most)", None, ge=1)
    judge_held_out: int | None = option("test images before those, that try the judges (none: a quarter)", None, ge=1)
    judge: AnyModel = option(
        "training of the network among the judges, on judge_fit images",
        Gaussian(objective="gaussian", sigma=0.1, train={"epochs": 40}),
    )
    reference: Bayes = option(
        "the Bayes classifier that gradients are held against, fitted on judge_fit images; its sigma is for unsmoothed "
        "views, smoothed ones have their own",
        Bayes(objective="bayes", sigma=0.5),
    )
    gate: float = option("split-half cosine below which N is called too small", 0.5, ge=-1, le=1)


class Property(Options):
    """Alignment against certified accuracy, by model."""

    radii: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Unique] = option(
        "at which certified accuracy is taken", (0.25, 0.5), min_length=1, max_length=4
    )


class PropertySection(Property):
    """Alignment against certified accuracy, and of which trainings."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Unique] = option(
        "further seeds that each certified model is trained with, beside its own", ()
    )


class Montage(Options):
    """Figures."""

    headline_epsilon: float | None = option("one of ascend.epsilon (none: the largest)", None, gt=0)
    classes: Annotated[tuple[ClassName, ...], Unique] = option(
        "classes that figures show (none: all of ascend.classes)", ()
    )


class Gallery(Options):
    """The page."""

    sources: int = option("of each view, epsilon and class, at most", 6, ge=1)
    frames: int = option("of each ascent, at most", 7, ge=2)
