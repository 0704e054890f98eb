"""measures: the measures of alignment of each view at one epsilon."""

from pathlib import Path

from pagoda.figures.panels import draw_panels, read_summary
from pagoda.figures.style import plt, save_figure
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.run.command import main


class Config(Options):
    """Draw the measures of alignment."""

    summary: Path = option("the table (.csv) that the align_summary step wrote")
    epsilon: float = option("radius of the ascents", gt=0)
    out: Path = option("where the figure goes: .png, .pdf or .svg")


def run(config: Config) -> plt.Figure:
    """Draw the figure and return it, closed. Raises BadInput where a table is missing or has no such epsilon."""
    rows = read_summary(config.summary, config.epsilon)
    figure = draw_panels(rows, config.epsilon)
    save_figure(figure, config.out)
    logger.info("wrote %s: %d views", config.out, len(rows))
    return figure


if __name__ == "__main__":
    main("measures", Config, run)
