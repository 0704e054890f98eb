"""One look for every figure: Matplotlib without a display, colours that colour-blind readers can tell apart."""

import io
import warnings
from pathlib import Path

import matplotlib

from steps.run.files import write_bytes
from steps.run.log import logger

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe & Ito 2008, "Color Universal Design".
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DPI = 100

plt.rcParams |= {
    "font.size": 10,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` as PNG, whole or not at all; the same figure gives the same bytes. Closes it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    if caught:
        logger.warning("%s: no font here has all the letters: %s", path, caught[0].message)
    write_bytes(path, buffer.getvalue())
