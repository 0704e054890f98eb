"""Odd class names; a checkout and a home that cannot be written, no XDG folders, results on another disk."""

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pagoda.data.classes import class_in_path
from tests.conftest import ODD, ROOT, copy_project, without_override
from tests.workflow.test_digits import TINY, write_config

OTHER_DISK = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


def test_any_class_names_from_a_checkout_and_a_home_that_cannot_be_written_to_results_on_another_disk(tmp_path, folder):
    (checkout := tmp_path / "checkout").mkdir()
    copy_project(checkout)
    (work := tmp_path / "work").mkdir()
    experiment = copy.deepcopy(TINY) | {"dataset": {"kind": "imagefolder", "root": str(folder), "size": 16}}
    experiment["align"] |= {"judge_fit": 6, "judge_held_out": 2}
    experiment["ascend"] |= {"classes": "all", "views": [{"model": "standard", "sigma": 0}]}
    write_config(work, experiment)
    folders = [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPLCONFIG"))}
    environment |= {"HOME": str(checkout), "XDG_CACHE_HOME": str(work / "cache")}
    wanted = [f"tiny/montage/{kind}class={class_in_path(ODD)}.png" for kind in ("", "animation/")]
    command = [sys.executable, "-m", "snakemake", "-s", str(checkout / "workflow" / "Snakefile"), "--cores", "2", "--"]
    run = {"cwd": work, "env": environment, "capture_output": True, "text": True, "preexec_fn": without_override}
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as disk:
        (work / "results").symlink_to(disk)
        done = subprocess.run([*command, *(f"results/{path}" for path in wanted)], **run, timeout=300)
        for path in folders:
            path.chmod(0o755)
        assert done.returncode == 0 and all((Path(disk) / path).is_file() for path in wanted), done.stderr
    assert "Matplotlib created a temporary" not in done.stderr


def test_make_has_its_caches_beside_it_where_the_home_cannot_be_written(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}

    def caches(home: Path) -> str:
        command = ["make", "--silent", "--eval", "show: ; @echo $$XDG_CACHE_HOME", "show"]
        run = {"cwd": ROOT, "env": environment | {"HOME": str(home)}, "capture_output": True, "text": True}
        return subprocess.run(command, **run, check=True, preexec_fn=without_override).stdout.strip()

    assert caches(tmp_path) == str(tmp_path / ".cache")
    tmp_path.chmod(0o555)
    found = caches(tmp_path)
    tmp_path.chmod(0o755)
    assert found == str(ROOT / ".snakemake" / "cache")
