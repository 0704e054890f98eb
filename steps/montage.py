"""montage: ascents -> one picture to look at, as `pagoda/figures/designs.py` lays it out, an animation, or a caption.

Upscaling is nearest-neighbour only. Below a picture: the model's own p_t, estimated from fresh draws, and how many of
the judges of the align step see the target class. An animation is an animated PNG (APNG) of ascents of one class at one
epsilon. A caption alone goes to a .md or .tex beside the picture.
"""

from pathlib import Path
from typing import Literal

from pagoda.data.alignments import read_rows
from pagoda.errors import BadInput
from pagoda.figures.animation import animated
from pagoda.figures.captions import CAPTIONS
from pagoda.figures.designs import AFTER, DESIGNS, Montage
from pagoda.figures.grid import draw_grid
from pagoda.figures.style import save_figure
from pagoda.figures.together import read_ascents
from pagoda.files import write_bytes, write_text
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.run.command import main

KINDS = (*DESIGNS, "animation")


class Config(Options):
    """Put ascents side by side."""

    kind: Literal[*KINDS] = option(f"one of {', '.join(KINDS)}")
    ascents: tuple[Path, ...] = option("files that the ascend step wrote, in the order of the views", min_length=1)
    out: Path = option("where the picture goes: .png, .pdf or .svg; its caption alone: .md or .tex")
    measures: tuple[Path, ...] = option("tables (.csv) that the align step wrote; none: no verdicts", ())


def run(config: Config) -> Montage | None:
    """Draw and return a montage, or write an animation. Raises BadInput where a file is missing or does not belong."""
    ascents = read_ascents(config.ascents)
    if config.kind == "animation":
        if config.out.suffix != ".png":
            raise BadInput(f"an animation cannot be written to {config.out}: its suffix must be .png")
        return write_bytes(config.out, animated(ascents))
    made = DESIGNS[config.kind](ascents, read_rows(config.measures, AFTER))
    if caption := CAPTIONS.get(config.out.suffix):
        write_text(config.out, caption(config.out.stem, made.title, made.caption))
        return made
    sheet = draw_grid(made.rows, made.columns, made.title, made.brief or made.caption, key=made.key)
    save_figure(sheet.figure, config.out, f"{made.title}. {made.caption}")
    logger.info("wrote %s: %d rows of %d pictures", config.out, len(made.rows), len(made.columns))
    return made


if __name__ == "__main__":
    main("montage", Config, run)
