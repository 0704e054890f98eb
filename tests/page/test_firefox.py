"""Firefox shows the page as Chromium does: the pictures are drawn, and stand where they should."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

SIZE = 1280, 900


def coarse(path) -> np.ndarray:
    """A screenshot's brightness, a value for each 20 x 20 pixels: letters differ by less, pictures by more."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L").crop((0, 0, *SIZE)).resize((64, 45), Image.Resampling.BOX), float).ravel()


@pytest.mark.skipif(shutil.which("firefox-esr") is None, reason="no Firefox: as root on Debian, install firefox-esr")
def test_firefox_shows_what_chromium_shows(example, open_page, tmp_path):
    files = {name: tmp_path / f"{name}.png" for name in ("chromium", "firefox")}
    open_page().screenshot(path=files["chromium"])
    command = ["firefox-esr", "--headless", "--no-remote", "--profile", tmp_path / "profile"]
    command += ["--window-size={},{}".format(*SIZE), "--screenshot", files["firefox"], example[0]]
    (tmp_path / "profile").mkdir()
    subprocess.run(
        command, capture_output=True, timeout=100, check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin"}
    )
    one, other = (coarse(path) for path in files.values())
    assert np.corrcoef(one, other)[0, 1] > 0.9
    assert np.corrcoef(one, np.roll(other.reshape(45, 64), 3, axis=1).ravel())[0, 1] < 0.9  # three cells aside shows
