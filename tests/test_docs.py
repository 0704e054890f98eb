import re
import runpy
import sys

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


def test_the_pages_of_the_api_need_no_network(tmp_path):
    pdoc = pytest.importorskip("pdoc", reason="make docs installs it")
    pdoc.pdoc("pagoda", output_directory=tmp_path)
    page = (tmp_path / "pagoda.html").read_text()
    assert all(f"Smoothed.{name}" in page for name in ("predict", "certify", "gradient", "ascend"))
    assert not re.search(r"""(src=|<link[^>]*href=|@import |url\()["']?https?:""", page)
