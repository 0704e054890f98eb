"""certified_accuracy: tables of certificates -> certified accuracy against radius, as a figure and as tables.

The envelope takes at each radius the best of the models trained under Gaussian noise. Where figures of the dataset
were published, those of the same objective and sigma stand beside, and the difference. The average certified radius
alone misleads (Sun et al. 2025): the distribution of p_A stands beside.
"""

from pathlib import Path

import pandas as pd

from pagoda.data.tables import FORMAT
from pagoda.figures.certified import draw_certified, envelope, read_certificates
from pagoda.figures.published import compare, read_published
from pagoda.figures.style import save_figure
from pagoda.files import write_text
from pagoda.options import Options, option
from pagoda.run.command import main


class Config(Options):
    """Draw certified accuracy against radius."""

    tables: tuple[Path, ...] = option("tables (.tsv) that the certify step wrote, each with its .json", min_length=1)
    out: Path = option("where the figure goes (.png, .pdf or .svg); a .pdf, the CSV and .summary.csv go beside it")
    published: str = option("compare with published figures of this dataset: cifar10, imagenet; empty: none", "")


def run(config: Config) -> pd.DataFrame:
    """Write figure and tables, and return the table. Raises BadInput where one is missing or has no rows."""
    tables = [read_certificates(path) for path in config.tables]
    published = read_published(config.published)
    frame = pd.DataFrame([point for table in tables for point in table.points()])
    frame = pd.concat([frame, envelope(frame)], ignore_index=True)
    if len(published):
        frame = compare(frame, published)
    for path in dict.fromkeys([config.out, config.out.with_suffix(".pdf")]):
        save_figure(draw_certified(tables, frame, published), path)
    write_text(config.out.with_suffix(".csv"), frame.to_csv(**FORMAT))
    summary = pd.DataFrame([table.summary() for table in tables])
    write_text(config.out.with_suffix(".summary.csv"), summary.to_csv(**FORMAT))
    return frame


if __name__ == "__main__":
    main("certified_accuracy", Config, run)
