"""Where the checkout and the home cannot be written, XDG folders are missing, and results lie on another disk."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT, copy_project, without_override
from tests.workflow.test_digits import write_config

OTHER_DISK = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


def test_it_works_from_a_checkout_and_a_home_that_cannot_be_written_and_with_results_on_another_disk(tmp_path):
    (checkout := tmp_path / "checkout").mkdir()
    copy_project(checkout)
    (work := tmp_path / "work").mkdir()
    write_config(work)
    folders = [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPLCONFIG"))}
    environment |= {"HOME": str(checkout), "XDG_CACHE_HOME": str(work / "cache")}
    target = "results/tiny/montage/class=3.png"
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as disk:
        (work / "results").symlink_to(disk)
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "-s", str(checkout / "workflow" / "Snakefile"), "--cores", "2", target],
            cwd=work, env=environment, capture_output=True, text=True, timeout=300, preexec_fn=without_override,
        )  # fmt: skip
        for path in folders:
            path.chmod(0o755)
        assert done.returncode == 0 and (Path(disk) / "tiny/montage/class=3.png").is_file(), done.stderr
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
