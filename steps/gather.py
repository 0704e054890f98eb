"""gather: the tables of certify's shards -> one table, in the order of images, as if there had been one shard.

Gathers what was spread over jobs. No image is certified here.
"""

import json
from pathlib import Path

from pagoda.errors import BadInput
from pagoda.files import write_json, write_text
from pagoda.options import Options, option
from pagoda.run.command import main


class Config(Options):
    """Gather the shards of a table of certificates."""

    tables: tuple[Path, ...] = option("tables (.tsv) of all shards, 1/k to k/k, each with its .json")
    out: Path = option("where the table goes (.tsv); a .json beside it says how it was made")


def run(config: Config) -> Path:
    """Gather and return the path of the table. Raises BadInput where the shards are not those of one table."""
    facts, shards, headers, rows = [], [], set(), []
    for path in config.tables:
        try:
            fact = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            shards.append(fact.pop("shard"))
            header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            rows += [(int(line.partition("\t")[0]), line) for line in lines]
        except FileNotFoundError as error:
            raise BadInput(f"no {error.filename}: the certify step writes it") from None
        except (ValueError, KeyError, AttributeError) as error:
            raise BadInput(f"{path} is not a table that the certify step wrote: {error}") from None
        if facts and fact != facts[0]:
            differing = sorted(key for key in fact | facts[0] if fact.get(key) != facts[0].get(key))
            raise BadInput(f"{path} and {config.tables[0]} differ in {', '.join(differing)}: not shards of one table")
        facts.append(fact)
        headers.add(header)
    expected = [f"{k}/{len(shards)}" for k in range(1, len(shards) + 1)]
    if not shards or sorted(shards) != sorted(expected) or len(headers) != 1:
        raise BadInput(f"the tables are shards {', '.join(shards) or 'none'}: all of {', '.join(expected)} are needed")
    write_json(config.out.with_suffix(".json"), facts[0])
    write_text(config.out, "".join([*headers, *(line for _, line in sorted(rows))]))
    return config.out


if __name__ == "__main__":
    main("gather", Config, run)
