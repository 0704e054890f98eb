"""One look for every figure: Matplotlib without a display, colours that colour-blind readers can tell apart.

Sizes are those of print: a figure TEXT_WIDTH wide fills a page's text, and the smallest letters have 7 points. At DPI
there are pixels enough for it, and for a README.
"""

import io
import math
import re
import warnings
from pathlib import Path

import matplotlib

from pagoda.errors import BadInput
from pagoda.files import write_bytes
from pagoda.log import logger

matplotlib.use("agg")
from matplotlib import colors, font_manager
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe & Ito 2008, "Color Universal Design".
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
VIEW_COLOURS = {
    "standard": ("#D55E00", "#E69F00"),
    "gaussian": ("#56B4E9", "#0072B2"),
    "adversarial": ("#009E73", "#006048"),
    "smoothadv": ("#8A4A70", "#CC79A7"),
    "consistency": ("#5B8C5A", "#7FBF3F"),
    "macer": ("#B59F00", "#8F7D00"),
    "smoothmix": ("#A6761D", "#7A5200"),
    "catrs": ("#9A9A9A", "#6E6E6E"),
    "pag": ("#C0392B", "#8E1B10"),
    "gradnorm": ("#7E6BC4", "#4B3A99"),
    "bayes": ("#777777", "#000000"),
}
"""By training objective: the colour of its models unsmoothed, and smoothed."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""What the formats would else say that is not the same each time."""
DPI = 200
TEXT_WIDTH = 7.0  # inches
SIZES = {"title": 10, "label": 8, "note": 7}  # points
FALLBACK = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Hiragino Sans", "Yu Gothic", "Microsoft YaHei"),
    *("WenQuanYi Zen Hei", "IPAexGothic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Unifont"),
)
"""Fonts asked, where they are installed, for letters that Matplotlib's own lacks."""

plt.rcParams |= {
    "font.family": ["DejaVu Sans", *(name for name in FALLBACK if name in font_manager.get_font_names()), "sans-serif"],
    **dict.fromkeys(["font.size", "axes.titlesize"], SIZES["label"]),
    **dict.fromkeys(["xtick.labelsize", "ytick.labelsize", "legend.fontsize"], SIZES["note"]),
    **dict.fromkeys(["axes.linewidth", "xtick.major.width", "ytick.major.width", "grid.linewidth"], 0.6),
    **dict.fromkeys(["axes.spines.top", "axes.spines.right", "legend.frameon"], False),
    **dict.fromkeys(["axes.grid", "axes.axisbelow"], True),
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "grid.color": "#dddddd",
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    # Text stays text, and the same figure gives the same bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "pagoda",
    "pdf.fonttype": 42,
}


def view_colour(model: str, sigma: float) -> str:
    """Return the colour, "#rrggbb", of a model smoothed with `sigma`: the same in every figure.

    The hue is that of the training objective, unsmoothed or smoothed; of several noise levels (of training, where there
    is one) the smaller is the lighter, and 0.5 has the hue itself.
    """
    objective, value, *_ = [*model.split("-", 2), ""]
    if objective not in VIEW_COLOURS:
        return COLOURS[-1]
    base = VIEW_COLOURS[objective][1 if sigma else 0]
    trained = float(value) if re.fullmatch(r"[0-9.]+(e-?[0-9]+)?", value) else 0.0
    level = {"standard": sigma, "adversarial": 0.0}.get(objective, trained)
    if not level:
        return base
    octaves = max(-2.0, min(2.0, math.log2(level / 0.5)))
    share, end = (0.4 * octaves, 0.0) if octaves > 0 else (-0.3 * octaves, 1.0)
    return colors.to_hex([(1 - share) * channel + share * end for channel in colors.to_rgb(base)])


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` to `path`, whole or not at all; the same figure gives the same bytes. Closes it.

    Raises BadInput where the suffix of `path` is none of METADATA, or the file cannot be written.
    """
    kind = Path(path).suffix.removeprefix(".")
    if kind not in METADATA:
        plt.close(figure)
        raise BadInput(f"a figure cannot be written to {path}: its suffix must be one of .{', .'.join(METADATA)}")
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=METADATA[kind])
    plt.close(figure)
    if missing := [warning.message for warning in caught if "Glyph" in str(warning.message)]:
        logger.warning("%s: no font here has all the letters: %s", path, missing[0])
    write_bytes(path, buffer.getvalue())
