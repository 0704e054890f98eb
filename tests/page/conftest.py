"""The page of a small example in a headless Chromium, opened from disk."""

import shutil
import time

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from pagoda.figures.looks import name_of
from steps import gallery
from tests.test_gallery import CLASSES, write_set

CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PIXELS = """canvas => {
    const {width: w, height: h} = canvas, out = [];
    const copy = new OffscreenCanvas(w, h).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    const all = copy.getImageData(0, 0, w, h).data;
    for (let y = 0; y < 8; y++) for (let x = 0; x < 8; x++) for (let c = 0; c < 3; c++)
        out.push(all[4 * (Math.floor((y + .5) * h / 8) * w + Math.floor((x + .5) * w / 8)) + c]);
    return out;
}"""
DRAWN = "[...document.querySelectorAll('canvas')].every(c => !c.checkVisibility() || c.drawn === c.wanted)"


def until(page, condition):
    """Wait until `condition`, JavaScript, holds. (Playwright's own waiting evaluates text, which the page forbids.)."""
    end = time.monotonic() + 5
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"not within 5 s: {condition}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    config, ascents = write_set(tmp_path_factory.mktemp("page"))
    gallery.run(config)
    by_place = {(name_of(a.settings.view), a.settings.epsilon, a.settings.target): a for a in ascents}
    return f"file://{config.out}", by_place


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium: as root on Debian, apt-get install chromium")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, example):
    """Open the page at an address; in the end no error was printed, no dialog opened and nothing else was asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(5000)
    asked, said = [], []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))

    def opened(address=""):
        page = context.new_page()
        page.goto(example[0] + address)
        until(page, DRAWN)
        return page

    yield opened
    context.close()
    assert said == []
    assert {url.partition("#")[0] for url in asked if not url.startswith(("data:", "blob:"))} == {example[0]}


STANDARD, GAUSSIAN = "standard, unsmoothed", "trained under noise σ = 0.5, smoothed"
ADVERSARIAL = "adversarially trained ε = 1, unsmoothed"
SEEDS = f"{GAUSSIAN}, from seeds"


def shown(page, name) -> np.ndarray:
    """The picture on a canvas, [C, H, W]."""
    until(page, DRAWN)
    return np.array(page.locator(f"#{name}").evaluate(PIXELS), dtype=np.uint8).reshape(8, 8, 3).transpose(2, 0, 1)


def expect(page, example, a, b=GAUSSIAN, epsilon=2.0, target=0, source=0, frame=3):
    for slot, view in (("a", a), ("b", b)):
        wanted = example[1][view, epsilon, CLASSES[target]].frames[frame, source]
        end = time.monotonic() + 20  # walking back in the history takes its time, on a busy machine more
        while not (shown(page, f"canvas-{slot}") == wanted).all():
            assert time.monotonic() < end, f"{slot} is not {view}"
