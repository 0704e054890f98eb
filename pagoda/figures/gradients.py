"""Gradients of each image's own class as pictures, beside their radial spectra.

Rows are the images and, for each view, the gradient of log p_t, at plus and minus 3 standard deviations of its values
around mid-grey. The spectra are averaged over more images than are shown, each normalised so that white noise has the
power 1 at every frequency.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from pagoda.data.ascents import read_npz
from pagoda.errors import BadInput
from pagoda.figures.captions import P, models_of, values_of
from pagoda.figures.grid import GAP, Row, Sheet, draw_grid
from pagoda.figures.looks import view_colour, view_marker, view_name
from pagoda.figures.signed import DEVIATIONS, spread
from pagoda.figures.style import DPI
from pagoda.figures.text import PLAIN

PICTURES = 4  # how many images are shown at most
TWO_DECADES = 100
PANEL = 600  # pixels that the spectra take beside the pictures


@dataclass(frozen=True)
class Gradients:
    """A view's gradients, [k, C, H, W], of its images, and the spectrum, [bins]; `frequency` is in cycles per pixel."""

    facts: dict
    image: np.ndarray
    gradient: np.ndarray
    index: np.ndarray
    label: np.ndarray
    frequency: np.ndarray
    spectrum: np.ndarray

    @property
    def name(self) -> str:
        """What people call the view."""
        return view_name(self.facts["model"], self.facts["sigma"])

    @property
    def colour(self) -> str:
        """The view's colour."""
        return view_colour(self.facts["model"], self.facts["sigma"])


def read_gradients(path: Path) -> Gradients:
    """Read a view's gradients. Raises BadInput where the file is missing, truncated or something else."""

    def made(file) -> Gradients:
        facts = json.loads(str(file["settings"]))
        _ = facts["view"], facts["model"], facts["sigma"], facts["images"], facts["classes"]
        return Gradients(facts, **{name: file[name] for name in file.files if name != "settings"})

    return read_npz(path, "align", made)


def draw_gradients(views: list[Gradients]) -> Sheet:
    """Return the figure: pictures to the left, spectra to the right. Raises BadInput where their images differ."""
    first = views[0]
    for view in views:
        if not np.array_equal(view.image, first.image):
            raise BadInput(
                f"the gradients of {view.facts['view']} are of other images than those of {first.facts['view']}"
            )
    shown = range(min(PICTURES, len(first.image)))
    names = [first.facts["classes"][first.label[k]] for k in shown]
    rows = [Row("image", [first.image[k] for k in shown])]
    for number, view in enumerate(views):
        pictures = [spread(view.gradient[k]) for k in shown]
        rows.append(Row(view.name, pictures, colour=view.colour, space=GAP if number == 0 else 0))
    title = f"∇ log {P[:-1]} of each image's own class, and the spectra of such gradients"
    sheet = draw_grid(rows, names, title, caption(views), beside=PANEL)
    _spectra(sheet, views)
    return sheet


def caption(views: list[Gradients]) -> str:
    """Return what is shown, with every value that decides it."""
    facts = [view.facts for view in views]
    smoothed = [one["draws"] for one in facts if one["sigma"]]
    draws = f" N = {values_of(smoothed)} draws where smoothed," if smoothed else ""
    return (
        f"Left: images, and the gradients at ±{DEVIATIONS} standard deviations of their values around mid-grey. Right: "
        f"power against radial frequency, mean over n = {values_of(one['images'] for one in facts)} images, each "
        f"gradient normalised so that white noise has 1 everywhere.{draws} seed "
        f"{values_of(one['seed'] for one in facts)}. "
        f"Models: {models_of((one['model'], one['model_hash']) for one in facts)}."
    )


def _spectra(sheet: Sheet, views: list[Gradients]) -> None:
    left, bottom, width, height = sheet.free
    total_w, total_h = sheet.figure.get_size_inches() * DPI
    # Pixels: of the labels of both axes, of the legend, to the right.
    beside, below, legend, air = 130, 95, 35 + 28 * len(views), 24
    tall = min(height * total_h, 800 + legend) - legend - below
    box = left + beside / total_w, bottom + height - tall / total_h, width - (beside + air) / total_w, tall / total_h
    axes = sheet.figure.add_axes(box)
    axes.axhline(1, color="#777777", linestyle="--", linewidth=1)
    for view in views:
        style = {"color": view.colour, "marker": view_marker(view.facts["model"]), "markersize": 3}
        axes.plot(view.frequency, view.spectrum, label=view.name, **style)
    axes.set(yscale="log", xlim=(0, 0.52), xlabel="frequency (cycles per pixel)", ylabel="power (dashed: white noise)")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(-beside / width / total_w, -below / tall), borderaxespad=0)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < TWO_DECADES else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    for entry in legend.get_texts():
        entry.set(**PLAIN)
