"""The blind test: it hides what it must, is balanced, counts right, decides by an exact test, and gives its answers."""

import csv
import re
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from pagoda.maths import raters
from steps import raters as raters_step
from tests.page.conftest import GAUSSIAN, STANDARD, expect, shown, until
from tests.test_gallery import CLASSES

TRIALS = 12 + 2  # 4 classes of 3 sources, and two with real pictures


def place_of(example, picture, views=(STANDARD, GAUSSIAN)):
    """The view, class and source whose end a picture is, or None for a source."""
    for view in views:
        for target in CLASSES:
            ends = example[1][view, 2.0, target].frames[3, :3]
            if found := [k for k in range(3) if (ends[k] == picture).all()]:
                return view, target, found[0]
    return None


def answered(open_page, example, choose):
    """Go through a test; `choose` gives the key for (ascents seen before, places). Return the page and all trials."""
    page = open_page("#mode=blind")
    page.fill("#rater", "ann-1")
    page.click("#begin")
    trials = []
    for _ in range(TRIALS):
        target = re.search("“\u2068(.*)\u2069”", page.locator(".question").inner_text()).group(1)
        places = [place_of(example, shown(page, f"blind-{side}")) for side in ("left", "right")]
        said = page.evaluate("document.body.innerText") + page.url + page.locator("#blind").evaluate("e => e.outerHTML")
        for name in ("standard", "gaussian", "trained", "data-sheet", "data-drawn", "data-wanted", "sheet"):
            assert name not in said, said
        key = choose(sum(seen[0] is not None for _, seen, _ in trials), places)
        trials.append((target, places, key))
        page.keyboard.press(key)
    return page, trials


def row(page, name):
    return page.locator("#result tr").filter(has_text=name).first.locator("td").all_inner_texts()


def test_the_blind_test_hides_names_is_balanced_counts_right_and_gives_its_answers(open_page, example, tmp_path):
    def choose(number, places):
        if places[0] is None:
            return "1"  # real pictures: right once, as the two stand once each way
        # B four times in five, whichever side it is on; A otherwise; sometimes: can't tell
        right = places[1][0] == GAUSSIAN
        return "3" if number == 11 else "12"[right] if number % 5 else "12"[not right]

    page, trials = answered(open_page, example, choose)
    real = [trial for trial in trials if trial[1][0] is not None]
    assert len(real) == 12 and len({(target, places[0][2]) for target, places, _ in real}) == 12
    assert all(places[0][1:] == places[1][1:] for _, places, _ in real)
    assert Counter(places[0][0] for _, places, _ in real) == {STANDARD: 6, GAUSSIAN: 6}
    assert Counter(target for target, *_ in real) == dict.fromkeys(CLASSES, 3)
    preferred = [places[int(key) - 1][0] if key != "3" else None for _, places, key in real]
    a, b = preferred.count(STANDARD), preferred.count(GAUSSIAN)
    for name, count in ((STANDARD, a), (GAUSSIAN, b)):
        low, high = raters.clustered_interval([p == name for p in preferred if p], [1] * (a + b))
        shares = [f"{count} of {a + b}", f"{count / (a + b):.2f}", f"[{low:.3f}, {high:.3f}]"]
        assert row(page, name) == shares
    left = sum(key == "1" for *_, key in real)
    assert row(page, "Left side")[0] == f"{left} of {a + b}" and row(page, "Can’t tell")[0] == f"{12 - a - b} of 12"
    assert f"{12 - a - b} can’t tell" in page.locator(".question").inner_text()
    assert "1 of 2 right" in page.locator("#blind").inner_text()

    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = {STANDARD: "standard@0", GAUSSIAN: "gaussian-0.5@0.5"}
    for number, (found, (target, places, key)) in enumerate(zip(rows, trials, strict=True), start=1):
        assert (found["rater"], found["question"], found["trial"]) == ("ann-1", "two", str(number))
        assert (found["class"], found["answer"]) == (target, ["left", "right", "can't tell"][int(key) - 1])
        assert float(found["seconds"]) >= 0
        if places[0] is None:
            assert found["check"] in ("right", "wrong") and found["left"] == ""
        else:
            assert (found["left"], found["right"]) == tuple(keys[view] for view, *_ in places)
            assert found["source"] == str(10 * CLASSES.index(target) + places[0][2]) and found["check"] == ""
    pooled = raters_step.Config(page=example[0].removeprefix("file://"), answers=(tmp_path / "answers.csv",),
                                out=tmp_path / "raters.md")  # fmt: skip
    raters_step.run(pooled)
    assert f"| {max(a, b)} to {min(a, b)} |" in pooled.out.read_text() and "ann-1" not in pooled.out.read_text()
    until(page, "waiting.address === null")  # the address follows the answers a little later
    again = open_page(page.evaluate("location.hash"))
    assert again.locator("#result").inner_text() == page.locator("#result").inner_text()
    page.locator("#blind summary").click()
    number = next(k for k, (_, places, _) in enumerate(trials) if places[0] is not None)
    target, places, _ = trials[number]
    page.locator("#blind li a").first.click()
    expect(page, example, places[0][0], places[1][0], target=CLASSES.index(target), source=places[0][2])


