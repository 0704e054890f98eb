import subprocess
import sys

import pytest

from pagoda.errors import BadInput
from pagoda.files import file_hash, replacing, write_text
from tests.conftest import ROOT


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as beside:
        beside.write_text("half of the ne")
        raise RuntimeError
    assert path.read_text() == "old"
    write_text(path, "new")
    assert [p.read_text() for p in path.parent.iterdir()] == ["new"]


def test_a_full_disk_leaves_the_previous_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    # The system refuses to let files grow beyond 1,000 bytes.
    code = (
        "import resource, sys; from pagoda.files import write_text; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_text(Path({str(path)!r}), 'x' * 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert f"BadInput: cannot write {path}: File too large" in done.stderr
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot write .*file/a\.txt"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_file_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01"  # FIPS 180-2, appendix B.1
