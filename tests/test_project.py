"""What holds the project together: imports go down only, the two lists of versions agree, files stay short."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from pagoda.run.fingerprint import direct_imports
from tests.conftest import ROOT

SOURCES = sorted([*(ROOT / "pagoda").rglob("*.py"), *(ROOT / "steps").rglob("*.py")])
LAYERS = (
    *("pagoda.errors", "pagoda.log", "pagoda.files", "pagoda.memory", "pagoda.device", "pagoda.maths", "pagoda.data"),
    *("pagoda.nets", "pagoda.figures", "pagoda.page", "pagoda.options", "pagoda.run", "pagoda", "steps"),
)
"""From the bottom up: a module imports its own layer and those before it."""
PACKAGE_OF = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml"}


def layer_of(module: str) -> int:
    return max(
        (number for number, name in enumerate(LAYERS) if f"{module}.".startswith(f"{name}.")),
        key=lambda number: len(LAYERS[number]),
    )


def test_imports_go_down_only():
    above = {}
    for path in SOURCES:
        own = layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        imported = direct_imports(path) - {"pagoda", "steps"}  # their packages come along
        above[path] = {name for name in imported if layer_of(name) > own}
    assert not {path: names for path, names in above.items() if names}


def test_short_jobs_import_nothing_slow():
    slow = {"torchvision", "pandas", "matplotlib", "sklearn", "snakemake"}
    code = (
        "import sys, steps.ascend; found = [name for name in sys.argv[1:] if name in sys.modules];"
        " import steps.certify, steps.train; print(found, {*sys.argv[2:]} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code, "scipy", *slow]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] set()"


def locked(name: str) -> dict[str, str]:
    """Return package -> version of a lock file in envs/, as Python 3.12 would install it."""
    pins = {}
    for package, version, marker in re.findall(
        r"^([a-z0-9-]+)==(\S+)(?: ; ([^\\]*?))? \\$", (ROOT / "envs" / name).read_text(), re.M
    ):
        if "< '3.12'" not in marker:
            pins[package] = version
    return pins


def test_the_conda_environment_has_the_locked_versions_of_all_that_steps_import():
    *_, pip = yaml.safe_load((ROOT / "envs" / "torch.yaml").read_text())["dependencies"]
    conda = dict(line.split("==") for line in pip["pip"])
    pins = locked("requirements.txt")
    assert conda == {name: pins[name] for name in conda}
    imported = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"pagoda", "steps"}
    assert {PACKAGE_OF.get(name, name) for name in third_party} == set(conda)


def test_pixi_and_the_container_have_what_conda_has():
    python, _, pip = yaml.safe_load((ROOT / "envs" / "torch.yaml").read_text())["dependencies"]
    pixi = tomllib.loads((ROOT / "envs" / "pixi.toml").read_text())
    assert {f"{name}{version}" for name, version in pixi["pypi-dependencies"].items()} == set(pip["pip"])
    version = python.removeprefix("python=")
    assert pixi["dependencies"] == {"python": f"{version}.*"}
    recipe = (ROOT / "Dockerfile").read_text()
    # The container is installed as `make` installs: from the same hashed locks.
    assert f"FROM python:{version}-" in recipe and "RUN make -C /opt/pagoda .venv/installed" in recipe


def test_what_it_is_called_and_its_licence_stand_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (
        (cited["version"], cited["license"]) == (project["version"], project["license"]) == (project["version"], "MIT")
    )
    assert "the Pagoda authors" in (ROOT / "LICENSE").read_text()
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["requirements.txt", "test.txt", "bench.txt", "docs.txt", "uv.txt"])
def test_locks_are_hashed_and_name_no_host(name):
    text = (ROOT / "envs" / name).read_text()
    entries = re.findall(r"^[a-z0-9-]+==.*?(?=^\S|\Z)", text, re.M | re.S)
    assert entries and all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text and "--index" not in text


def test_no_source_file_is_above_300_lines():
    sources = [*SOURCES, *(ROOT / "workflow").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    assert not {path: n for path in sources if (n := len(path.read_text().splitlines())) > 300}
