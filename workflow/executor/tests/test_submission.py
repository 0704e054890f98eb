"""What sbatch says, and what SLURM has: an answer that is late, lost, or hidden in a site's own words."""

import shutil
import stat
from pathlib import Path

import pytest

RULES = """
rule all:
    input: expand("{k}.txt", k=range(3))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell: "echo {wildcards.k} >> tries; touch {output}"
"""
COPIED = 'cp "${@: -1}" $0.copy; set -- "${@:1:$#-1}" $0.copy; '


def site_wrapper(folder: Path, text: str) -> str:
    """Write a site's own sbatch, {real} being SLURM's; return a PATH with it."""
    folder.mkdir()
    path = folder / "sbatch"
    path.write_text("#!/bin/bash\necho x >> $0.calls\n" + text.replace("{real}", shutil.which("sbatch")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(folder)


@pytest.mark.parametrize(
    "text",
    [
        'echo "You have used 30 of 500 hours"; {real} "$@"',
        '{real} "$@" > /dev/null',
        '{real} "$@" > /dev/null; echo "You have used 30 of 500 hours"',
        COPIED + '{real} "$@" > /dev/null',  # squeue shows another script
        '{real} "$@" > /dev/null; echo "error: Socket timed out on send/recv operation" >&2; exit 1',
        # The same, but the controller answers neither: it is asked again before anything is sent again.
        '{real} "$@" > /dev/null; touch $0.busy; echo "error: Socket timed out on send/recv" >&2; exit 1',
    ],
    ids=["banner", "nothing", "words", "copied", "timed-out", "timed-out-and-busy"],
)
def test_a_job_that_slurm_has_taken_is_found_and_not_sent_twice(cluster, project, tmp_path, text):
    head = project(RULES)
    path = site_wrapper(tmp_path / "bin", text)
    squeue = tmp_path / "bin" / "squeue"
    squeue.write_text(f'#!/bin/bash\nrm {path}/sbatch.busy 2>/dev/null && exit 1\nexec {shutil.which("squeue")} "$@"\n')
    squeue.chmod(0o755)
    status, said = head.run(PATH=f"{path}:{cluster.environment['PATH']}")
    assert status == 0, said
    assert (tmp_path / "bin" / "sbatch.calls").read_text().split() == ["x"]
    assert sorted((head.place / "tries").read_text().split()) == ["0", "1", "2"]
