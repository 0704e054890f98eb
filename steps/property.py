"""property: is alignment a general property of robust classifiers? Alignment against certified accuracy, by model.

Writes a figure, the table behind it (.csv, a row a model), the rank correlations (.correlations.csv) and what they say
(.md).
"""

from pathlib import Path

import pandas as pd

from pagoda.data.alignments import read_alignment
from pagoda.data.tables import FORMAT
from pagoda.errors import BadInput
from pagoda.figures.certified import read_certificates
from pagoda.figures.property import correlations, draw_property, points, sentences
from pagoda.figures.style import save_figure
from pagoda.files import write_text
from pagoda.options import Property, option
from pagoda.run.command import main


class Config(Property):
    """Draw alignment against certified accuracy."""

    certificates: tuple[Path, ...] = option(
        "tables (.tsv) that the certify step wrote, each with its .json", min_length=1
    )
    measures: tuple[Path, ...] = option("tables (.csv) that the align step wrote of the same views, in the same order")
    groups: tuple[str, ...] = option("what models that differ in their seed alone are called together, in that order")
    out: Path = option("where the figure goes; a .pdf, the tables and .md go beside it")
    epsilon: float = option("radius of the ascents", gt=0)


def run(config: Config) -> pd.DataFrame:
    """Write the files and return the table. Raises BadInput where tables are missing or do not go together."""
    alignments = [read_alignment(path) for path in config.measures]
    certified = [read_certificates(path) for path in config.certificates]
    views, of = ([(one.facts["model"], one.facts["sigma"]) for one in some] for some in (alignments, certified))
    if views != of or len(config.groups) != len(views):
        raise BadInput(
            f"certificates are of {of}, measures of {views}, and groups are {config.groups}: they must match"
        )
    frame = points(list(zip(certified, alignments, config.groups, strict=True)), config.radii, config.epsilon)
    if (distinct := len(frame[frame.objective != "bayes"][["group", "sigma"]].drop_duplicates())) < 3:
        raise BadInput(
            f"{distinct} models, seeds and the Bayes classifier apart, are too few for a rank correlation: 3 at least"
        )
    table = correlations(frame, config.radii)
    for path in dict.fromkeys([config.out, config.out.with_suffix(".pdf")]):
        save_figure(draw_property(frame, table, config.radii), path)
    write_text(config.out.with_suffix(".csv"), frame.to_csv(**FORMAT))
    write_text(config.out.with_suffix(".correlations.csv"), table.to_csv(**FORMAT))
    text = ["# Is alignment a general property of robust classifiers?", "\n".join(f"- {s}" for s in sentences(table))]
    write_text(config.out.with_suffix(".md"), "\n\n".join(text) + "\n")
    return frame


if __name__ == "__main__":
    main("property", Config, run)
