"""The blind test: it hides what it must, counts right, and gives its answers away."""

import csv
import re

from statsmodels.stats.proportion import proportion_confint

from tests.page.conftest import GAUSSIAN, STANDARD, expect, shown
from tests.test_gallery import CLASSES


def test_the_blind_test_shows_no_names_counts_right_and_gives_its_answers(open_page, example, tmp_path):
    page = open_page("#mode=blind&seed=5")
    trials = []
    for number in range(12):  # 4 classes of 3 sources
        target = re.search("“(.*)”", page.locator(".question").inner_text()).group(1)
        assert STANDARD not in page.locator("#blind canvas").evaluate_all("all => all.map(c => c.outerHTML).join()")
        pictures = [shown(page, f"blind-{side}") for side in ("left", "right")]
        ends = {view: example[1][view, 2.0, target].frames[3, :3] for view in (STANDARD, GAUSSIAN)}
        places = [
            next((view, k) for view in ends for k in range(3) if (ends[view][k] == picture).all())
            for picture in pictures
        ]
        assert places[0][1] == places[1][1] and places[0][0] != places[1][0]
        right = places[1][0] == GAUSSIAN
        # B four times in five, whichever side it is on; A otherwise; the last: can't tell
        key = "3" if number == 11 else "12"[right] if number % 5 else "12"[not right]
        trials.append((target, places, key))
        page.keyboard.press(key)
    assert len({(target, places[0][1]) for target, places, _ in trials}) == 12
    assert {places[0][0] for _, places, _ in trials} == {STANDARD, GAUSSIAN}

    for slot, count in (("a", 3), ("b", 8)):
        low, high = proportion_confint(count, 11, method="wilson")
        cells = page.locator(f"#result [data-slot={slot}] td").all_inner_texts()
        assert cells == [str(count), f"{count / 11:.2f}", f"[{low:.3f}, {high:.3f}]"]
    assert page.locator("#result [data-slot=n] td").first.inner_text() == "1"

    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, (row, (target, places, key)) in enumerate(zip(rows, trials, strict=True), start=1):
        assert row == {
            "trial": str(number), "class": target, "source": str(10 * CLASSES.index(target) + places[0][1]),
            "left view": places[0][0], "right view": places[1][0],
            "answer": ["left", "right", "can't tell"][int(key) - 1],
            "preferred view": places[int(key) - 1][0] if key != "3" else "", "epsilon": "2", "seed": "5",
            "config hash": "0123456789ab",
        }  # fmt: skip
    assert (
        open_page(page.evaluate("location.hash")).locator("#result").inner_text()
        == page.locator("#result").inner_text()
    )
    page.locator("#blind summary").click()
    target, places, _ = trials[3]
    page.locator("#blind li a").nth(3).click()
    expect(page, example, STANDARD, target=CLASSES.index(target), source=places[0][1])
    page.go_back()
    page.click("#again")
    assert "Trial 1 of 12" in page.locator("#blind").inner_text() and "seed=5&" not in page.url + "&"