@pytest.mark.parametrize(
    ("letters", "said"),
    [
        ("b" * 4 + "n" * 8, "Not decided: 4 of 12 answers are too few, 10 at least (4 to 0; 8 can’t tell)"),
        ("b" * 12, f"{GAUSSIAN}: preferred 12 to 0 (p = < .001)"),
        ("b" * 10 + "a" * 2, f"{GAUSSIAN}: preferred 10 to 2 (p = .039)"),
        ("b" * 9 + "a" * 3, "Not decided: 9 to 3 (p = .146, over 12 sources)"),
        ("n" * 12, "Every time: can’t tell"),
    ],
)
def test_the_verdict_is_that_of_an_exact_test(open_page, letters, said):
    page = open_page("#mode=blind")
    page.click("#begin")
    wanted = f"""[..."{letters}"]; const all = trialsOf(); let k = 0;
        show({{answers: all.map(t => {{ const w = t.check ? "n" : wanted[k++];
        return w === "n" ? "n" : (t.left === state[w] ? "l" : "r"); }}).join("")}}, {{keep: true}})"""
    page.evaluate(f"() => {{ const wanted = {wanted} }}")
    assert page.locator(".question").inner_text() == said


def test_statistics_are_those_of_scipy_and_of_the_pooled_answers(open_page):
    page = open_page()
    for x, n in ((0, 5), (4, 4), (7, 11), (19, 20)):
        ours = page.evaluate(f"clusteredInterval(Array.from({{length: {n}}}, (_, k) => ({{hits: +(k < {x}), n: 1}})))")
        assert np.allclose(ours, stats.binomtest(x, n).proportion_ci(0.95, method="exact"), atol=1e-6)
        flips = page.evaluate(f"signFlip(Array.from({{length: {n}}}, (_, k) => k < {x} ? 1 : -1))")
        assert flips == pytest.approx(stats.binomtest(x, n).pvalue, rel=1e-9)
    hits, counts = [3, 0, 2, 5, 1], [4, 3, 2, 6, 5]
    clusters = str([{"hits": h, "n": n} for h, n in zip(hits, counts, strict=True)])
    assert np.allclose(
        page.evaluate(f"clusteredInterval({clusters})"), raters.clustered_interval(hits, counts), atol=1e-6
    )
    assert page.evaluate("signFlip([3, -1, 2, 2, 4])") == pytest.approx(raters.sign_flip([3, -1, 2, 2, 4]))


def test_a_test_fills_no_history_and_answers_that_are_none_of_it_are_refused(open_page, example):
    page = open_page()
    before = page.evaluate("history.length")
    page.keyboard.press("b")
    page.click("#begin")
    for _ in range(TRIALS):
        page.keyboard.press("1")
    until(page, "location.hash.includes('answers=" + "l" * TRIALS + "')")
    assert page.evaluate("history.length") == before + 1
    page = open_page(page.evaluate("location.hash") + "lr")
    assert "answers that are none of this test" in page.locator("#notice").inner_text()
    assert f"Trial 1 of {TRIALS}" in page.locator("#blind").inner_text()


def test_which_class_counts_what_was_seen_beside_the_judges(open_page, example):
    page = open_page("#mode=blind&kind=which")
    page.click("#begin")
    right = Counter()
    for number in range(TRIALS):
        found = place_of(example, shown(page, "blind-one"))
        assert STANDARD not in page.locator("#blind").inner_text()
        target = found[1] if found else CLASSES[0]
        if found and number % 3:
            right[found[0]] += 1
        choice = target if number % 3 else CLASSES[(CLASSES.index(target) + 1) % 4]
        page.locator(".answers button").nth(CLASSES.index(choice)).click()
    for name in (STANDARD, GAUSSIAN):
        cells = row(page, name)
        assert cells[0] == f"{right[name]} of 6" and cells[3:] == ["0.00", "1.00", "–"]  # as the table has the judges


def test_a_view_without_its_grain_can_be_compared(open_page):
    page = open_page("#mode=blind")
    page.select_option("[data-slot=a]", label=f"{STANDARD}, without its grain")
    page.click("#begin")
    for _ in range(TRIALS):
        page.keyboard.press("1")
    assert f"{STANDARD}, without its grain" in page.locator("#result").inner_text()
    page.keyboard.press("b")
    assert page.locator("#canvas-a").is_visible()
