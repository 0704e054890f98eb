"""What a run says through the logger plugin: to a file, to a terminal, when a job fails, and when all is asked for."""

import os
import pty
import re
import subprocess
import sys

import pytest
import yaml
from forked import snakemake
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase

from tests.conftest import ROOT, without_override

PLUGIN = ROOT / "workflow" / "logger"
SNAKEFILE = """
rule all:
    input: "out/page/index.html", "out/one.png"
rule page:
    input: "out/page/1.txt", "out/one.png"
    output: "out/page/index.html"
    shell: "echo page > {output}"
rule figure:
    output: "out/one.png", "out/one.csv"
    shell: "touch {output}"
rule part:
    output: "out/page/{n}.txt"
    log: "logs/{n}.log"
    shell: "(echo first; echo number {wildcards.n}) > {log}; touch {output}; test {wildcards.n} -lt 5"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


PLUGINS = os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])


def words(*more):
    return [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "progress", *more]


def run(folder, *more):
    return snakemake(folder, "--cores", "1", "--logger", "progress", *more, PYTHONPATH=PLUGINS)


def test_a_file_gets_a_line_a_job_and_what_was_made_and_the_log_all(folder):
    done = run(folder)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and lines[0] == "jobs to do: 4", done.stderr
    jobs = [re.fullmatch(r"\[(\d)/4\] (.*), [\d.]+ s( \(about [\d.]+ s left\))?", line) for line in lines[1:5]]
    assert [job[1] for job in jobs] == ["1", "2", "3", "4"]
    said = {"part out/page/1.txt", "figure out/one.png", "page out/page/index.html", "all"}
    assert {job[2] for job in jobs} == said and not jobs[-1][3]
    assert re.fullmatch(r"made in [\d.]+ s:", lines[5])
    # The page first; what was asked for, not what was on the way.
    assert lines[6:] == ["  out/page/index.html", "  out/: one.png"]
    (log,) = (folder / ".snakemake" / "log").glob("*.log")
    assert "reason: Missing output files" in log.read_text()
    again = run(folder)
    assert again.stderr.startswith("Nothing to be done") and again.stderr.count("\n") == 1


@pytest.mark.parametrize("more", ["--verbose", "--printshellcmds", "--dry-run"])
def test_all_is_said_where_it_is_asked_for(folder, more):
    done = run(folder, more)
    said = done.stdout + done.stderr  # of a dry run, to standard output
    assert done.returncode == 0 and "reason: Missing output files" in said and "rule part:" in said


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_a_profile_asks_for_it_and_takes_no_target_for_a_logger(folder, name):
    given = yaml.safe_load((ROOT / name / "config.yaml").read_text())
    (folder / "mine").mkdir()
    (folder / "mine" / "config.yaml").write_text(yaml.safe_dump({"logger": given["logger"]}))
    done = snakemake(folder, "--profile", "mine", "--cores", "1", "out/one.png", PYTHONPATH=PLUGINS)
    assert done.returncode == 0 and "[1/1] figure out/one.png" in done.stderr, done.stderr


def test_a_failure_shows_the_end_of_its_log(folder):
    done = run(folder, "--keep-going", "out/one.png", "out/page/7.txt")
    assert done.returncode == 1
    said = done.stderr[done.stderr.index("failed") :].splitlines()
    assert said[:4] == ["failed: part out/page/7.txt", "  logs/7.log:", "    first", "    number 7"]
    *_, last = done.stderr.splitlines()
    assert re.fullmatch(r"1 of 2 jobs done in [\d.]+ s, 1 failed; all in .*/.snakemake/log/.*\.log", last)
    assert "Traceback" not in done.stderr and "CalledProcessError" not in done.stderr


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "home",
            r"error: PermissionError: .*Permission denied: '.*/home/\.cache'; Snakemake's caches lie below \$XDG_C.*",
        ),
        ("folder", r"error: PermissionError: .*Permission denied: '.*/\.snakemake'; Snakemake's notes lie in .*"),
    ],
)
def test_what_cannot_be_written_is_one_line(folder, tmp_path, place, said):
    (home := tmp_path / "home").mkdir()
    (shut := {"home": home, "folder": folder}[place]).chmod(0o555)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(home), "PYTHONPATH": PLUGINS}
    done = subprocess.run(
        words(), cwd=folder, env=environment, capture_output=True, text=True, timeout=60, preexec_fn=without_override
    )
    shut.chmod(0o755)
    *_, last = done.stderr.splitlines()
    assert done.returncode == 1 and re.fullmatch(said, last) and "Traceback" not in done.stderr, done.stderr


def test_a_terminal_has_a_bar_below_the_lines(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PLUGINS)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(folder)
    seen = bytearray()

    def read(terminal):
        seen.extend(some := os.read(terminal, 4096))
        return b"" if not some else b"."  # not to pytest's own output

    assert pty.spawn(words(), read) == 0
    bars = re.findall(r"\[(=*) *\] (\d) of 4 jobs", seen.decode())
    assert [len(bar) for bar, done in bars] == [6 * int(done) for _, done in bars] and {n for _, n in bars} >= set(
        "0123"
    )
    # What is left on the screen, once each line was cleared and written again.
    screen = [re.split(r"\x1b\[2K", line)[-1].strip("\r") for line in seen.decode().split("\n")]
    assert [line[:5] for line in screen if line.startswith("[")] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert screen[-2:] == ["  out/: one.png", ""]


class TestInterface(TestLogHandlerBase):
    """Snakemake's own tests of a logger plugin."""

    __test__ = True

    def get_log_handler_cls(self):
        sys.path.insert(0, str(PLUGIN))
        try:
            from snakemake_logger_plugin_progress import LogHandler
        finally:
            sys.path.remove(str(PLUGIN))
        return LogHandler

    def get_log_handler_settings(self):
        return None

    def _create_handler(self):
        handler = super()._create_handler()
        handler.whole = None  # those settings ask for all that Snakemake says, which is Snakemake's to say
        return handler
