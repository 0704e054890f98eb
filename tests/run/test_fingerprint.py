import pytest

from steps.run.fingerprint import SILENT, _parse, _syntax, fingerprint, import_closure

BASE = {
    "pack/__init__.py": '"""Pack."""\n',
    "pack/step.py": '"""Step."""\nimport math\nfrom pack.maths import ball\n\n\ndef run():\n    return ball.f(1)\n',
    "pack/maths/__init__.py": "",
    "pack/maths/ball.py": 'def f(x):\n    """Double."""\n    from pack import late\n\n    return 2 * x + late.k\n',
    "pack/late.py": "k = 1\n",
    "pack/other.py": "k = 2\n",
}


@pytest.fixture
def of(tmp_path):
    """Write the package with some files changed and return the fingerprint of its step."""

    def write(**changed):
        for path, text in (BASE | {f"pack/{name}.py".replace("__", "/"): new for name, new in changed.items()}).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        _parse.cache_clear()
        _syntax.cache_clear()
        return fingerprint("pack.step", tmp_path)

    return write


def test_comments_docstrings_and_layout_do_not_count(of):
    before = of()
    assert (
        of(maths__ball='def f(x):  # note\n    """Twice."""\n    from pack import late\n    return 2*x + late.k\n')
        == before
    )
    assert of(step='"""Other words."""\n' + BASE["pack/step.py"].partition("\n")[2]) == before


def test_formulas_count_wherever_they_are_imported_from(of):
    before = of()
    assert of(maths__ball=BASE["pack/maths/ball.py"].replace("2 * x", "3 * x")) != before
    assert of(late="k = 5\n") != before
    assert of(other="k = 5\n") == before


def test_what_reaches_no_result_is_known_by_its_name():
    assert import_closure("steps.train") >= SILENT


def test_the_closure_of_a_step_is_what_it_imports():
    closure = import_closure("steps.train")
    assert {"steps.nets.objectives", "steps.maths.ball", "steps.run.files"} <= closure
    assert not closure & {"steps.maths.ascent", "steps.montage", "steps.data.sources", "steps.run.figure"}
