"""What people call a view, and its colour and marker: the same in every figure, table, report and page.

Nothing is imported that takes long: the page is built with it, too.
"""

import math
import re

from pagoda.data.views import View

NAMES = {
    "standard": "standard",
    "gaussian": "trained under noise",
    "adversarial": "adversarially trained",
    "smoothadv": "SmoothAdv",
    "consistency": "consistency training",
    "macer": "MACER",
    "smoothmix": "SmoothMix",
    "catrs": "CAT-RS",
    "pag": "gradients drawn to class means",
    "gradnorm": "gradient norm penalised",
    "bayes": "Gaussian classes (Bayes)",
}
"""By training objective: how its models were trained."""
COLOURS = {
    "standard": ("#D55E00", "#E69F00"),
    "gaussian": ("#56B4E9", "#0072B2"),
    "adversarial": ("#009E73", "#006048"),
    "smoothadv": ("#8A4A70", "#CC79A7"),
    "consistency": ("#5B8C5A", "#7FBF3F"),
    "macer": ("#B59F00", "#8F7D00"),
    "smoothmix": ("#A6761D", "#7A5200"),
    "catrs": ("#9A9A9A", "#6E6E6E"),
    "pag": ("#C0392B", "#8E1B10"),
    "gradnorm": ("#7E6BC4", "#4B3A99"),
    "bayes": ("#777777", "#000000"),
}
"""By training objective: the colour of its models unsmoothed, and smoothed (from Okabe & Ito 2008, while it lasts)."""
MARKERS = dict(zip(NAMES, ("o", "s", "^", "D", "v", "*", "P", "h", "X", "p", "d"), strict=True))
"""By training objective, as Matplotlib names them: where colours are near, markers differ."""
ALIKE = re.compile(r"[0-9.]+(e-?[0-9]+)?")


def view_name(model: str, sigma: float, start: str = "images") -> str:
    """Return what people call a view: "trained under noise σ = 0.5, smoothed", "standard, unsmoothed, from seeds".

    Args:
        model: its name in paths, e.g. gaussian-0.5 or gaussian-0.5-resnet.
        sigma: of the noise that smooths it; 0: unsmoothed. Where it is that of the training, it is not said twice.
        start: what its ascents start from: images, seeds or noise.

    """
    if model == "envelope":
        return "best of those trained under noise"
    trained = _noise(model)
    smoothed = "smoothed" if sigma and sigma == trained else f"smoothed with σ = {sigma:g}" if sigma else "unsmoothed"
    return f"{model_name(model)}, {smoothed}" + ("" if start == "images" else f", from {start}")


def name_of(view: View) -> str:
    """Return what people call a view."""
    return view_name(view.model, view.sigma, view.start)


def model_name(model: str) -> str:
    """Return what people call a model: "trained under noise σ = 0.5", "adversarially trained ε = 1 (resnet)"."""
    objective, value, rest = _parts(model)
    if objective not in NAMES:
        return model
    length = f" {'ε' if objective == 'adversarial' else 'σ'} = {value}" if value else ""
    return f"{NAMES[objective]}{length}" + (f" ({rest})" if rest else "")


def view_colour(model: str, sigma: float) -> str:
    """Return the colour, "#rrggbb", of a model smoothed with `sigma`.

    The hue is that of the training objective, unsmoothed or smoothed; of several noise levels (of training, where there
    is one) the smaller is the lighter, and 0.5 has the hue itself.
    """
    objective = _parts(model)[0]
    if objective not in COLOURS:
        return "#000000"
    base = COLOURS[objective][1 if sigma else 0]
    level = {"standard": sigma, "adversarial": 0.0}.get(objective, _noise(model))
    if not level:
        return base
    octaves = max(-2.0, min(2.0, math.log2(level / 0.5)))
    share, end = (0.4 * octaves, 0) if octaves > 0 else (-0.3 * octaves, 255)
    return "#" + "".join(f"{round((1 - share) * channel + share * end):02x}" for channel in bytes.fromhex(base[1:]))


def view_marker(model: str) -> str:
    """Return the marker of a model, as Matplotlib names it: that of its training objective."""
    return MARKERS.get(_parts(model)[0], "o")


def _parts(model: str) -> tuple[str, str, str]:
    """Return the objective, its σ (or ε) and what else is in a model's name; "" where it has none."""
    objective, *rest = model.split("-", 1)
    value, *own = rest[0].split("-", 1) if rest else ("",)
    return (objective, value, "".join(own)) if ALIKE.fullmatch(value) else (objective, "", "".join(rest))


def _noise(model: str) -> float:
    """Return the σ that a model was trained under, as its name says; 0 for none."""
    objective, value, _ = _parts(model)
    return float(value) if value and objective != "adversarial" else 0.0
