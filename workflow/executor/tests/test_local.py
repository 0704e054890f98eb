"""The executor's clusters that need no SLURM: `local` (this machine) and `debug` (in-process)."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from heads import Head, ended
from snakemake_executor_plugin_submitit import local

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
    def write(shell: str, jobs: int = 1, gpus: int = 0, minutes: int = 5) -> Head:
        (tmp_path / "Snakefile").write_text(RULES.format(shell=shell, jobs=jobs, gpus=gpus, minutes=minutes))
        return Head(tmp_path, dict(os.environ), "--submitit-cluster", "local", "--jobs", "20")

    return write


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
    head = project("echo $CUDA_VISIBLE_DEVICES $(date +%s%N) > {output}; sleep 1; date +%s%N >> {output}", 4, gpus=1)
    status, said = head.run(CUDA_VISIBLE_DEVICES="3,GPU-5f")
    assert status == 0, said
    held = sorted(path.read_text().split() for path in head.place.glob("*.txt"))
    for name in ("3", "GPU-5f"):
        times = [int(moment) for gpu, *moments in held if gpu == name for moment in moments]
        assert times == sorted(times)  # start, end, start, end
    assert {gpu for gpu, *_ in held} <= {"3", "GPU-5f"}


def test_more_gpus_than_there_are_is_one_line_and_none_at_all_is_done_without(project):
    head = project("touch {output}", gpus=3)
    status, said = head.run(CUDA_VISIBLE_DEVICES="0,1")
    assert status != 0 and "gpu=3: this machine has 2" in said
    assert head.run(CUDA_VISIBLE_DEVICES="")[0] == 0


def test_a_failed_job_shows_the_end_of_its_log_and_what_is_old_goes(project):
    head = project("printf 'the %s of it' reason; exit 7")  # Snakemake shows the command, too
    old = head.place / ".snakemake" / "submitit" / "logs" / "work" / "k=9" / "1.0.log"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, (0, 0))
    journal = head.place / ".snakemake" / "submitit" / "journal.jsonl"
    journal.write_text("torn\n" * 1000)
    status, said = head.run()
    assert not old.exists() and len(journal.read_text().splitlines()) == 2  # submitted, ended
    assert status != 0
    assert ": FAILED, exit status" in said and "the reason of it" in said
    assert "log: " in said and "logs/work/k=0/" in said


@pytest.mark.parametrize("whom", ["terminal", "head"])
def test_ctrl_c_ends_all_that_was_started(project, whom):
    head = project("trap 'touch saved; exit 1' TERM; touch started; sleep 100 & wait")
    process = head.start(stderr=subprocess.DEVNULL, start_new_session=True)
    started(head.place)
    if whom == "terminal":  # reaches whatever is in the foreground
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert (head.place / "saved").exists()  # it was asked first
    assert processes_in(head.place) == []


def test_a_head_that_was_killed_is_followed_by_one_that_attaches(project):
    waiting = "for _ in {{1..1200}}; do [ -e go ] && break; sleep 0.1; done"
    head = project(f"echo start >> started-{{wildcards.k}}; {waiting}; touch {{output}}", jobs=2)
    process = head.start(stderr=subprocess.DEVNULL)
    started(head.place, 2)
    process.kill()
    process.wait()
    head.unlock()
    with (head.place / "said").open("w+") as said:
        second = head.start("--rerun-incomplete", stderr=said)
        until = time.monotonic() + 60
        while (head.place / "said").read_text().count("of an earlier run makes work") < 2 and time.monotonic() < until:
            time.sleep(0.1)
        (head.place / "go").touch()  # the jobs end when the second head has seen them
        assert second.wait(60) == 0, (head.place / "said").read_text()
    assert (head.place / "said").read_text().count("of an earlier run makes work") == 2
    assert [path.read_text() for path in head.place.glob("started-*")] == ["start\n"] * 2


def test_a_job_that_was_attached_and_failed_is_tried_again_as_a_new_one(project):
    head = project("echo start >> started; until [ -e go ]; do sleep .1; done; [ -e again ] || exit 1; touch {output}")
    process = head.start(stderr=subprocess.DEVNULL)
    started(head.place)
    process.kill()
    process.wait()
    head.unlock()
    with (head.place / "said").open("w+") as said:
        second = head.start("--rerun-incomplete", "--retries", "1", stderr=said)
        until = time.monotonic() + 60
        while "of an earlier run makes work" not in (head.place / "said").read_text() and time.monotonic() < until:
            time.sleep(0.1)
        (head.place / "go").touch()
        while "Trying to restart" not in (head.place / "said").read_text() and time.monotonic() < until:
            time.sleep(0.01)
        (head.place / "again").touch()
        assert second.wait(60) == 0, (head.place / "said").read_text()
    assert (head.place / "said").read_text().count("of an earlier run makes work") == 1
    assert (head.place / "started").read_text().split() == ["start"] * 2


def test_jobs_that_a_killed_head_left_are_ended_before_others_write_their_files(project):
    head = project(
        "echo start $$ >> started-{wildcards.k}; trap 'echo end >> started-{wildcards.k}; exit 1' TERM;"
        " [ -e brief ] || sleep 100 & wait; echo end >> started-{wildcards.k}; touch {output}",
        jobs=2,
    )
    grouped = ("--groups", "work=pair", "--group-components", "pair=2")
    process = head.start(*grouped, stderr=subprocess.DEVNULL)
    started(head.place)
    process.kill()
    process.wait()
    head.unlock()
    (head.place / "brief").touch()
    status, said = head.run("--rerun-incomplete")  # not grouped: other jobs than those that run
    assert status == 0, said
    assert "of an earlier run write what work does: cancelled" in said
    for path in head.place.glob("started-*"):
        words = [line.split()[0] for line in path.read_text().splitlines()]
        assert words == ["start", "end"] * (len(words) // 2)  # never two at once


def test_a_job_at_its_time_limit_saves_and_goes_on_as_often_as_it_may(project):
    saves = "[ ! -e saved{wildcards.k} ] || exec touch {output}; trap 'touch saved{wildcards.k}; exit 1' TERM"
    head = project(saves + "; sleep 90 & wait", jobs=2, minutes=1)
    often, never = (head.start(f"{k}.txt", "--nolock", "--submitit-max-timeouts", str(k)) for k in (1, 0))
    status, said = ended(never)
    assert status != 0 and ": TIMEOUT" in said
    status, said = ended(often)
    assert status == 0, said
    assert len(list(head.place.glob(".snakemake/submitit/logs/work/k=1/*.log"))) == 2


@pytest.mark.parametrize("grouped", [False, True])
def test_a_rules_own_retries_are_new_jobs_with_more_memory(project, grouped):
    head = project("echo {resources.mem_mb} >> tried; [ $(wc -l < tried) = 3 ] && touch {output}")
    rule = head.place / "Snakefile"
    more = "resources: mem_mb=lambda wildcards, attempt: 100 * attempt, "
    text = rule.read_text().replace("resources: ", more).replace("    shell:", "    retries: 2\n    shell:")
    # In a group, a `run:` has a Snakemake of its own.
    if grouped:
        text = text.replace("    shell: ", "    group: 'one'\n    run: shell(").strip() + ")\n"
    rule.write_text(text)
    status, said = head.run()
    assert status == 0, said
    assert (head.place / "tried").read_text().split() == ["100", "200", "300"]
    assert len(list(head.place.glob(".snakemake/submitit/logs/*/*/*.log"))) == 3


def test_two_heads_for_different_files_leave_each_others_jobs_alone(project):
    head = project("touch started-{wildcards.k}; until [ -e go ]; do sleep .1; done; touch {output}", jobs=2)
    first = head.start("0.txt")
    started(head.place)
    first.send_signal(signal.SIGSTOP)
    (head.place / "go").touch()
    exits = head.place / ".snakemake" / "submitit" / "jobs"
    until = time.monotonic() + 60
    while not list(exits.glob("*/*.exit")) and time.monotonic() < until:
        time.sleep(0.1)
    status, said = head.run("1.txt")  # the first one's job has ended, which that does not know yet
    first.send_signal(signal.SIGCONT)
    assert status == 0, said
    status, said = ended(first)
    assert status == 0, said


@pytest.mark.parametrize("kind", ["run", "script"])
def test_a_job_of_another_code_is_not_attached_to(project, kind):
    head = project("")
    waits = "import os, time; open('started', 'w').close()\nwhile not os.path.exists('go'): time.sleep(.1)\n"
    writes = "open('{0}.txt', 'w').write('{1}')\n"

    def write(text: str) -> None:
        code = waits + writes.format(0, text)
        (head.place / "work.py").write_text(code)
        body = {"run": "    run:\n" + "".join(f"        {line}\n" for line in code.splitlines())}
        rule = (head.place / "Snakefile").read_text().partition("    run:")[0].partition("    s")[0]
        (head.place / "Snakefile").write_text(rule + body.get(kind, "    script: 'work.py'\n"))

    write("old")
    first = head.start(stderr=subprocess.DEVNULL)
    started(head.place)
    first.kill()
    first.wait()
    head.unlock()
    write("new")
    (head.place / "started").unlink()
    with (head.place / "said").open("w+") as said:
        second = head.start("--rerun-incomplete", stderr=said)
        started(head.place)
        (head.place / "go").touch()
        assert second.wait(60) == 0, (head.place / "said").read_text()
    assert (head.place / "0.txt").read_text() == "new"
    assert "of an earlier run write what work does: cancelled" in (head.place / "said").read_text()


def test_debug_runs_here_and_fails_like_any_other(project):
    head = project("printf 'said on the %s' terminal; [ {wildcards.k} = 0 ] && touch {output}", jobs=2)
    status, said = head.run("--keep-going", "--submitit-cluster", "debug")
    assert status != 0 and "said on the terminal" in said
    assert (head.place / "0.txt").exists() and "debug job" in said and "FAILED, exit status 1" in said


def test_what_can_not_be_is_one_line(project, tmp_path):
    head = project("touch {output}")
    unknown = "--submitit-cluster slum: choose from auto, slurm, local, debug"
    assert unknown in head.run("--submitit-cluster", "slum")[1]
    asked = "--submitit-efficiency needs SLURM's accounting; this is cluster local"
    assert asked in head.run("--submitit-efficiency", "table.csv")[1]
    assert "no srun on PATH" in head.run("--submitit-cluster", "slurm", PATH=str(tmp_path))[1]
    (head.place / ".snakemake" / "submitit").rename(head.place / ".snakemake" / "moved")
    (head.place / ".snakemake" / "submitit").write_text("a file where the folder belongs")
    assert "cannot write to" in head.run()[1]


def test_a_process_without_a_command_line_yet_is_under_way(monkeypatch, tmp_path):
    """It has none between its start and the program's: taken for ended, its GPU went to the next job."""
    for words, runs in (([], True), (["python", f"{tmp_path}/1.pkl"], True), (["another", "program"], False)):
        monkeypatch.setattr(psutil.Process, "cmdline", lambda process, words=words: words)
        assert local._runs(str(os.getpid()), tmp_path) is runs
