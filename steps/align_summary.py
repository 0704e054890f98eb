"""align_summary: the measures of every view -> means over images with 95 % intervals, and which hypotheses hold."""

from pathlib import Path

import pandas as pd

from pagoda.data.alignments import read_alignment
from pagoda.data.tables import FORMAT
from pagoda.errors import BadInput
from pagoda.figures.summary import Summary
from pagoda.files import write_text
from pagoda.options import Options, option
from pagoda.run.command import main


class Config(Options):
    """Summarise the measures of every view."""

    tables: tuple[Path, ...] = option("tables (.csv) that the align step wrote, each with its .json", min_length=1)
    out: Path = option("where the summary (.csv) goes; the same to read (.md) goes beside it, and differences.csv")
    epsilon: float = option("the epsilon that the .md shows; the .csv has all", gt=0)
    gate: float = option("split-half cosine below which N is called too small", 0.5)


def run(config: Config) -> pd.DataFrame:
    """Write the files and return the summary. Raises BadInput where a table is missing, foreign or empty."""
    alignments = [read_alignment(path) for path in config.tables]
    summary = Summary(alignments, config.epsilon, config.gate)
    table = summary.table()
    if config.epsilon not in set(table.epsilon):
        known = ", ".join(f"{epsilon:g}" for epsilon in sorted(set(table.epsilon)))
        raise BadInput(f"epsilon is {config.epsilon:g}: the tables have {known}")
    write_text(config.out, table.to_csv(**FORMAT))
    write_text(config.out.with_suffix(".md"), summary.page(table))
    write_text(config.out.with_name("differences.csv"), summary.differences().to_csv(**FORMAT))
    return table


if __name__ == "__main__":
    main("align_summary", Config, run)
