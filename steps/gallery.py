"""gallery: ascents, their measures and certified accuracy -> one page to browse them on, a single HTML file.

The page loads nothing: style, script, data and pictures stand in it, the pictures of an ascent as one sheet, lossless
up to LOSSLESS pixels a side. Template, style sheet and script are files in page/.
"""

import base64
import hashlib
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

import pagoda
from pagoda.data.ascents import Ascent, read_ascent
from pagoda.errors import BadInput
from pagoda.files import write_bytes
from pagoda.log import logger
from pagoda.options import Gallery, option
from pagoda.run.command import main

PAGE = Path(pagoda.__file__).parent / "page"
SCRIPTS = ("state.js", "pictures.js", "stage.js", "tables.js", "blind.js", "page.js")
LOSSLESS = 64
"""Pixels a side up to which pictures are stored exactly; larger ones as WebP of quality QUALITY."""
QUALITY = 85
WEBP_SIDE = 16383
"""Pixels a side that the WebP format ends at."""
LIMIT = 15_000_000
"""Bytes above which the page is warned of."""
JUDGES = ("knn", "qda", "net")
NUMBERS = ("contrastive", "saliency", "high_frequency")
KEYS = ("epsilon", "sigma", "radius")
PLACE = ["model", "sigma", "start", "epsilon", "target", "index"]
"""Columns of the align step's tables that name a picture."""
SUMMARY = ["model", "sigma", "start", "epsilon", "n"]
CERTIFIED = ["model", "sigma", "radius", "accuracy", "low", "high", "n"]


class Config(Gallery):
    """Make the page of an experiment."""

    ascents: tuple[Path, ...] = option("files that the ascend step wrote; their order is that of the views")
    measures: tuple[Path, ...] = option("tables (.csv) that the align step wrote; none: the page has no measures", ())
    summary: Path = option("table (.csv) that the align_summary step wrote")
    certified: tuple[Path, ...] = option("table (.csv) that the certified_accuracy step wrote, or none", ())
    out: Path = option("where the page goes")
    experiment: str = option("name of the experiment")
    config_hash: str = option("what identifies its config; shown on the page")
    epsilon: float = option("radius that the page opens with; one of the ascents'", gt=0)


def run(config: Config) -> None:
    """Write the page. Raises BadInput where a file is missing or is none of ours, or ascents do not belong together."""
    if not config.ascents:
        raise BadInput("no ascents: a page needs at least one")
    data = gathered(config)
    page = rendered(data).encode()
    write_bytes(config.out, page)
    pictures = sum(map(len, data["sheets"]))
    logger.info("wrote %s: %.1f MB, of which %.1f are pictures", config.out, len(page) / 1e6, pictures / 1e6)
    if len(page) > LIMIT:
        logger.warning(
            "%s has %.1f MB, more than %.0f: lower gallery.sources (now %d) or gallery.frames (now %d) in config.yaml",
            *(config.out, len(page) / 1e6, LIMIT / 1e6, config.sources, config.frames),
        )


def gathered(config: Config) -> dict:
    """Return all that the page shows, as plain lists, numbers, names and data URLs."""
    sheets: dict[str, int] = {}  # data URL -> number: pictures that views share, as the sources, are stored once
    measures = _measures(config.measures)
    ascents, views, first = [], {}, None
    for path in config.ascents:
        ascent = read_ascent(path)
        first = first or ascent
        if (ascent.settings.classes, ascent.settings.data) != (first.settings.classes, first.settings.data):
            raise BadInput(f"the ascents are of different datasets: {path} is not of that of {config.ascents[0]}")
        view = views.setdefault(ascent.settings.view, _view(ascent, len(views)))
        if view["hash"] != ascent.settings.model_hash:
            raise BadInput(f"{path} is of another {ascent.settings.model} than the ascents before it: ascend anew")
        ascents.append(_ascent(ascent, view["number"], sheets, measures, config))
    _, channels, height, width = first.source.shape
    targets = [name for name in first.settings.classes if name in {ascent["target"] for ascent in ascents}]
    _check_whole(ascents, list(views), targets, config.epsilon)
    return {
        "experiment": config.experiment,
        "config": config.config_hash,
        "picture": {"height": height, "width": width, "channels": channels},
        "lossless": max(height, width) <= LOSSLESS,
        "classes": targets,
        "views": list(views.values()),
        "first": _first(list(views.values()), config.epsilon),
        "ascents": ascents,
        "sheets": list(sheets),
        "summary": list(map(_told, _rows(config.summary, "align_summary", SUMMARY))),
        "certified": [_told(row) for path in config.certified for row in _rows(path, "certified_accuracy", CERTIFIED)],
    }


