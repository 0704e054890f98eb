"""gradients: the gradients that the align step kept -> pictures of them, beside their radial spectra."""

from pathlib import Path

from pagoda.figures.gradients import draw_gradients, read_gradients
from pagoda.figures.style import save_figure
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.run.command import main


class Config(Options):
    """Draw gradients and their spectra."""

    gradients: tuple[Path, ...] = option("files (.npz) of the align step, in the order of the views", min_length=1)
    out: Path = option("where the figure goes: .png, .pdf or .svg")


def run(config: Config) -> None:
    """Draw the figure. Raises BadInput where a file is missing, or the views are of different images."""
    views = [read_gradients(path) for path in config.gradients]
    save_figure(draw_gradients(views).figure, config.out)
    logger.info("wrote %s: %d views", config.out, len(views))


if __name__ == "__main__":
    main("gradients", Config, run)
