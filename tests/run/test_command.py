import runpy
import sys

import pytest

from pagoda.errors import BadInput
from pagoda.options import AnyModel, Options, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint
from tests.conftest import ROOT, run_step


class Config(Options):
    """Do a thing."""

    size: int = option("how large", ge=1)
    names: tuple[str, ...] = option("which", ())
    deep: bool = option("how", False)
    rate: float | None = option("how fast", None)
    model: AnyModel | None = option("what, 100 %", None)


def call(run, *argv):
    with pytest.raises(SystemExit) as caught:
        main("fetch", Config, run, list(argv))
    return caught.value.code


def test_flags_become_options():
    seen = []
    given = ["--names", "a b", "c", "--deep", "--rate", "0.5", "--model", "{objective: gaussian, sigma: 0.5}"]
    assert call(seen.append, "--size", "3", *given) == 0
    assert call(seen.append, "--size", "3") == 0
    assert seen[0].model.objective_values == {"name": "gaussian", "sigma": 0.5}
    assert seen[0].model_copy(update={"model": None}) == Config(size=3, names=("a b", "c"), deep=True, rate=0.5)
    assert seen[1] == Config(size=3)


def test_bad_values_are_one_line(capsys):
    assert call(print, "--size", "0", "--rate", "fast", "--model", "{objective: gaussian}") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("size is 0: must be at least 1; rate is 'fast': must be a number; model.sigma is missing")


def test_a_list_may_stand_in_a_file(tmp_path):
    seen, names = [], [f"results/a b/{k}.npz" for k in range(5000)]
    (tmp_path / "list").write_text("\n".join(names) + "\n")
    assert call(seen.append, "--names", f"@{tmp_path / 'list'}", "--size", "3") == 0
    assert seen == [Config(size=3, names=tuple(names))]


def test_bad_input_is_one_line_and_defects_are_not_hidden(capsys, tmp_path):
    def bad(config):
        raise BadInput("size is 3: must be 4")

    def defect(config):
        raise ZeroDivisionError("oops")

    log = tmp_path / "logs" / "a.log"
    assert call(bad, "--size", "3", "--log", str(log)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "error: size is 3: must be 4" in said
    assert "python -m steps.fetch --size 3" in log.read_text() and said in log.read_text()
    assert call(defect, "--size", "3", "--log", str(log)) == 1
    assert "ZeroDivisionError: oops" in log.read_text()
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_memory_that_does_not_suffice_is_one_line(capsys):
    def greedy(config):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.\nA trace.")

    assert call(greedy, "--size", "3") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "error: memory does not suffice: a smaller batch takes less (DefaultCPUAllocator: not enough memory" in said


def test_code_that_changed_since_the_plan_is_refused(capsys):
    assert call(lambda config: None, "--size", "3", "--code", fingerprint("steps.fetch")) == 0
    assert call(lambda config: None, "--size", "3", "--code", "0123456789ab") == 2
    assert "--code is 0123456789ab, but the code of steps.fetch is now" in capsys.readouterr().err


@pytest.mark.parametrize("step", sorted(path.stem for path in (ROOT / "steps").glob("[a-z]*.py")))
def test_every_step_explains_its_flags(step, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [step, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "steps" / f"{step}.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"python -m steps.{step}" in said and "--out" in said


def test_log_lines_are_sparse_where_there_is_no_terminal(tmp_path, dataset, model):
    done = run_step(
        "certify", "--model", model, "--data", dataset, "--out", tmp_path / "t.tsv", "--sigma", 0.5,
        "--images", 40, "--n0", 5, "--n", 20, "--alpha", 0.01,
    )  # fmt: skip
    assert done.returncode == 0 and sys.executable
    lines = done.stderr.splitlines()
    assert len(lines) < 8 and "device: " in done.stderr and "40 of 40 images" in lines[-2] and " took " in lines[-1]
    assert "\r" not in done.stderr