def rendered(data: dict) -> str:
    """Return the page. Names in `data` are text wherever they land: escaped in HTML, harmless in the script's JSON."""
    loader = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    loader.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    script = "".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return loader.get_template("index.html.jinja").render(
        data=data,
        style=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _view(ascent: Ascent, number: int) -> dict:
    settings = ascent.settings
    start = "" if settings.start == "images" else f",{settings.start}"
    return {
        "number": number,
        "key": f"{settings.model}@{settings.sigma:g}{start}",
        "name": settings.view,
        "model": settings.model,
        "hash": settings.model_hash,
        "objective": settings.objective,
        "sigma": settings.sigma,
        "start": settings.start,
    }


def _first(views: list[dict], epsilon: float) -> dict:
    """Choose what the page opens with: the standard model beside the smoothed one trained under that very noise."""

    def likeness(view: dict) -> tuple:
        own = view["model"] == f"gaussian-{view['sigma']:g}"
        return view["start"] == "images", view["objective"] == "gaussian" and view["sigma"] > 0, own, view["number"]

    def plainness(view: dict) -> tuple:
        return view["start"] == "images", view["objective"] == "standard", view["sigma"] == 0, -view["number"]

    return {
        "a": max(views, key=plainness)["number"],
        "b": max(views, key=likeness)["number"],
        "epsilon": epsilon,
    }


def _ascent(ascent: Ascent, view: int, sheets: dict[str, int], measures: dict | None, config: Config) -> dict:
    settings, count = ascent.settings, min(config.sources, len(ascent.source))
    kept = np.unique(np.linspace(0, len(ascent.frames) - 1, config.frames).round().astype(int))
    kept = kept[ascent.frame_steps[kept] > 0]  # frame 0 is the source, stored once
    source = (ascent.source[:count, None] * 255).round().astype(np.uint8)
    frames = ascent.frames[kept, :count].swapaxes(0, 1)
    path = np.vstack([ascent.p_path, ascent.p_after])
    path[0] = ascent.p_before
    return {
        "view": view,
        "epsilon": settings.epsilon,
        "target": settings.target,
        "rms": _short(ascent.rms),
        "step": _short(settings.step),
        **{name: getattr(settings, name) for name in ("steps", "draws", "check_draws", "seed")},
        "source_sheet": sheets.setdefault(sheet(source), len(sheets)),
        "sheet": sheets.setdefault(sheet(frames), len(sheets)),
        "frame_steps": [0, *ascent.frame_steps[kept].tolist()],
        "index": ascent.index[:count].tolist(),
        "label": [None if number < 0 else settings.classes[number] for number in ascent.label[:count].tolist()],
        "path": [[_short(p) for p in line] for line in path.T[:count]],
        "norm": [_short(x) for x in ascent.norm[:count]],
        "split_half": [_short(x) for x in ascent.split_half[:count]],
        "measures": [_measured(measures, settings, index) for index in ascent.index[:count].tolist()],
    }


def sheet(tiles: np.ndarray) -> str:
    """Return pictures, uint8 [sources, frames, C, H, W], as one image in a data URL; the same pictures, the same text.

    Large ones stand in a column. Of small ones, whose image must be exact, the rows of all frames of a source are
    interleaved, so that lossless compression predicts a pixel from the frame before: a seventh less on the digits.
    """
    sources, frames, channels, height, width = tiles.shape
    small = max(height, width) <= LOSSLESS
    ordered = tiles.transpose(0, 3, 1, 4, 2) if small else tiles.transpose(0, 1, 3, 4, 2)
    whole = ordered.reshape(sources * frames * height, width, channels)
    image = Image.fromarray(whole[:, :, 0] if channels == 1 else whole)
    if len(whole) > WEBP_SIDE:
        return _url("png", image, optimize=True)
    if not small:
        return _url("webp", image, quality=QUALITY, method=6)
    return min(_url("png", image, optimize=True), _url("webp", image, lossless=True, quality=100, method=4), key=len)


def _url(form: str, image: Image.Image, **settings: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _measures(paths: tuple[Path, ...]) -> dict | None:
    """Rows of the align step's tables by the picture that they are of; None where no table is given."""
    columns = [*PLACE, *NUMBERS, *(f"{judge}_{when}" for judge in JUDGES for when in ("before", "after"))]
    rows = [row for path in paths for row in _rows(path, "align", columns)]
    return {_place(*(row[name] for name in PLACE)): row for row in rows} if paths else None


def _place(model: str, sigma: float, start: str, epsilon: float, target: str, index: int) -> tuple:
    return model, f"{sigma:g}", start, f"{epsilon:g}", target, int(index)  # tables round


def _measured(measures: dict | None, settings, index: int) -> dict | None:
    if measures is None:
        return None
    place = _place(settings.model, settings.sigma, settings.start, settings.epsilon, settings.target, index)
    if place not in measures:
        raise BadInput(
            f"no measures of source {index} of {settings.view}, ε = {settings.epsilon:g}, class {settings.target!r}: "
            "the align step writes them"
        )
    row = measures[place]
    judges = {judge: [row[f"{judge}_before"], row[f"{judge}_after"]] for judge in JUDGES if row[f"{judge}_after"]}
    return {**{name: _short(row[name]) for name in NUMBERS}, "judges": judges}


TEXT = ("view", "model", "start", "objective", "target", "label", "flags")


def _rows(path: Path, step: str, needed: list[str]) -> list[dict]:
    """Rows of a step's table: names as text, even "3" and "nan"; where a number is missing, NaN."""
    text = (*TEXT, *(f"{judge}_{when}" for judge in JUDGES for when in ("before", "after")))
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(text, str))
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        numbers = {name: pd.to_numeric(table[name].mask(table[name] == "")) for name in table if name not in text}
    except FileNotFoundError:
        raise BadInput(f"no {path}: the {step} step writes it") from None
    except ValueError as error:  # pandas' own errors are of this kind
        said = " ".join(str(error).split())
        raise BadInput(f"{path} is not a table that the {step} step wrote: {said}") from None
    return table.assign(**numbers).to_dict("records")


def _told(row: dict) -> dict:
    # What rows are found by stays as it is.
    return {name: value if isinstance(value, str) or name in KEYS else _short(value) for name, value in row.items()}


def _short(value: float) -> float | int | None:
    """Four significant digits: what people read, and a third of the page's numbers' length. No number: None."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _check_whole(ascents: list[dict], views: list[str], targets: list[str], epsilon: float) -> None:
    places = [(ascent["view"], ascent["epsilon"], ascent["target"]) for ascent in ascents]
    for view, radius in dict.fromkeys(place[:2] for place in places):
        for target in targets:
            if (count := places.count((view, radius, target))) != 1:
                raise BadInput(
                    f"{count} ascents of {views[view]} at ε = {radius:g} towards class {target!r}: a page needs one of "
                    "each view, ε and class"
                )
    radii = sorted({place[1] for place in places})
    if epsilon not in radii:
        raise BadInput(f"epsilon is {epsilon:g}: no ascent has it; choose from {', '.join(f'{r:g}' for r in radii)}")


if __name__ == "__main__":
    main("gallery", Config, run)
