"""The distribution alone: what its wheel holds, and that it works in an environment that has nothing else of ours."""

import ast
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from heads import PLUGIN

PACKAGE = "snakemake_executor_plugin_submitit"
RULES = """
rule all:
    input: "twice.txt"

rule once:
    output: "once.txt"
    resources: mem_mb=300, runtime=5
    shell: "python -c 'import {package}; print({package}.__file__)' > {{output}}"

rule twice:
    input: "once.txt"
    output: "twice.txt"
    resources: mem_mb=300, runtime=5
    shell: "cat {{input}} {{input}} > {{output}}"
"""


@pytest.fixture
def wheel(tmp_path) -> Path:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(PLUGIN))
    (path,) = builder.build(directory=str(tmp_path), versions=["standard"])
    return Path(path)


def test_the_wheel_holds_the_plugin_and_nothing_of_a_workflow(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    version = wheel.name.split("-")[1]
    assert {name.split("/")[0] for name in names} == {PACKAGE, f"{PACKAGE}-{version}.dist-info"}
    assert any(name.endswith("LICENSE") for name in names)
    assert f"## {version}\n" in (PLUGIN / "CHANGELOG.md").read_text()
    sources = [ast.parse(path.read_text()) for path in (PLUGIN / PACKAGE).glob("*.py")]
    nodes = [node for source in sources for node in ast.walk(source)]
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) - {PACKAGE}
    needed = re.findall(r'"([\w-]+)>=[\w.]+,<[\w.]+"', (PLUGIN / "pyproject.toml").read_text())
    assert imported == {name.replace("-", "_") for name in needed}  # each with bounds below and above


def test_the_wheel_in_an_empty_environment_runs_a_workflow(wheel, cluster, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    # What it depends on is not fetched but this environment's, without the folders that are installed editable.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    place = tmp_path / "work"
    place.mkdir()
    (place / "Snakefile").write_text(RULES.format(package=PACKAGE))
    environment = {name: value for name, value in cluster.environment.items() if name != "PYTHONPATH"}
    words = ["--executor", "submitit", "--submitit-cluster", "slurm", "--submitit-poll-seconds", "1", "--jobs", "5"]
    done = subprocess.run(
        [python, "-m", "snakemake", *words, "--latency-wait", "5"],
        cwd=place,
        env=environment | {"PATH": f"{python.parent}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "twice.txt").read_text().split() == [str(packages / PACKAGE / "__init__.py")] * 2
