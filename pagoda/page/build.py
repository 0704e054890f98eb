"""The page of an experiment: one HTML file that loads nothing, but for sheets of pictures where these are too many.

Style, script, data and pictures stand in it. Template, style sheet and scripts lie beside this module.
"""

import base64
import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pagoda.data.alignments import read_rows, row_of
from pagoda.data.ascents import Ascent, Settings, read_ascent
from pagoda.data.registry import JUDGES, MEASURES, OTHERS
from pagoda.data.tables import SEEN, TEXT, read_table
from pagoda.errors import BadInput
from pagoda.figures.looks import name_of, view_colour, view_marker, view_name
from pagoda.figures.together import evenly
from pagoda.maths.ascent import RMS
from pagoda.page.foils import low_passed
from pagoda.page.sheets import Sheets, shrink_of, shrunk

Paths = tuple[Path, ...]
PAGE = Path(__file__).parent
SCRIPTS = ("state.js", "pictures.js", "stage.js", "tables.js", "stats.js", "trials.js", "blind.js", "page.js")
TAKEN = [measure.column for measure in MEASURES if not measure.judge]  # columns that the align step's tables have
ROWS = 3  # sources in the grid, at most
EXACT = ("epsilon", "sigma", "radius", *TEXT)  # columns that rows are found by: they are not rounded
DIFFERENCES = ("before", "after", "column", "mean", "low", "high", "n", "verdict")
CERTIFIED = ("model", "sigma", "radius", "accuracy", "low", "high", "n")


def gather(
    paths: Paths,
    measures: Paths,
    summary: Path,
    differences: Path,
    certified: Paths,
    *,
    sheets: Sheets,
    epsilon: float,
    sources: int,
    frames: int,
) -> dict:
    """Return all that the page shows, as plain lists, numbers, names and URLs.

    Args:
        paths: files of the ascend step; their order is that of the views.
        measures: tables of the align step; none: the page has no measures.
        summary: table of the align_summary step.
        differences: its table of differences between views.
        certified: table of the certified_accuracy step, or none.
        sheets: where pictures go.
        epsilon: the page opens with it; one of the ascents'.
        sources: of each ascent, at most.
        frames: pictures of each source, evenly spread from first to last, at most.

    Raises:
        BadInput: where a file is missing or is none of ours, or ascents do not belong together.

    """
    rows = read_rows(measures, [*TAKEN, *SEEN])
    ascents, views, first, identity = [], {}, None, hashlib.sha256()
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
        identity.update(json.dumps([asdict(settings), shown["index"]], sort_keys=True).encode())
    _, channels, height, width = first.source.shape
    targets = [name for name in first.settings.classes if name in {ascent["target"] for ascent in ascents}]
    views = list(views.values())
    _check_whole(ascents, views, targets, epsilon)
    opening = _first(views, epsilon)
    return {
        "picture": {"height": height, "width": width, "channels": channels},
        "pictures": identity.hexdigest()[:12],
        "rows": ROWS,
        "rms": RMS,
        "shrink": shrink_of(height, width),
        "classes": targets,
        "measures": [asdict(measure) for measure in (*MEASURES, *OTHERS)],
        "judges": [asdict(judge) for judge in JUDGES],
        "views": views,
        "first": opening,
        "ascents": ascents,
        "foil": _foil(paths, ascents, views, opening, sheets),
        "sheets": sheets.urls(),
        "beside": sheets.beside,
        "summary": _named(_rows(summary, "align_summary", ("model", "sigma", "start", "epsilon", "n"))),
        "comparisons": _comparisons(differences),
        "certified": _named([row for path in certified for row in _rows(path, "certified_accuracy", CERTIFIED)]),
    }


