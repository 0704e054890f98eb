"""The executor's clusters that need no SLURM: `local` (this machine) and `debug` (in-process)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import snakemake.common.tests
from snakemake_executor_plugin_submitit import ExecutorSettings, local

from tests.conftest import ROOT

RULES = """
rule all:
    input: expand("{{k}}.txt", k=range({jobs}))

rule work:
    output: "{{k}}.txt"
    resources: gpu={gpus}, runtime={minutes}
    shell: {shell!r}
"""


@pytest.fixture
def project(tmp_path):
    def write(shell: str, jobs: int = 1, gpus: int = 0, minutes: int = 5) -> Path:
        (tmp_path / "Snakefile").write_text(RULES.format(shell=shell, jobs=jobs, gpus=gpus, minutes=minutes))
        return tmp_path

    return write


def snakemake_command(*words: str, cluster: str = "local") -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--executor", "submitit", "--submitit-cluster", cluster]
    return [*command, "--jobs", "20", "--latency-wait", "5", *words]


def surroundings(gpus: str | None = None) -> dict[str, str]:
    plugin = str(ROOT / "workflow" / "executor")
    return os.environ | {"PYTHONPATH": plugin} | ({} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus})


def run(folder: Path, *words: str, gpus: str | None = None, cluster: str = "local") -> subprocess.CompletedProcess:
    command = snakemake_command(*words, cluster=cluster)
    return subprocess.run(command, cwd=folder, env=surroundings(gpus), capture_output=True, text=True, timeout=150)


def started(folder: Path, jobs: int = 1) -> None:
    until = time.monotonic() + 60
    while len(list(folder.glob("started*"))) < jobs:
        assert time.monotonic() < until
        time.sleep(0.1)


def processes_in(folder: Path) -> list[str]:
    """Return the commands of processes that work in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_no_two_jobs_hold_the_same_gpu_at_once(project):
    folder = project("echo $CUDA_VISIBLE_DEVICES $(date +%s%N) > {output}; sleep 1; date +%s%N >> {output}", 4, gpus=1)
    done = run(folder, gpus="3,GPU-5f")
    assert done.returncode == 0, done.stderr
    held = sorted(path.read_text().split() for path in folder.glob("*.txt"))
    for name in ("3", "GPU-5f"):
        times = [int(moment) for gpu, *moments in held if gpu == name for moment in moments]
        assert times == sorted(times)  # start, end, start, end
    assert {gpu for gpu, *_ in held} <= {"3", "GPU-5f"}


def test_more_gpus_than_there_are_is_one_line_and_none_at_all_is_done_without(project):
    folder = project("touch {output}", gpus=3)
    refused = run(folder, gpus="0,1")
    assert refused.returncode != 0 and "gpu=3: this machine has 2" in refused.stderr
    assert run(folder, gpus="").returncode == 0


def test_a_failed_job_shows_the_end_of_its_log(project):
    folder = project("echo the reason of it; exit 7")
    done = run(folder)
    assert done.returncode != 0
    assert ": FAILED, exit status" in done.stderr and "the reason of it" in done.stderr
    assert "log: " in done.stderr and "logs/work/k=0/" in done.stderr


