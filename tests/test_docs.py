import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def run_example(monkeypatch, name, *words):
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_the_example_with_a_network_of_its_own(monkeypatch, capsys, tmp_path):
    run_example(monkeypatch, "own_network.py", tmp_path / "f.png")
    said = capsys.readouterr().out
    assert re.search(r"label 7: class 7 within an L2 radius of 0\.[2-9]", said)
    before, after = map(float, re.search(r"p_3: (.*) before, (.*) after", said).groups())
    assert before < 0.2 and after > 0.8
    Image.open(tmp_path / "f.png").verify()


def test_the_example_with_a_model_of_the_pipeline(monkeypatch, capsys, tmp_path, model, dataset):
    run_example(monkeypatch, "pipeline_model.py", model, dataset.parent, tmp_path / "f.png")
    said = capsys.readouterr().out
    assert said.count("radius") == 5 and re.search(r"contrastive: -?\d\.\d\d", said)
    Image.open(tmp_path / "f.png").verify()


WRITTEN = [path for path in ROOT.rglob("*.md") if not {".venv", "results", "site"} & set(path.parts)]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def slugs(text: str) -> set[str]:
    """Return what links call the headings of a page in Markdown."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    for page in [*WRITTEN, ROOT / "results" / "README.md"]:
        for link in LINK.findall(page.read_text()):
            if not re.match("[a-z]+:", link):
                name, _, part = link.partition("#")
                file = page.parent / name if name else page
                assert file.exists(), (page, link)
                assert not part or part in slugs(file.read_text()), (page, link)


def test_the_site_needs_no_network_and_its_links_lead_somewhere(tmp_path):
    pytest.importorskip("pdoc", reason="make docs installs it")
    done = subprocess.run([sys.executable, ROOT / "docs" / "build.py", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    own = {path.name for path in pages if path.parent == tmp_path}
    assert own >= {f"{Path(name).stem}.html" for name in (ROOT / "docs").glob("*.md")} | {"index.html", "api.html"}
    for page in pages:
        text = page.read_text()
        assert not re.search(r"""(src=|<link[^>]*href=|@import |url\()["']?https?:""", text), page
        if page.parent == tmp_path and page.name not in ("api.html", "pagoda.html"):  # pdoc's own
            for link in re.findall(r'(?:href|src)="([^"]+)"', text):
                name, _, part = link.partition("#")
                if not re.match("[a-z]+:", link):
                    assert (target := page.parent / name if name else page).is_file(), (page.name, link)
                    assert not part or f'id="{part}"' in target.read_text(), (page.name, link)
    api = (tmp_path / "pagoda.html").read_text()
    assert all(f"Smoothed.{name}" in api for name in ("predict", "certify", "gradient", "ascend"))
