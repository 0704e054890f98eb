"""The page of an experiment: one HTML file that loads nothing.

Style, script, data and pictures stand in it, the pictures of an ascent as one sheet, lossless up to LOSSLESS pixels a
side. Template, style sheet and scripts lie beside this module.
"""

import base64
import hashlib
import io
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pagoda.data.alignments import read_rows, row_of
from pagoda.data.ascents import Ascent, Settings, read_ascent
from pagoda.data.registry import JUDGES, MEASURES, OTHERS
from pagoda.data.tables import SEEN, TEXT, read_table
from pagoda.errors import BadInput
from pagoda.figures.looks import name_of, view_colour, view_marker

Paths = tuple[Path, ...]
PAGE = Path(__file__).parent
SCRIPTS = ("state.js", "pictures.js", "stage.js", "tables.js", "blind.js", "page.js")
LOSSLESS = 64
"""Pixels a side up to which pictures are stored exactly; larger ones as WebP of quality QUALITY."""
QUALITY = 85
WEBP_SIDE = 16383  # pixels a side that the WebP format ends at
TAKEN = [measure.column for measure in MEASURES if not measure.judge]  # columns that the align step's tables have
EXACT = ("epsilon", "sigma", "radius", *TEXT)  # columns that rows are found by: they are not rounded
CERTIFIED = ("model", "sigma", "radius", "accuracy", "low", "high", "n")


def gather(
    paths: Paths, measures: Paths, summary: Path, certified: Paths, *, epsilon: float, sources: int, frames: int
) -> dict:
    """Return all that the page shows, as plain lists, numbers, names and data URLs.

    Args:
        paths: files of the ascend step; their order is that of the views.
        measures: tables of the align step; none: the page has no measures.
        summary: table of the align_summary step.
        certified: table of the certified_accuracy step, or none.
        epsilon: the page opens with it; one of the ascents'.
        sources: of each ascent, at most.
        frames: pictures of each source, evenly spread from first to last, at most.

    Raises:
        BadInput: where a file is missing or is none of ours, or ascents do not belong together.

    """
    sheets: dict[str, int] = {}  # data URL -> number: pictures that views share, as the sources, are stored once
    rows = read_rows(measures, [*TAKEN, *SEEN])
    ascents, views, first = [], {}, None
    for path in paths:
        ascent = read_ascent(path)
        first = first or ascent
        settings = ascent.settings
        if (settings.classes, settings.data) != (first.settings.classes, first.settings.data):
            raise BadInput(f"the ascents are of different datasets: {path} is not of that of {paths[0]}")
        view = views.setdefault(settings.view, _view(settings, len(views)))
        if view["hash"] != settings.model_hash:
            raise BadInput(f"{path} is of another {settings.model} than the ascents before it: ascend anew")
        shown = _ascent(ascent, sheets, sources, frames)
        measured = [_measured(row_of(rows, settings, k)) if measures else None for k in shown["index"]]
        ascents.append({"view": view["number"]} | shown | {"measures": measured})
    _, channels, height, width = first.source.shape
    targets = [name for name in first.settings.classes if name in {ascent["target"] for ascent in ascents}]
    views = list(views.values())
    _check_whole(ascents, views, targets, epsilon)
    return {
        "picture": {"height": height, "width": width, "channels": channels},
        "lossless": max(height, width) <= LOSSLESS,
        "classes": targets,
        "measures": [asdict(measure) for measure in (*MEASURES, *OTHERS)],
        "judges": [asdict(judge) for judge in JUDGES],
        "views": views,
        "first": _first(views, epsilon),
        "ascents": ascents,
        "sheets": list(sheets),
        "summary": _rows(summary, "align_summary", ("model", "sigma", "start", "epsilon", "n")),
        "certified": [row for path in certified for row in _rows(path, "certified_accuracy", CERTIFIED)],
    }


def render(data: dict) -> str:
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