@pytest.mark.parametrize("whom", ["terminal", "head"])
def test_ctrl_c_ends_all_that_was_started(project, whom):
    folder = project("trap 'touch saved; exit 1' TERM; touch started; sleep 100 & wait")
    head = subprocess.Popen(
        snakemake_command(), cwd=folder, env=surroundings(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    started(folder)
    if whom == "terminal":  # reaches whatever is in the foreground
        os.killpg(head.pid, signal.SIGINT)
    else:
        head.send_signal(signal.SIGINT)
    assert head.wait(60) != 0
    assert (folder / "saved").exists()  # it was asked first
    assert processes_in(folder) == []


def test_a_head_that_was_killed_is_followed_by_one_that_attaches(project):
    waiting = "for _ in {{1..1200}}; do [ -e go ] && break; sleep 0.1; done"
    folder = project(f"echo start >> started-{{wildcards.k}}; {waiting}; touch {{output}}", jobs=2)
    head = subprocess.Popen(snakemake_command(), cwd=folder, env=surroundings(), stderr=subprocess.DEVNULL)
    started(folder, 2)
    head.kill()
    head.wait()
    refused = run(folder)
    assert refused.returncode != 0 and "--unlock" in refused.stdout + refused.stderr
    assert run(folder, "--unlock").returncode == 0
    with (folder / "said").open("w+") as said:
        second = subprocess.Popen(
            snakemake_command("--rerun-incomplete"), cwd=folder, env=surroundings(), stderr=said, text=True
        )
        until = time.monotonic() + 60
        while (folder / "said").read_text().count("of an earlier run makes work") < 2 and time.monotonic() < until:
            time.sleep(0.1)
        (folder / "go").touch()  # the jobs end when the second head has seen them
        assert second.wait(60) == 0, (folder / "said").read_text()
    assert (folder / "said").read_text().count("of an earlier run makes work") == 2
    assert [path.read_text() for path in folder.glob("started-*")] == ["start\n"] * 2


def test_jobs_that_a_killed_head_left_are_ended_before_others_write_their_files(project):
    folder = project(
        "echo start $$ >> started-{wildcards.k}; trap 'echo end >> started-{wildcards.k}; exit 1' TERM;"
        " [ -e brief ] || sleep 100 & wait; echo end >> started-{wildcards.k}; touch {output}",
        jobs=2,
    )
    grouped = snakemake_command("--groups", "work=pair", "--group-components", "pair=2")
    head = subprocess.Popen(grouped, cwd=folder, env=surroundings(), stderr=subprocess.DEVNULL)
    started(folder)
    head.kill()
    head.wait()
    run(folder, "--unlock")
    (folder / "brief").touch()
    done = run(folder, "--rerun-incomplete")  # not grouped: other jobs than those that run
    assert done.returncode == 0, done.stderr
    assert "of an earlier run write what work does: cancelled" in done.stderr
    for path in folder.glob("started-*"):
        words = [line.split()[0] for line in path.read_text().splitlines()]
        assert words == ["start", "end"] * (len(words) // 2)  # never two at once


def test_a_job_at_its_time_limit_saves_and_goes_on_as_often_as_it_may(project):
    saves = "[ ! -e saved{wildcards.k} ] || exec touch {output}; trap 'touch saved{wildcards.k}; exit 1' TERM"
    folder = project(saves + "; sleep 90 & wait", jobs=2, minutes=1)
    often, never = (
        subprocess.Popen(
            snakemake_command(f"{k}.txt", "--nolock", "--submitit-max-timeouts", str(k)),
            cwd=folder,
            env=surroundings(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in (1, 0)
    )
    said = never.communicate(timeout=150)[1]
    assert never.returncode != 0 and ": TIMEOUT" in said
    said = often.communicate(timeout=150)[1]
    assert often.returncode == 0, said
    assert len(list(folder.glob(".snakemake/submitit/logs/work/k=1/*.log"))) == 2


def test_debug_runs_here_and_fails_like_any_other(project):
    folder = project("echo said on the terminal; [ {wildcards.k} = 0 ] && touch {output}", jobs=2)
    done = run(folder, "--keep-going", cluster="debug")
    assert done.returncode != 0 and "said on the terminal" in done.stdout + done.stderr
    assert (folder / "0.txt").exists() and "debug job" in done.stderr and "FAILED, exit status 1" in done.stderr


def test_what_can_not_be_is_one_line(project, tmp_path):
    folder = project("touch {output}")
    assert "--submitit-cluster slum: choose from auto, slurm, local, debug" in run(folder, cluster="slum").stderr
    asked = run(folder, "--submitit-efficiency", "table.csv")
    assert "--submitit-efficiency needs SLURM's accounting; this is cluster local" in asked.stderr
    nowhere = subprocess.run(
        snakemake_command(cluster="slurm"),
        cwd=folder,
        env=surroundings() | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "no srun on PATH" in nowhere.stderr
    (folder / ".snakemake" / "submitit").rename(folder / ".snakemake" / "moved")
    (folder / ".snakemake" / "submitit").write_text("a file where the folder belongs")
    assert "cannot write to" in run(folder).stderr


@pytest.mark.filterwarnings("ignore")  # Snakemake's own, in this process
class TestSuiteOfSnakemake(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    __test__ = True

    @pytest.fixture(autouse=True)
    def path(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(ROOT / "workflow" / "executor"))

    def get_executor(self) -> str:
        return "submitit"

    def get_executor_settings(self) -> ExecutorSettings:
        return ExecutorSettings(cluster="local")


def test_a_process_without_a_command_line_yet_is_under_way(monkeypatch, tmp_path):
    """It has none between its start and the program's: taken for ended, its GPU went to the next job."""
    for words, runs in (([], True), (["python", f"{tmp_path}/1.pkl"], True), (["another", "program"], False)):
        monkeypatch.setattr(psutil.Process, "cmdline", lambda process, words=words: words)
        assert local._runs(str(os.getpid()), tmp_path) is runs
