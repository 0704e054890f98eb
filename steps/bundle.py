"""bundle: figures, tables, captions, config and all that tells how they were made -> one archive beside a paper.

Its manifest.json alone says what to run to get it again: the config, the command, the commit, the versions; and what
ran: the command of every step behind the figures and tables, as its log has it, and the hash of every model.
"""

import hashlib
import importlib.metadata
import io
import json
import platform
import re
import shlex
import subprocess
import zipfile
from pathlib import Path

import yaml

from pagoda.data.tables import read_table
from pagoda.errors import BadInput
from pagoda.figures.certified import POINTS
from pagoda.figures.markup import alignment, certified
from pagoda.figures.panels import read_summary
from pagoda.files import file_hash, write_bytes
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.run.command import main

PACKAGES = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pillow", "safetensors"),
    *("snakemake", "pagoda"),
)
ROOT = Path(__file__).resolve().parents[1]
LOGGED = re.compile(r"^[0-9:]{8} (python -m steps\.(\w+) .*)$", re.M)


class Config(Options):
    """Gather an experiment for a paper."""

    files: tuple[Path, ...] = option(
        "figures (.png, .pdf), their captions (.tex), and tables (.csv, .md)", min_length=1
    )
    about: Path = option("JSON: experiment, config, epsilon, and captions by the file's path without suffix")
    out: Path = option("where the archive (.zip) goes: the folder that `files` lie below")


def run(config: Config) -> dict:
    """Write the archive, the same bytes each time, and return its manifest. Raises BadInput where a file is missing."""
    about = json.loads(config.about.read_text(encoding="utf-8"))
    folder = config.out.parent
    entries = {}
    for path in config.files:
        place = {".csv": "tables", ".md": "tables"}.get(path.suffix, "figures")  # a figure's caption beside it
        try:
            entries[f"{place}/{path.relative_to(folder)}"] = path.read_bytes()
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from None
    entries |= {name: text.encode() for name, text in latex(config.files, about["epsilon"]).items()}
    captions = [f"## {name}\n\n{text}\n" for name, text in sorted(about["captions"].items())]
    entries["captions.md"] = "\n".join(["# Captions\n", *captions]).encode()
    entries["config.yaml"] = yaml.safe_dump(about["config"], allow_unicode=True, sort_keys=False).encode()
    ran = behind(config.files, logged(folder / "logs"))
    models = {out: file_hash(out) for _, words in ran if (out := flag(words, "--out")).endswith(".safetensors")}
    manifest = {
        "experiment": about["experiment"],
        "again": [
            "put `config`, below, as config.yaml into an empty folder, and the data where its `root` says",
            f"snakemake --snakefile PAGODA/workflow/Snakefile --cores all {shlex.quote(str(config.out))}",
            "the same bytes come of this commit, these versions, as many threads and the same kind of device",
        ],
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "config": about["config"],
        "models": models,
        "commands": [shlex.join(words) for _, words in ran],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(entries.items())},
    }
    entries["manifest.json"] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    write_bytes(config.out, archive(entries))
    logger.info("wrote %s: %d files, %d commands, %d models", config.out, len(entries), len(ran), len(models))
    return manifest


def latex(files: tuple[Path, ...], epsilon: float) -> dict[str, str]:
    """Return the tables of a paper by their name in the archive."""
    found = {}
    for path in files:
        if path.parts[-2:] == ("align", "summary.csv"):
            found["tables/alignment.tex"] = alignment(read_summary(path, epsilon))
        elif path.name == "certified_accuracy.csv":
            found["tables/certified_accuracy.tex"] = certified(read_table(path, "certified_accuracy", POINTS))
    return found


def logged(logs: Path) -> dict[str, tuple[str, list[str]]]:
    """Return the step and the words of the last command of each log, by its --out."""
    found = {}
    for path in sorted(logs.rglob("*.log")):
        for line, step in LOGGED.findall(path.read_text(encoding="utf-8", errors="replace"))[-1:]:
            words = shlex.split(line)
            found[flag(words, "--out")] = (step, words)
    return found


def behind(files: tuple[Path, ...], commands: dict[str, tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """Return the commands that `files` come of, each after those whose files it reads."""
    # A step's other files lie beside its --out and have its name: summary.md beside summary.csv.
    beside = {without_suffix(out): out for out in commands} | {out: out for out in commands}
    order: dict[str, tuple[str, list[str]]] = {}

    def add(name: str) -> None:
        out = beside.get(name) or beside.get(without_suffix(name))
        if out is None or out in order:
            return
        order[out] = commands[out]  # before what it reads: an end to what names itself
        _, words = order[out]
        for word in words:
            listed = Path(word[1:]) if word.startswith("@") else None
            for path in listed.read_text(encoding="utf-8").splitlines() if listed and listed.is_file() else [word]:
                add(path)
        order[out] = order.pop(out)

    for file in files:
        add(str(file))
    return list(order.values())


def without_suffix(path: str) -> str:
    """Return a path without what follows the first point of its name that letters follow."""
    return re.sub(r"(\.[a-z][a-z0-9]*)+$", "", path)


def flag(words: list[str], name: str) -> str:
    """Return the value of a flag in a command, "" where it has none."""
    return words[words.index(name) + 1] if name in words else ""


def version(name: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the commit of this checkout, with "+" where its files differ from it; None where it is no checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}{'+' if changed else ''}"


def archive(entries: dict[str, bytes]) -> bytes:
    """Return a zip archive of files by name, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in sorted(entries.items()):
            about = zipfile.ZipInfo(name)  # of 1980
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(about, content)
    return buffer.getvalue()


if __name__ == "__main__":
    main("bundle", Config, run)
