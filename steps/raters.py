"""raters: files of readers' answers to the page's blind test -> what people see, beside what the judges see."""

from pathlib import Path

import pandas as pd

from pagoda.files import write_text
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.page.answers import read_answers, read_page
from pagoda.page.people import people
from pagoda.run.command import main


class Config(Options):
    """Put readers' answers together."""

    page: Path = option("the page that the gallery step wrote")
    answers: tuple[Path, ...] = option("files (.csv) of its blind test", min_length=1)
    out: Path = option("where the result (.md) goes")


def run(config: Config) -> pd.DataFrame:
    """Write the result and return all answers. Raises BadInput where a file is foreign, of another page, or twice."""
    page = read_page(config.page)
    answers = read_answers(config.answers, page)
    write_text(config.out, people(answers, page))
    logger.info("wrote %s: %d answers of %d readers", config.out, len(answers), answers.rater.nunique())
    return answers


if __name__ == "__main__":
    main("raters", Config, run)
