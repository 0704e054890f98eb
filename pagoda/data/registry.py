"""The measures of alignment and the judges, each said once: tables, summary, figures and page read them here.

A measure's formula is in pagoda/maths/alignment.py, under the name of its column; how a judge is fitted, and what it
sees of a picture, in pagoda/nets/judges.py, under its name. Nothing is imported that takes long.
"""

from dataclasses import dataclass
from math import pi

WHITE_NOISE = 1 - pi / 16
"""The high-frequency fraction of white noise: the part of the square of frequencies outside the circle of 1/4."""


@dataclass(frozen=True)
class Judge:
    """A judge: its name in columns, what people call it, and in a few words.

    Of ascents from a start in `circular` it says nothing: those are made from what it is fitted on.
    """

    name: str
    label: str
    short: str
    about: str
    circular: tuple[str, ...] = ()


JUDGES = (
    Judge("net", "net under noise", "net", "a net trained under noise"),
    Judge("patches", "random patches", "patches", "responses to random patches"),
    Judge("qda", "class Gaussians", "Gaussians", "class Gaussians", circular=("seeds",)),
)


@dataclass(frozen=True)
class Measure:
    """A measure: its column, what people call it, what it means, and the sign of the better direction (0: neither).

    `of` says what it is taken of: the gradient of the score of the "target" (and "bayes", its cosines with those of the
    Bayes classifier) or of the image's "own" class (and "tangent", its part along that class's components), the
    "change", a "judge", or the "ascent" itself, whose file has it. `short` heads its panel in the figure, and
    `reference` is the value marked there: what chance, or white noise, would have; None for no fixed one. `digits` are
    the decimals that the page shows of one picture's. `within` is the least and the most that it can be.
    """

    column: str
    name: str
    better: int
    of: str
    meaning: str
    short: str = ""
    reference: float | None = 0.0
    digits: int = 2
    within: tuple[float, float] | None = None

    @property
    def heading(self) -> str:
        """Its name, with an arrow for the better direction."""
        return self.name + {1: " ↑", -1: " ↓", 0: ""}[self.better]

    @property
    def title(self) -> str:
        """Its short name, with an arrow to the better side."""
        return f"← {self.short}" if self.better < 0 else f"{self.short} →"

    @property
    def gate(self) -> str | None:
        """The column of the split-half cosine below which it says nothing, because N is too small; None: of none."""
        return {
            "target": "split_half",
            "bayes": "split_half",
            **dict.fromkeys(("own", "tangent"), "own_split_half"),
        }.get(self.of)

    @property
    def judge(self) -> str | None:
        """The name of the judge whose gain it is; None where it is no judge's."""
        return self.column.removesuffix("_gain") if self.of == "judge" else None


def _gain(judge: Judge) -> Measure:
    left_out = f"; left out for views from {' and '.join(judge.circular)}" if judge.circular else ""
    meaning = f"how much more often the judge ({judge.about}) sees the target class after than before{left_out}"
    return Measure(
        f"{judge.name}_gain", f"judge gain, {judge.label}", 1, "judge", meaning, f"gain: {judge.short}", within=(-1, 1)
    )


MEASURES = (
    Measure(
        *("contrastive", "contrastive cosine", 1, "target"),
        "cosine of the gradient with the direction to the target class's mean, less that of other classes",
        short="contrastive cosine",
        digits=3,
    ),
    Measure(
        *("bayes", "Bayes contrast", 1, "bayes"),
        "cosine of the gradient with that of the Bayes classifier (a Gaussian a class, under as much noise) towards "
        "the target, less that towards other classes",
        short="Bayes contrast",
        digits=3,
    ),
    Measure(
        *("bayes_match", "best-matching share", 1, "bayes"),
        "how often the gradient agrees best, of all classes', with the target's gradient of the Bayes classifier",
        short="best match",
        reference=None,
        within=(0, 1),
    ),
    Measure(
        *("tangent", "tangent share", 1, "tangent"),
        "share of the power of the own class's gradient along the components that hold 90 % of the class's variance",
        short="tangent share",
        reference=None,
        within=(0, 1),
    ),
    Measure(
        *("saliency", "saliency cosine", 1, "own"),
        "|cosine| of the centred image and the gradient of its own class",
        short="saliency cosine",
        reference=None,
        digits=3,
        within=(0, 1),
    ),
    Measure(
        *("high_frequency", "high-frequency fraction", -1, "change"),
        f"share of the change's power above ¼ cycle per pixel; white noise has {WHITE_NOISE:.2f}",
        short="high-freq. fraction",
        reference=WHITE_NOISE,
        within=(0, 1),
    ),
    *map(_gain, JUDGES),
)
"""What hypotheses are decided by, in the order of tables, figures and page."""
OTHERS = (
    Measure(
        *("split_half", "split-half cosine", 0, "target"),
        "agreement of two independent estimates of the gradient: where low, N is too small",
        within=(-1, 1),
    ),
    Measure(
        *("own_split_half", "split-half cosine, own class", 0, "own"),
        "the same of the gradient of the image's own class",
        within=(-1, 1),
    ),
    Measure(
        *("bayes_blurred", "Bayes contrast, blurred", 0, "bayes"),
        "Bayes contrast once the gradient has the radial spectrum of the headline's smoothed view: a control, for the "
        "unsmoothed view beside it",
        digits=3,
    ),
    Measure(
        *("p_before", "p̄ₜ before", 0, "ascent", "score of the target class at the source, the model's own"),
        within=(0, 1),
    ),
    Measure(
        *("p_after", "p̄ₜ after", 0, "ascent", "score of the target class at the end, the model's own"), within=(0, 1)
    ),
    Measure("norm", "‖δ‖", 0, "ascent", "L2 norm of the change"),
)
"""What stands beside them in tables: no direction is the better one."""
COLUMNS = [measure.column for measure in (*MEASURES, *OTHERS)]
