"""`make docs`: these pages and those of the API, by pdoc, as a site in docs/site that needs no network.

    python docs/build.py [FOLDER]

A link to a page leads to it, one to a module of pagoda to its page in the API, any other to a copy of the file.
"""

import os
import re
import shutil
import sys
from html import escape
from pathlib import Path

import pdoc
from pdoc.render_helpers import to_html

from pagoda.options.check import reference

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "Pagoda",
    "docs/first-hour.md": "The first hour",
    "docs/figures.md": "What each figure means",
    "docs/experiments.md": "Experiments",
    "docs/pictures.md": "Pictures",
    "docs/checkpoints.md": "Published checkpoints",
    "docs/presets.md": "Presets",
    "docs/alignment.md": "Alignment",
    "docs/certificates.md": "Certificates",
    "docs/reruns.md": "Reruns",
    "docs/cluster.md": "On a cluster",
    "docs/cifar10.md": "CIFAR-10, measured",
    "docs/digits.md": "The digits, measured",
    "docs/fashion.md": "Fashion-MNIST, measured",
    "results/README.md": "Results, by path",
    "CONTRIBUTING.md": "Contributing",
    "CHANGELOG.md": "Changes",
}
"""By source: what the page is called in the list of pages."""
LINK = re.compile(r'(?:href|src)="([^"]+)')
STYLES = ("theme.css", "content.css", "syntax-highlighting.css")
LAYOUT = """body { margin: 0; display: flex; font-family: system-ui, sans-serif; line-height: 1.5 }
nav { flex: 0 0 14rem; padding: 1.5rem; border-right: 1px solid var(--nav-hover, #ddd) }
nav a { display: block; padding: .15rem 0 } main { padding: 1.5rem 2rem; max-width: 60rem; min-width: 0 }
img { max-width: 100% } table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { border: 1px solid #8884; padding: .3rem .5rem; text-align: left; vertical-align: top } pre { overflow-x: auto }
@media (max-width: 50rem) { body { display: block } nav { border: 0 } }"""


def build(out: Path) -> None:
    """Write the site to the folder `out`, anew."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("pagoda", "pagoda.maths", output_directory=out)
    (out / "api.html").write_bytes((out / "index.html").read_bytes())  # pdoc's list of modules
    for source, title in PAGES.items():
        text = to_html((ROOT / source).read_text(encoding="utf-8"))
        links = {link: led(link, source, out) for link in LINK.findall(text)}
        write(
            out, source, title, LINK.sub(lambda found, links=links: found[0].replace(found[1], links[found[1]]), text)
        )
    write(out, "options.md", "Options", f"<h1>Options</h1><pre>{escape(reference())}</pre>")


def place(source: str) -> str:
    """Return where the page of a source lies in the site."""
    return {"README.md": "index.html", "results/README.md": "results.html"}.get(
        source, f"{Path(source).stem.lower()}.html"
    )


def led(link: str, source: str, out: Path) -> str:
    """Return a link of a page as the site has it, and copy the file that it leads to, if it is no page."""
    target, _, part = link.partition("#")
    if re.match(r"[a-z]+:", link) or not target:
        return link
    file = os.path.normpath(Path(source).parent / target)
    part = f"#{part}" if part else ""
    if file in PAGES:
        return place(file) + part
    if (out / (module := f"{file.removesuffix('.py')}.html")).is_file():
        return module + part
    if (ROOT / file).is_dir():
        file = f"{file}/{'__init__.py' if (ROOT / file / '__init__.py').is_file() else 'README.md'}"
    copy = out / "files" / f"{file}{'' if Path(file).suffix in ('.png', '.html') else '.txt'}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / file, copy)
    return str(copy.relative_to(out)) + part


def write(out: Path, source: str, title: str, body: str) -> None:
    """Write a page with the list of all."""
    templates = Path(pdoc.__file__).parent / "templates"
    style = "\n".join([*((templates / name).read_text(encoding="utf-8") for name in STYLES), LAYOUT])
    pages = {place(one): name for one, name in PAGES.items()} | {"options.html": "Options", "api.html": "The library"}
    links = "".join(f'<a href="{where}">{name}</a>' for where, name in pages.items())
    (out / place(source)).write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head>'
        f'<body><nav>{links}</nav><main class="pdoc">{body}</main></body></html>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "site")
