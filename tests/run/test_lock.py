import subprocess
import sys

import pytest

from pagoda.errors import BadInput
from pagoda.run.lock import sole_writer
from tests.conftest import ROOT

WRITER = """
import os, sys
from pathlib import Path
from pagoda.errors import BadInput
from pagoda.run.lock import sole_writer

made, alone = 0, Path(sys.argv[1] + ".alone")
while made < 500:
    try:
        with sole_writer(Path(sys.argv[1])):
            os.close(os.open(alone, os.O_CREAT | os.O_EXCL))  # fails where another writer is in here
            alone.unlink()
            made += 1
    except BadInput:
        pass
"""


def test_of_writers_that_come_and_go_one_is_at_work(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "model")]
    writers = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said


def test_a_second_writer_is_refused_in_a_line(tmp_path):
    with (
        sole_writer(tmp_path / "made" / "model"),
        pytest.raises(BadInput, match=r"^another process is making .*model, perhaps [^\n]*$"),
        sole_writer(tmp_path / "made" / "model"),
    ):
        pass
    with sole_writer(tmp_path / "made" / "model"):  # the first has ended
        pass
