"""The summary of the measures of every view: means over images with intervals, and which hypotheses hold.

An image's value is the mean over its ascents (one a target class). Whether standard < smoothed holds is decided by the
paired difference over the images of both views. All measures are decided at once, so each interval that decides has the
coverage TOGETHER: by Bonferroni's inequality, all of them hold with 95 %.
"""

from dataclasses import dataclass
from math import ceil, isnan, log2

import numpy as np
import pandas as pd

from pagoda.data.alignments import Alignment
from pagoda.data.registry import COLUMNS, JUDGES, MEASURES, OTHERS, WHITE_NOISE, Measure
from pagoda.figures.looks import name_of
from pagoda.figures.markup import markdown
from pagoda.maths.confidence import mean_interval

TOGETHER = 1 - 0.05 / len(MEASURES)  # coverage of each interval that decides
ENOUGH = ceil(log2(2 / (1 - TOGETHER)))
"""Images from which on a hypothesis is decided.

From as many on, the sign test, which takes nothing for granted but that a difference is as likely as its negative where
views do not differ, could decide as well: differences of one sign alone have the chance 2 / 2^n.
"""
LABELS = {judge.name: judge.label for judge in JUDGES}


@dataclass(frozen=True)
class Summary:
    """What is summarised, and how.

    `epsilon` is that of the page, in pixel values, `gate` the split-half cosine below which N is called too small.
    """

    alignments: list[Alignment]
    epsilon: float
    gate: float

    def table(self) -> pd.DataFrame:
        """Return a row a view and epsilon: of each measure the mean, low, high and n, then what is flagged."""
        radii = sorted({epsilon for one in self.alignments for epsilon in one.rows.epsilon})
        rows = [self._row(one, e) for one in self.alignments for e in radii if (one.rows.epsilon == e).any()]
        return pd.DataFrame(rows)

    def page(self, table: pd.DataFrame) -> str:
        """Return the page in Markdown; `table` is that of `table()`."""
        shown = [row for _, row in table[table.epsilon == self.epsilon].iterrows()]
        header = ["view", "images (ascents)", *(measure.heading for measure in (*MEASURES, *OTHERS))]
        rows = [[row.view, f"{row.n} ({row.ascents})", *(_cell(row, name) for name in COLUMNS)] for row in shown]
        draws = sorted({one.facts["draws"] for one in self.alignments if one.view.sigma > 0})
        counts = f"Gradients from N = {', '.join(map(str, draws))} draws. " if draws else ""
        unsmoothed = sorted({one.facts["reference_sigma"] for one in self.alignments if one.view.sigma == 0})
        if unsmoothed:
            counts += (
                f"The Bayes gradients beside unsmoothed ones are for σ = {', '.join(f'{s:g}' for s in unsmoothed)}. "
            )
        flags = [f"- {row.view}: {row['flags']}" for row in shown if row["flags"]]
        parts = [
            "# Alignment",
            f"ε = {self.epsilon:g}. Means over images, each the mean over its ascents; in brackets 95 % intervals over "
            f"images (Student's t). {counts}An arrow points where the better values lie. White noise has a "
            f"high-frequency fraction of {WHITE_NOISE:.2f}.",
            markdown(header, rows),
            *(["Flags:\n\n" + "\n".join(flags)] if flags else []),
            "## Does the hypothesis hold: standard < smoothed?",
            f"Decided from {ENOUGH} images on, by {100 * TOGETHER:.1f} % intervals of the difference (Student's t): "
            f"a wrong decision on any of the {len(MEASURES)} measures of a pair of views has a chance of 5 % "
            "(Bonferroni).",
            "\n".join(f"- {sentence}" for sentence in self.hypotheses()),
            *self._controls(),
            "## Judges",
            markdown(*self._judges()),
        ]
        return "\n\n".join(parts) + "\n"

    def hypotheses(self) -> list[str]:
        """Return one sentence a measure: whether standard, unsmoothed, is worse than Gaussian-trained, smoothed."""
        standard, smoothed = self._of("standard", smoothed=False), self._of("gaussian", smoothed=True)
        if not standard or not smoothed:
            return ["Not tested: it takes a standard, unsmoothed view and a smoothed one of a Gaussian-trained model."]
        sentences = []
        for measure in MEASURES:
            clauses = [
                f"{self.verdict(standard[0], one, measure)} for {name_of(one.view)}, against "
                f"{name_of(standard[0].view)}"
                for one in smoothed
            ]
            sentences.append(f"{measure.name[0].upper()}{measure.name[1:]}: the hypothesis {'; it '.join(clauses)}.")
        return sentences

    def differences(self) -> pd.DataFrame:
        """Return a row a pair of views and measure: the mean paired difference, its interval, n, and what it decides.

        First the pairs of the hypothesis, with intervals that hold together with 95 %; then the controls, whose
        intervals hold with 95 % each and decide nothing.
        """
        pairs = [(one, other, True) for one in self._of("standard", smoothed=False)[:1]
                 for other in self._of("gaussian", smoothed=True)]  # fmt: skip
        pairs += [(*pair, False) for pair in self._control_pairs()]
        rows = []
        for before, after, tested in pairs:
            for measure in MEASURES:
                found = self._difference(before, after, measure, TOGETHER if tested else 0.95)
                row = {"before": name_of(before.view), "after": name_of(after.view), "column": measure.column}
                row |= dict(zip(("mean", "low", "high", "n"), found, strict=True))
                said = self.verdict(before, after, measure).partition(" (")[0] if tested else ""
                rows.append(row | {"verdict": said})
        return pd.DataFrame(rows, columns=["before", "after", "column", "mean", "low", "high", "n", "verdict"])

    def verdict(self, before: Alignment, after: Alignment, measure: Measure) -> str:
        """Say what the paired differences of two views over the images of both mean for the hypothesis."""
        found = self._difference(before, after, measure, TOGETHER)
        mean, low, high, n = found
        difference = f"smoothed − standard = {_said(found)}"
        if n < ENOUGH:
            few = f"{n} images are few; {difference}" if n > 1 else f"the interval is undefined with n = {n}"
            return f"is not decided ({few})"
        if weak := self._weakness(before, after, measure):
            return f"is not decided ({weak}; {difference})"
        if isnan(low):
            return f"is not decided (no spread to decide by; {difference})"
        if low <= 0 <= high:
            return f"is not decided ({difference})"
        return f"{'holds' if mean * measure.better > 0 else 'does not hold: the reverse does'} ({difference})"

    def _row(self, one: Alignment, epsilon: float) -> dict:
        images = one.by_image(epsilon)
        row = {"view": name_of(one.view)} | {key: one.facts[key] for key in ("model", "sigma", "start", "objective")}
        row |= {"epsilon": epsilon, "n": len(images), "ascents": int((one.rows.epsilon == epsilon).sum())}
        for measure in (*MEASURES, *OTHERS):
            name = measure.column
            found = mean_interval(images[name].to_numpy(float), within=measure.within)
            row |= dict(zip((name, f"{name}_low", f"{name}_high", f"{name}_n"), found, strict=True))
        return row | {"flags": "; ".join(self._flags(one, row))}

    def _flags(self, one: Alignment, row: dict) -> list[str]:
        flags = []
        if row["n"] == 1:
            flags.append("one image: intervals are undefined")
        elif row["n"] < ENOUGH:
            flags.append(f"{row['n']} images are few: nothing is decided from fewer than {ENOUGH}")
        for gate, which in (("split_half", ""), ("own_split_half", " of the own class")):
            if row[gate] < self.gate:
                below = f"split-half cosine{which} {row[gate]:.2f} < {self.gate:g}"
                flags.append(f"N = {one.facts['draws']} is too small: {below}")
        flags += [
            f"judge {LABELS[name]}: below twice chance, accuracy {judge['accuracy']:.2f}"
            for name, judge in one.facts["judges"].items()
            if _weak(judge)
        ]
        circular = [judge.label for judge in JUDGES if one.view.start in judge.circular]
        return flags + [f"judge {label}: left out, as {one.view.start} are drawn from such" for label in circular]

    def _of(self, objective: str, *, smoothed: bool) -> list[Alignment]:
        """Return what is of models of that objective, smoothed or not, ascending from images."""
        wanted = objective, smoothed, "images"
        return [a for a in self.alignments if (a.facts["objective"], a.view.sigma > 0, a.view.start) == wanted]

    def _control_pairs(self) -> list[tuple[Alignment, Alignment]]:
        """Return pairs of views that differ in their smoothing or in their training alone."""
        pairs = []
        for smoothed in self._of("gaussian", smoothed=True):
            pairs += [(standard, smoothed) for standard in self._of("standard", smoothed=True)]
            bare = self._of("gaussian", smoothed=False)
            pairs += [(one, smoothed) for one in bare if one.view.model == smoothed.view.model]
        standard = self._of("standard", smoothed=True)
        return pairs + [(before, after) for before in self._of("standard", smoothed=False) for after in standard]

    def _controls(self) -> list[str]:
        """Return the section on what smoothing and what training under noise do each: differences, a column a pair."""
        pairs = self._control_pairs()
        if not pairs:
            return []
        rows = [[measure.heading, *(_said(self._difference(*pair, measure)) for pair in pairs)] for measure in MEASURES]
        header = ["second minus first", *(f"{name_of(before.view)} → {name_of(after.view)}" for before, after in pairs)]
        text = "The hypothesis changes training and smoothing at once. One at a time, over the images of both views, "
        text += "with 95 % intervals each:"
        return ["## Controls", text, markdown(header, rows), *self._blurred()]

    def _blurred(self) -> list[str]:
        """Return what is left of the difference in Bayes contrast where both views have one spectrum, in words."""
        said = []
        for standard in self._of("standard", smoothed=False):
            blurred = standard.by_image(self.epsilon).bayes_blurred
            for smoothed in self._of("gaussian", smoothed=True) if blurred.notna().any() else ():
                left = mean_interval((smoothed.by_image(self.epsilon).bayes - blurred).to_numpy(float))
                said.append(f"- {name_of(standard.view)}, blurred → {name_of(smoothed.view)}: {_said(left)}")
        text = "Is it a matter of frequencies alone? The Bayes contrast, where the standard net's gradients got the "
        return [text + "radial spectrum of the headline's smoothed view:", "\n".join(said)] if said else []

    def _difference(
        self, before: Alignment, after: Alignment, measure: Measure, coverage: float = 0.95
    ) -> tuple[float, float, float, int]:
        first, second = (one.by_image(self.epsilon)[measure.column] for one in (before, after))
        return mean_interval((second - first).to_numpy(float), coverage)

    def _weakness(self, before: Alignment, after: Alignment, measure: Measure) -> str:
        """Return why a measure of two views says nothing: its judge is too weak, or N too small; "" where it does."""
        for one in (before, after):
            judge = one.facts["judges"].get(measure.judge)
            if judge and _weak(judge):
                return f"judge {LABELS[measure.judge]} is below twice chance"
            if measure.gate and one.by_image(self.epsilon)[measure.gate].mean() < self.gate:
                return f"N is too small for {name_of(one.view)}"
        return ""

    def _judges(self) -> tuple[list[str], list[list[str]]]:
        from_images = [one for one in self.alignments if one.view.start == "images"]
        rows = []
        for name, judge in (from_images or self.alignments)[0].facts["judges"].items():
            sources = f"{judge['sources_accuracy']:.3f} (n = {judge['sources_n']})" if "sources_n" in judge else "–"
            held_out = f"{judge['accuracy']:.3f} [{judge['low']:.3f}, {judge['high']:.3f}], n = {judge['n']}"
            usable = "below twice chance" if _weak(judge) else ""
            rows.append([LABELS[name], held_out, sources, f"{judge['chance']:.3f}", usable])
        return ["judge", "accuracy on held-out test images", "on the untouched sources", "chance", ""], rows


def _weak(judge: dict) -> bool:
    return judge["accuracy"] < 2 * judge["chance"]


def _said(found: tuple[float, float, float, int]) -> str:
    mean, low, high, n = found
    if n < 2:
        return f"undefined, n = {n}"
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}], n = {n}" if low < high else f"{mean:+.3f} on each image, n = {n}"


def _cell(row: pd.Series, column: str) -> str:
    value, low, high, n = (row[f"{column}{suffix}"] for suffix in ("", "_low", "_high", "_n"))
    if np.isnan(value):
        return "–"
    interval = f"[{low:.3f}, {high:.3f}]" if np.isfinite(low) else "[undefined]" if n < 2 else "on each"
    return f"{value:.3f} {interval}" + ("" if n == row["n"] else f" (n = {n})")
