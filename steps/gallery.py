"""gallery: ascents, their measures and certified accuracy -> one page to browse them on, a single HTML file.

Where the pictures are too many for one file, they lie beside it, in the folder `sheets`.
"""

from pathlib import Path

from pagoda.files import write_bytes
from pagoda.log import logger
from pagoda.options import Gallery, option
from pagoda.page.build import gather, render
from pagoda.page.sheets import Sheets
from pagoda.run.command import main

LIMIT = 15_000_000  # bytes of pictures above which they lie beside the page


class Config(Gallery):
    """Make the page of an experiment."""

    ascents: tuple[Path, ...] = option("files that the ascend step wrote, in the order of the views", min_length=1)
    measures: tuple[Path, ...] = option("tables (.csv) that the align step wrote; none: the page has no measures", ())
    summary: Path = option("table (.csv) that the align_summary step wrote")
    differences: Path = option("its table of differences (.csv)")
    certified: tuple[Path, ...] = option("table (.csv) that the certified_accuracy step wrote, or none", ())
    headline: tuple[Path, ...] = option("picture (.png) for readers without scripts, or none", (), max_length=1)
    out: Path = option("where the page goes; the folder sheets goes beside it")
    experiment: str = option("name of the experiment")
    config_hash: str = option("what identifies its config; shown on the page")
    epsilon: float = option("radius that the page opens with; one of the ascents'", gt=0)


def run(config: Config) -> None:
    """Write the page. Raises BadInput where a file is missing or is none of ours, or ascents do not belong together."""
    sheets = Sheets(config.out, LIMIT)
    names = {"measures", "summary", "differences", "certified", "epsilon", "sources", "frames"}
    data = gather(config.ascents, **config.model_dump(include=names), sheets=sheets)
    data = {"experiment": config.experiment, "config": config.config_hash} | data
    page = render(data, config.headline).encode()
    sheets.folder.mkdir(exist_ok=True)
    write_bytes(config.out, page)
    where = f"beside it, in {sheets.folder}" if sheets.beside else "in it"
    logger.info("wrote %s: %.1f MB; pictures, %.1f MB, %s", config.out, len(page) / 1e6, sheets.size / 1e6, where)


if __name__ == "__main__":
    main("gallery", Config, run)
