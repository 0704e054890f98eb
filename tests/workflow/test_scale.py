"""The workflow with ImageNet's number of classes: what it plans, and how long its commands are."""

import copy
import re

import pytest
from forked import snakemake

from tests.conftest import copy_project
from tests.workflow.test_digits import TINY, write_config

MANY = 1000
LONGEST = 131_072
"""Bytes of one command, MAX_ARG_STRLEN of Linux."""


@pytest.fixture
def many_classes(tmp_path):
    """A project with an image folder of MANY classes (empty files: nothing is run), and its experiment."""
    project = copy_project(tmp_path)
    names = [f"{k:04d}, a class that has as long a name as some of WordNet's that hold many words" for k in range(MANY)]
    for split in ("train", "test"):
        for name in names:
            (project / "data" / split / name).mkdir(parents=True)
            (project / "data" / split / name / "0.png").touch()
    experiment = copy.deepcopy(TINY) | {"dataset": {"kind": "imagefolder", "root": "data", "size": 32}}
    experiment["ascend"]["classes"] = "all"
    experiment["montage"] |= {"classes": names[:3]}
    return project, experiment


def test_no_command_is_too_long_and_figures_show_the_classes_named(many_classes):
    project, experiment = many_classes
    write_config(project, experiment)
    done = snakemake(project, "-n", "-p")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    commands = re.findall(r"python -m steps\..*", done.stdout + done.stderr)
    assert sum("steps.ascend " in command for command in commands) == 2 * MANY
    assert sum("--kind class " in command for command in commands) == 3
    assert max(len(command.encode()) for command in commands) < LONGEST
    (listed,) = {
        found
        for c in commands
        if "steps.align " in c and "/standard/" in c
        for found in re.findall(r"--ascents @(\S+)", c)
    }
    lines = (project / listed).read_text().splitlines()
    assert len(lines) == MANY and f"/class={MANY - 1:04d}, a class" in lines[-1]


def test_more_classes_than_a_figure_has_room_for_are_refused_before_any_job(many_classes):
    project, experiment = many_classes
    del experiment["montage"]["classes"]
    write_config(project, experiment)
    done = snakemake(project, "-n")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"experiment tiny: {MANY} target classes are too many" in said and "montage.classes" in said
    # Measures and single ascents need no figure.
    assert snakemake(project, "-n", "results/tiny/align/standard/sigma=0.csv").returncode == 0
