"""Warm starts: on one machine, steps fork from a process that has imported PyTorch once.

A short step spends most of its time importing. Under `warm`, which the Snakefile opens for a local run, the command
``python -m steps.NAME`` stays what it is; but that Python, before it imports anything, asks the process behind
``$PAGODA_WARM`` to fork and to run the step there, with the same arguments, environment, folder and terminal. Signals
go on to the fork, its exit status comes back. Where nobody answers (another Python, another checkout, a process that
has ended), the step starts as it would have. Set PAGODA_WARM=0 to have it so always.
"""

import contextlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

VARIABLE = "PAGODA_WARM"
ROOT = Path(__file__).resolve().parents[2]


def hand_over() -> None:
    """Run this process's step in a fork of the warm process and exit as it does; return where there is none."""
    path, words = os.environ.get(VARIABLE, "0"), [word for word in sys.orig_argv if word != "-u"]  # torchrun's
    if path == "0" or words[1:2] != ["-m"] or not words[2].startswith("steps."):
        return
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(path)
            asked = {"python": sys.prefix, "root": str(ROOT), "cwd": str(Path.cwd()), "words": words[2:]}
            told = json.dumps(asked | {"environment": dict(os.environ)}).encode()
            socket.send_fds(line, [len(told).to_bytes(8)], [0, 1, 2])
            line.sendall(told)
            pid = int.from_bytes(line.recv(8))
        except OSError:
            return
        if pid == 0:  # it declined, or has ended
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: _send(pid, number))
        status = line.recv(8)
        # Nothing said: it was killed.
        os._exit(int.from_bytes(status) if status else 128 + signal.SIGKILL)


@contextlib.contextmanager
def warm() -> Iterator[subprocess.Popen | None]:
    """Start the warm process and yield it; end it with the block. It ends with this process too, however that ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "warm")
        # Every system takes a socket's path of 100 bytes; with a longer TMPDIR, steps start by themselves.
        if os.environ.get(VARIABLE) == "0" or len(path.encode()) > 100:
            yield None
            return
        # One thread, so that a fork has no thread's lock to wait for; each step sets its own number.
        environment = os.environ | {"OMP_NUM_THREADS": "1", VARIABLE: "0"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path)
            door.listen(64)  # from here on steps wait for it, however long it takes to start
            server = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import serve; serve({door.fileno()})"],
                stdin=subprocess.PIPE,
                pass_fds=[door.fileno()],
                start_new_session=True,  # Ctrl-C reaches a step once, through the command that stands for it
                env=environment,
            )
        os.environ[VARIABLE] = path
        try:
            yield server
        finally:
            del os.environ[VARIABLE]
            server.stdin.close()
            server.wait()


def serve(listening: int) -> None:
    """Import every step, then fork for each that asks at the socket of this number, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=listening) as door:
        for module in pkgutil.iter_modules([str(ROOT / "steps")]):
            if not module.ispkg:
                __import__(f"steps.{module.name}")
        while door in select.select([door, 0], [], [])[0]:
            line, _ = door.accept()
            with line:
                if os.fork() == 0:
                    door.close()
                    _work(line)


def _work(line: socket.socket) -> NoReturn:
    """In a fork: become the step that is asked for, say how it ended, and end."""
    status = 1
    try:
        size, files, _, _ = socket.recv_fds(line, 8, 3)
        asked = json.loads(line.makefile("rb").read(int.from_bytes(size)))
        if (asked["python"], asked["root"]) != (sys.prefix, str(ROOT)):
            line.sendall((0).to_bytes(8))
            os._exit(0)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for place, file in enumerate(files):
            os.dup2(file, place)
            os.close(file)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        _set_threads(os.environ.get("OMP_NUM_THREADS"))
        module, *arguments = asked["words"]
        sys.argv = [module, *arguments]
        sys.orig_argv = [sys.executable, "-m", module, *arguments]
        line.sendall(os.getpid().to_bytes(8))
        threading.Thread(target=_end_with, args=(line,), daemon=True).start()
        sys.modules.pop(module, None)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        status &= 0xFF
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            line.sendall(status.to_bytes(8))
        os._exit(status)


def _end_with(line: socket.socket) -> None:
    """End this process when the command that stands for it has ended, by kill -9 say: nobody waits for it any more."""
    line.recv(1)
    os._exit(128 + signal.SIGKILL)


def _set_threads(asked: str | None) -> None:
    """Give PyTorch and the BLAS libraries the threads that a cold start would have."""
    import torch
    from threadpoolctl import threadpool_limits

    count = int(asked) if asked and asked.isdigit() else os.cpu_count() or 1
    torch.set_num_threads(count)
    threadpool_limits(count)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
