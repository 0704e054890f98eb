"""gallery: ascents, their measures and certified accuracy -> one page to browse them on, a single HTML file."""

from pathlib import Path

from pagoda.files import write_bytes
from pagoda.log import logger
from pagoda.options import Gallery, option
from pagoda.page.build import gather, render
from pagoda.run.command import main

LIMIT = 15_000_000  # bytes above which the page is warned of


class Config(Gallery):
    """Make the page of an experiment."""

    ascents: tuple[Path, ...] = option("files that the ascend step wrote, in the order of the views", min_length=1)
    measures: tuple[Path, ...] = option("tables (.csv) that the align step wrote; none: the page has no measures", ())
    summary: Path = option("table (.csv) that the align_summary step wrote")
    certified: tuple[Path, ...] = option("table (.csv) that the certified_accuracy step wrote, or none", ())
    out: Path = option("where the page goes")
    experiment: str = option("name of the experiment")
    config_hash: str = option("what identifies its config; shown on the page")
    epsilon: float = option("radius that the page opens with; one of the ascents'", gt=0)


def run(config: Config) -> None:
    """Write the page. Raises BadInput where a file is missing or is none of ours, or ascents do not belong together."""
    shown = config.model_dump(include={"measures", "summary", "certified", "epsilon", "sources", "frames"})
    data = {"experiment": config.experiment, "config": config.config_hash} | gather(config.ascents, **shown)
    page = render(data).encode()
    write_bytes(config.out, page)
    pictures = sum(map(len, data["sheets"]))
    logger.info("wrote %s: %.1f MB, of which %.1f are pictures", config.out, len(page) / 1e6, pictures / 1e6)
    if len(page) > LIMIT:
        logger.warning(
            "%s has %.1f MB, more than %.0f: lower gallery.sources (now %d) or gallery.frames (now %d) in config.yaml",
            *(config.out, len(page) / 1e6, LIMIT / 1e6, config.sources, config.frames),
        )


if __name__ == "__main__":
    main("gallery", Config, run)
