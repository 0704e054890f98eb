import numpy as np
import pytest

from pagoda.run.fingerprint import _read, factory_fingerprint, fingerprint, import_closure

STEP = '''"""Step."""
import math
from pagoda.maths import ball


def run(a=option("a number", 1)):
    logger.info("begins")
    if a < 0:
        raise BadInput("must be 0 or above")
    return ball.f(a)
'''
BASE = {
    "pagoda/__init__.py": '"""Pagoda."""\n',
    "pagoda/step.py": STEP,
    "pagoda/maths/__init__.py": "",
    "pagoda/maths/ball.py": 'def f(x):\n    """Double."""\n    from pagoda import late\n\n    return 2 * x + late.k\n',
    "pagoda/late.py": "k = 1\n",
    "pagoda/other.py": "k = 2\n",
}


@pytest.fixture
def of(tmp_path):
    """Write the package with some files changed and return the fingerprint of its step."""

    def write(**changed):
        for path, text in (
            BASE | {f"pagoda/{name}.py".replace("__", "/"): new for name, new in changed.items()}
        ).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        _read.cache_clear()
        return fingerprint("pagoda.step", tmp_path)

    return write


def test_comments_docstrings_and_layout_do_not_count(of):
    before = of()
    assert (
        of(maths__ball='def f(x):  # note\n    """Twice."""\n    from pagoda import late\n    return 2*x + late.k\n')
        == before
    )
    assert of(step='"""Other words."""\n' + STEP.partition("\n")[2]) == before


def test_formulas_count_wherever_they_are_imported_from(of):
    before = of()
    assert of(maths__ball=BASE["pagoda/maths/ball.py"].replace("2 * x", "3 * x")) != before
    assert of(late="k = 5\n") != before
    assert of(other="k = 5\n") == before


@pytest.mark.parametrize("words", ["a number", "begins", "must be 0 or above"], ids=["help", "log line", "error"])
def test_words_for_people_do_not_count(of, words):
    before = of()
    assert of(step=STEP.replace(words, "other words")) == before


def test_values_and_conditions_count(of):
    before = of()
    assert of(step=STEP.replace("a < 0", "a < 1")) != before
    assert of(step=STEP.replace(", 1)", ", 2)")) != before


def test_the_frame_of_a_step_does_not_count(of):
    before = of(step="from pagoda.run import lock\n" + STEP, run__lock="k = 1\n")
    assert of(step="from pagoda.run import lock\n" + STEP, run__lock="k = 2\n") == before


def test_the_closure_of_a_step_is_what_it_imports():
    closure = import_closure("steps.train")
    assert {"pagoda.nets.objectives", "pagoda.maths.ball", "pagoda.files"} <= closure
    assert not closure & {"pagoda.maths.ascent", "steps.montage", "pagoda.data.sources", "pagoda.figures.style"}


def test_a_factory_is_its_own_file_and_what_that_imports_or_a_version(tmp_path):
    def of(layers="k = 1\n", factory="nets:make"):
        (tmp_path / "nets.py").write_text("import torch\nimport layers\n\ndef make():\n    return layers.k\n")
        (tmp_path / "layers.py").write_text(layers)
        _read.cache_clear()
        return factory_fingerprint({"factory": factory}, tmp_path)

    assert of() == of("k = 1  # one\n") != of("k = 2\n")
    assert of(factory="numpy.random:rand") == f"+numpy=={np.__version__}"
    assert factory_fingerprint({"name": "airbench"}) == ""