def _view(settings: Settings, number: int) -> dict:
    start = "" if settings.start == "images" else f",{settings.start}"
    kept = {name: getattr(settings, name) for name in ("model", "objective", "sigma", "start")}
    names = {"key": f"{settings.model}@{settings.sigma:g}{start}", "name": name_of(settings.view)}
    names |= {"colour": view_colour(settings.model, settings.sigma), "marker": view_marker(settings.model)}
    return {"number": number, "hash": settings.model_hash} | names | kept


def _first(views: list[dict], epsilon: float) -> dict:
    """Choose what the page opens with: the standard model beside the smoothed one trained under that very noise."""
    images = [view for view in views if view["start"] == "images"] or views
    smoothed = [view for view in images if view["objective"] == "gaussian" and view["sigma"] > 0] or images
    a = max(images, key=lambda view: (view["objective"] == "standard", view["sigma"] == 0, -view["number"]))
    b = max(smoothed, key=lambda view: (view["model"] == f"gaussian-{view['sigma']:g}", view["number"]))
    return {"a": a["number"], "b": b["number"], "epsilon": epsilon}


def _ascent(ascent: Ascent, sheets: dict[str, int], sources: int, frames: int) -> dict:
    settings, count = ascent.settings, min(sources, len(ascent.source))
    kept = np.unique(np.linspace(0, len(ascent.frames) - 1, frames).round().astype(int))
    kept = kept[ascent.frame_steps[kept] > 0]  # frame 0 is the source, stored once
    source = (ascent.source[:count, None] * 255).round().astype(np.uint8)
    pictures = ascent.frames[kept, :count].swapaxes(0, 1)
    path = np.vstack([ascent.p_path, ascent.p_after])
    path[0] = ascent.p_before
    return {
        "rms": _short(ascent.rms),
        "step": _short(settings.step),
        **{name: getattr(settings, name) for name in ("epsilon", "target", "steps", "draws", "check_draws", "seed")},
        "source_sheet": sheets.setdefault(sheet(source), len(sheets)),
        "sheet": sheets.setdefault(sheet(pictures), len(sheets)),
        "frame_steps": [0, *ascent.frame_steps[kept].tolist()],
        "index": ascent.index[:count].tolist(),
        "label": [None if number < 0 else settings.classes[number] for number in ascent.label[:count].tolist()],
        "path": [[_short(p) for p in line] for line in path.T[:count]],
        "norm": [_short(x) for x in ascent.norm[:count]],
        "split_half": [_short(x) for x in ascent.split_half[:count]],
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


def _measured(row: dict) -> dict:
    """Return the measures of a picture, and what each judge that judges it sees before and after."""
    seen = {judge.name: [row[f"{judge.name}_before"], row[f"{judge.name}_after"]] for judge in JUDGES}
    own = {name: _short(row[name]) for name in TAKEN}
    return own | {"judges": {name: pair for name, pair in seen.items() if pair[1]}}


def _rows(path: Path, step: str, needed: tuple[str, ...]) -> list[dict]:
    return [
        {name: value if name in EXACT else _short(value) for name, value in row.items()}
        for row in read_table(path, step, needed).to_dict("records")
    ]


def _short(value: float) -> float | int | None:
    """Four significant digits: what people read, and a third of the page's numbers' length. No number: None."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _check_whole(ascents: list[dict], views: list[dict], targets: list[str], epsilon: float) -> None:
    places = [(ascent["view"], ascent["epsilon"], ascent["target"]) for ascent in ascents]
    for view, radius in dict.fromkeys(place[:2] for place in places):
        for target in targets:
            if (count := places.count((view, radius, target))) != 1:
                raise BadInput(
                    f"{count} ascents of {views[view]['name']} at ε = {radius:g} towards class {target!r}: a page "
                    "needs one of each view, ε and class"
                )
    radii = sorted({place[1] for place in places})
    if epsilon not in radii:
        raise BadInput(f"epsilon is {epsilon:g}: no ascent has it; choose from {', '.join(f'{r:g}' for r in radii)}")