def render(data: dict, headline: Paths = ()) -> str:
    """Return the page. Names in `data` are text wherever they land: escaped in HTML, harmless in the script's JSON.

    Args:
        data: what `gather` returns, and `experiment` and `config`.
        headline: a picture (.png) for readers without scripts, or none.

    """
    loader = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    loader.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    loader.filters |= {"signed": signed, "capital": capital}
    script = "".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return loader.get_template("index.html.jinja").render(
        data=data,
        headline=[base64.b64encode(path.read_bytes()).decode() for path in headline],
        style=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number as tables show it; – for none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def capital(text: str) -> str:
    """Return a heading with a capital, but for p̄ₜ, which is a symbol."""
    return text if text.startswith("p̄") else text[:1].upper() + text[1:]


def _view(settings: Settings, number: int) -> dict:
    kept = {name: getattr(settings, name) for name in ("model", "objective", "sigma", "start")}
    names = {"key": _key(settings.model, settings.sigma, settings.start), "name": name_of(settings.view)}
    names |= {"colour": view_colour(settings.model, settings.sigma), "marker": view_marker(settings.model)}
    return {"number": number, "hash": settings.model_hash} | names | kept


def _key(model: str, sigma: float, start: str) -> str:
    return f"{model}@{sigma:g}" + ("" if start == "images" else f",{start}")


def _first(views: list[dict], epsilon: float) -> dict:
    """Choose what the page opens with: the standard model beside the smoothed one trained under that very noise."""
    images = [view for view in views if view["start"] == "images"] or views
    smoothed = [view for view in images if view["objective"] == "gaussian" and view["sigma"] > 0] or images
    a = max(images, key=lambda view: (view["objective"] == "standard", view["sigma"] == 0, -view["number"]))
    b = max(smoothed, key=lambda view: (view["model"] == f"gaussian-{view['sigma']:g}", view["number"]))
    return {"a": a["number"], "b": b["number"], "epsilon": epsilon}


def _ascent(ascent: Ascent, sheets: Sheets, sources: int, frames: int) -> dict:
    settings, count = ascent.settings, min(sources, len(ascent.source))
    kept = evenly(len(ascent.frames), frames)
    gradients = 128 + ascent.gradients[kept, :count].swapaxes(0, 1).mean(axis=2, keepdims=True)
    kept = kept[ascent.frame_steps[kept] > 0]  # frame 0 is the source, stored once
    source = (ascent.source[:count, None] * 255).round().astype(np.uint8)
    pictures = ascent.frames[kept, :count].swapaxes(0, 1)
    path = np.vstack([ascent.p_path, ascent.p_after])
    path[0] = ascent.p_before
    return {
        "rms": _short(ascent.rms),
        "step": _short(settings.step),
        **{name: getattr(settings, name) for name in ("epsilon", "target", "steps", "draws", "check_draws", "seed")},
        "source_sheet": sheets.add(source),
        "sheet": sheets.add(pictures),
        "gradients": sheets.add(gradients.round().astype(np.uint8)),
        "ends": sheets.add(shrunk(pictures[:ROWS, -1:], by)) if (by := shrink_of(*pictures.shape[-2:])) else None,
        "frame_steps": [0, *ascent.frame_steps[kept].tolist()],
        "index": ascent.index[:count].tolist(),
        "label": [None if number < 0 else settings.classes[number] for number in ascent.label[:count].tolist()],
        "path": [[_short(p) for p in line] for line in path.T[:count]],
        "norm": [_short(x) for x in ascent.norm[:count]],
        "split_half": [_short(x) for x in ascent.split_half[:count]],
    }


def _measured(row: dict) -> dict:
    """Return the measures of a picture, and what each judge that judges it sees before and after."""
    seen = {judge.name: [row[f"{judge.name}_before"], row[f"{judge.name}_after"]] for judge in JUDGES}
    own = {name: _short(row[name]) for name in TAKEN}
    return own | {"judges": {name: pair for name, pair in seen.items() if pair[1]}}


def _foil(paths: Paths, ascents: list[dict], views: list[dict], opening: dict, sheets: Sheets) -> dict | None:
    """Return a view for the blind test: A's, each change low-passed to the grain of B's; None where there is none.

    Of the ends at the epsilon that the page opens with.
    """
    a, b = (views[opening[slot]] for slot in "ab")
    if a == b or a["start"] != b["start"]:
        return None
    place = {(one["view"], one["epsilon"], one["target"]): path for one, path in zip(ascents, paths, strict=True)}
    found = []
    for one in ascents:
        if (one["view"], one["epsilon"]) != (a["number"], opening["epsilon"]):
            continue
        own, other = (read_ascent(place[view["number"], one["epsilon"], one["target"]]) for view in (a, b))
        if own.index.tolist() != other.index.tolist():
            return None
        ends = [low_passed(own.source[k], own.end[k], other.end[k]) for k in range(len(one["index"]))]
        pictures = (np.stack(ends)[:, None] * 255).round().astype(np.uint8)
        kept = {name: one[name] for name in ("epsilon", "target", "steps", "source_sheet", "index", "label")}
        found.append({"view": len(views), "sheet": sheets.add(pictures), "frame_steps": [0, one["steps"]]} | kept)
    known = {"number": len(views), "key": f"{a['key']},foil", "name": f"{a['name']}, without its grain"}
    return {"view": known | {"start": a["start"]}, "of": a["number"], "like": b["number"], "ascents": found}


def _named(rows: list[dict]) -> list[dict]:
    """Add to rows what their view is called, its colour and its marker."""
    return [
        row
        | {
            "key": _key(row["model"], row["sigma"], row.get("start", "images")),
            "name": view_name(row["model"], row["sigma"], row.get("start", "images")),
            "colour": view_colour(row["model"], row["sigma"]),
            "marker": view_marker(row["model"]),
        }
        for row in rows
    ]


def _rows(path: Path, step: str, needed: tuple[str, ...]) -> list[dict]:
    return [
        {name: value if name in EXACT else _short(value) for name, value in row.items()}
        for row in read_table(path, step, needed).to_dict("records")
    ]


def _comparisons(path: Path) -> list[dict]:
    """Return pairs of views, each with the differences of its measures: none where there is nothing to compare.

    Raises BadInput as `read_table` does, but for no rows.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])[list(DIFFERENCES)]
    except FileNotFoundError:
        raise BadInput(f"no {path}: the align_summary step writes it") from None
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path} is not a table that the align_summary step wrote: {error}") from None
    table = table.astype({"verdict": object}).fillna({"verdict": ""})
    headings = {measure.column: measure.heading for measure in MEASURES}
    return [
        {"before": before, "after": after, "tested": bool((rows.verdict != "").any())}
        | {"rows": [_difference(row, headings[row["column"]]) for row in rows.to_dict("records")]}
        for (before, after), rows in table.groupby(["before", "after"], sort=False)
    ]


def _difference(row: dict, heading: str) -> dict:
    """Return a difference with its heading, and where its chart has it: 100 is the furthest that it reaches."""
    values = {name: _short(row[name]) for name in ("mean", "low", "high")}
    reach = max([abs(value) for value in values.values() if value is not None] or [1]) or 1
    places = {f"{name}_at": value and round(100 * value / reach, 1) for name, value in values.items()}
    return values | places | {"column": row["column"], "heading": heading, "n": row["n"], "verdict": row["verdict"]}


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
