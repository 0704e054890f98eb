"""One look for every figure: Matplotlib without a display, colours that colour-blind readers can tell apart.

Sizes are those of print: a figure TEXT_WIDTH wide fills a page's text, and the smallest letters have 7 points. At DPI
there are pixels enough for it, and for a README.
"""

import io
import re
import warnings
from pathlib import Path

import matplotlib

from pagoda.errors import BadInput
from pagoda.files import write_bytes
from pagoda.log import logger

matplotlib.use("agg")
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe & Ito 2008, "Color Universal Design".
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""What the formats would else say that is not the same each time."""
ABOUT = {"png": "Description", "pdf": "Subject", "svg": "Description"}  # where they keep a caption
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


def save_figure(figure: Figure, path: Path, caption: str = "") -> None:
    """Write `figure` to `path`, whole or not at all; the same figure gives the same bytes. Closes it.

    `caption` goes into the file, for those who come upon it alone.

    Raises BadInput where the suffix of `path` is none of METADATA, or the file cannot be written.
    """
    kind = Path(path).suffix.removeprefix(".")
    if kind not in METADATA:
        plt.close(figure)
        raise BadInput(f"a figure cannot be written to {path}: its suffix must be one of .{', .'.join(METADATA)}")
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        figure.savefig(
            buffer, format=kind, dpi=DPI, metadata=METADATA[kind] | ({ABOUT[kind]: caption} if caption else {})
        )
    plt.close(figure)
    if missing := re.findall(r"Glyph (\d+) ", " ".join(str(warning.message) for warning in caught)):
        letters = "".join(sorted({chr(int(code)) for code in missing}))
        logger.warning("%s: no font here has these letters: %s", path, letters)
    write_bytes(path, buffer.getvalue())
