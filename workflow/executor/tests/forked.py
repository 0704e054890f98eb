"""Snakemake in a fork of a process that has imported it: a CPU-second less than in a process of its own."""

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path


@cache
def server() -> subprocess.Popen:
    """Start the process that imports Snakemake, once; it ends with this one."""
    started = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(started.communicate)
    return started


def snakemake(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run ``python -m snakemake`` in `project` with some variables changed; return what it printed and its status."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        asked = {"place": str(project), "words": words, "files": files, "environment": {**os.environ, **environment}}
        server().stdin.write(json.dumps(asked) + "\n")
        server().stdin.flush()
        status = int(server().stdout.readline())
        return subprocess.CompletedProcess(words, status, *(Path(file).read_text() for file in files))


def serve() -> None:
    """Fork for each line of standard input; print how each fork ended."""
    import snakemake.cli
    import snakemake.report  # noqa: F401

    with contextlib.suppress(ImportError):  # which workflows import, where it is installed
        import pydantic  # noqa: F401

    gc.freeze()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            become(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def become(place: str, words: list[str], files: list[str], environment: dict[str, str]) -> None:
    """Run Snakemake as a new process would, for ten minutes at most."""
    signal.alarm(600)
    for number, name in enumerate([os.devnull, *files]):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [place, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["snakemake", *words]
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    serve()
