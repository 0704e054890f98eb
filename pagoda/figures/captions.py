"""Captions: what was done, with every value that decides the pictures; in Markdown and LaTeX, too."""

import re
from collections.abc import Iterable
from urllib.parse import quote

from pagoda.data.ascents import Ascent
from pagoda.data.registry import JUDGES
from pagoda.figures.markup import P, escaped

SOURCES = {
    "images": "Sources: the first test images of other classes.",
    "seeds": "Seeds: draws from the Gaussian fitted to the training images of the target class.",
    "noise": "Sources: noise.",
}


def made_by(ascents: list[Ascent], *, draws: bool = True) -> str:
    """Return how ascents were made: ε, steps, σ, N, seed, sources, models and their hashes.

    Without `draws`, N is left out: a heading says it.
    """
    settings = [ascent.settings for ascent in ascents]
    smoothed = [s for s in settings if s.sigma]
    sentences = [
        f"Targeted L2 ascent on log {P}, ε = {values_of(s.epsilon for s in settings)} in pixel values "
        f"(RMS per pixel, ε/√d: {values_of(round(a.rms, 3) for a in ascents)}), "
        f"{values_of(s.steps for s in settings)} steps of {values_of(s.step for s in settings)}, "
        f"seed {values_of(s.seed for s in settings)}."
    ]
    if smoothed:
        count = f"N = {values_of(s.draws for s in smoothed)} fresh noise draws a step" if draws else "N as headed"
        sentences.append(f"Smoothed with σ = {values_of(s.sigma for s in smoothed)}, {count}.")
    sentences += [SOURCES[start] for start in dict.fromkeys(s.start for s in settings)]
    return " ".join([*sentences, f"Models: {models_of((s.model, s.model_hash) for s in settings)}."])


def models_of(models: Iterable[tuple[str, str]]) -> str:
    """Return the names of models, each with its hash, none twice; `models` are (name, hash) pairs."""
    return "; ".join(dict.fromkeys(f"{name} {digest}" for name, digest in models))


def about_notes(ascents: list[Ascent], judged: bool) -> str:
    """Return what the notes below the pictures say: p̄_t of the end, and where `judged` the judges' verdict."""
    checks = values_of(s.check_draws for s in (ascent.settings for ascent in ascents) if s.sigma)
    of = f" (of smoothed models from {checks} other draws)" if checks else ""
    source = "Below the source: its class. " if any(ascent.settings.start == "images" for ascent in ascents) else ""
    left = f"{source}Below each end, left: the model's own {P}{of}"
    if not judged:
        return f"{left}."
    judges = ", ".join(judge.about for judge in JUDGES)
    return (
        f"{left}; right: how many of the judges, which share nothing with the model ({judges}), see the target class."
    )


def key_of_notes(judged: bool) -> str:
    """Return what the notes below the pictures are, as a key."""
    right = f", right: judges that see the target class, of {len(JUDGES)}" if judged else ""
    return f"Below the source: its class. Below each end, left: the model's own {P}{right}."


def about_frames() -> str:
    """Return what the notes below the pictures of an ascent's steps say."""
    return (
        f"Below each picture: the model's own {P}; at the start and the end from fresh draws, between from the step's."
    )


def at(ascent: Ascent) -> str:
    """Return an ascent's epsilon with its root mean square per pixel: "ε = 4 (RMS 0.25)"."""
    return f"ε = {ascent.settings.epsilon:g} (RMS {ascent.rms:.2g})"


def values_of(values: Iterable[float]) -> str:
    """Return numbers, each once, in order: "2, 4"."""
    return ", ".join(f"{value:g}" for value in sorted(set(values)))


def as_markdown(name: str, title: str, caption: str) -> str:
    """Return the figure `name`.png with its caption, in Markdown."""
    title, caption = (re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text) for text in (title, caption))
    return f"![{title}]({quote(name)}.png)\n\n*{title}.* {caption}\n"


def as_latex(name: str, title: str, caption: str) -> str:
    """Return the figure `name` with its caption, in LaTeX: of plain ASCII, but for names in other scripts.

    It takes the width of a page's text, of two columns too: in one of them its letters would be too small.
    """
    return (
        "\\begin{figure*}\n  \\centering\n"
        f"  \\includegraphics[width=\\linewidth]{{{name}}}\n"
        f"  \\caption{{\\textbf{{{escaped(title)}.}} {escaped(caption)}}}\n"
        f"  \\label{{fig:{name}}}\n\\end{{figure*}}\n"
    )


CAPTIONS = {".md": as_markdown, ".tex": as_latex}
"""By suffix: what makes a caption's text of a figure's name, its title and its caption."""
