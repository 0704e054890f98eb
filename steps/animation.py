"""animation: ascents of one class at one epsilon -> an animated PNG (APNG): each view's way from the same sources."""

from dataclasses import dataclass
from pathlib import Path

from pagoda.errors import BadInput
from pagoda.figures.animation import animated
from pagoda.figures.designs import read_ascents
from pagoda.files import write_bytes
from pagoda.log import logger
from pagoda.run.command import main, option


@dataclass(frozen=True)
class Config:
    """Play ascents as an animated PNG."""

    ascents: tuple[Path, ...] = option("files that the ascend step wrote, of one class and epsilon, in order of views")
    out: Path = option("where the animated PNG goes")


def run(config: Config) -> None:
    """Draw the animation. Raises BadInput where an ascent is missing, or the ascents do not belong together."""
    if config.out.suffix != ".png":
        raise BadInput(f"an animation cannot be written to {config.out}: its suffix must be .png")
    write_bytes(config.out, animated(read_ascents(config.ascents)))
    logger.info("wrote %s: %d views", config.out, len(config.ascents))


if __name__ == "__main__":
    main("animation", Config, run)
