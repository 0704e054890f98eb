"""Readers' answers put together: shares, strengths and their intervals; what is foreign is named."""

import csv
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from pagoda.errors import BadInput
from pagoda.maths import raters as maths
from pagoda.page.answers import COLUMNS
from steps import gallery, raters
from tests.test_gallery import CLASSES, data_of, write_set

A, B, FOIL = "standard@0", "gaussian-0.5@0.5", "standard@0,foil"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    config, _ = write_set(tmp_path_factory.mktemp("raters"))
    gallery.run(config)
    return config.out


def write(page, path, rows, **changes):
    """Write answers; each row gives what differs from a trial of "two"."""
    known = {
        "experiment": "example", "config": "0123456789ab", "pictures": data_of(page)["pictures"], "rater": path.stem,
        "question": "two", "seed": "1", "epsilon": "2", "check": "", "class": CLASSES[0], "source": "0", "left": A,
        "right": B, "answer": "right", "seconds": "1.5",
    }  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, row in enumerate(rows, start=1):
            writer.writerow(known | {"trial": number} | row | changes)
    return path


def result(page, *paths):
    out = paths[0].with_name("raters.md")
    raters.run(raters.Config(page=page, answers=paths, out=out))
    return out.read_text()


def test_preferences_have_intervals_over_readers_and_sources(page, tmp_path):
    """Sources agree with each other, readers do not: the interval is that over readers."""
    paths = [
        write(
            page,
            tmp_path / f"{name}.csv",
            [{"source": str(s), "answer": ["left", "right"][name in "abc"]} for s in range(8)],
        )
        for name in "abcd"
    ]
    text = result(page, *paths)
    low, high = maths.clustered_interval([8, 8, 8, 0], [8] * 4)
    assert (
        f"| 24 to 8 | 0.75 [{low:.2f}, {high:.2f}] | {maths.sign_flip([8, 8, 8, -8]):.3f}".replace(" 0.6", " .6")
        in text
    )
    assert high - low > 0.7 and "4 readers, 32 answers, 1.5 s each" in text
    assert "trained under noise σ = 0.5, smoothed | standard, unsmoothed" in text and "An order" not in text


def test_careless_readers_are_left_out_and_named(page, tmp_path):
    good = write(page, tmp_path / "good.csv", [{}] * 6 + [{"check": "right", "left": "", "right": ""}] * 2)
    bad = write(
        page, tmp_path / "bad.csv", [{"answer": "left"}] * 6 + [{"check": "wrong", "left": "", "right": ""}] * 2
    )
    text = result(page, good, bad)
    assert "1 readers, 6 answers" in text and "wrong: bad." in text and "2 of 4 right" in text and "| 6 to 0 |" in text


def test_all_views_get_strengths(page, tmp_path):
    rows = [{"question": "all", "left": one, "right": other, "source": str(s), "answer": "left" if s else "can't tell"}
            for one, other in itertools.combinations((B, FOIL, A), 2) for s in range(6)]  # fmt: skip
    text = result(page, write(page, tmp_path / "a.csv", rows), write(page, tmp_path / "b.csv", rows))
    order = text.partition("### An order")[2]
    names = [
        "trained under noise σ = 0.5, smoothed",
        "standard, unsmoothed, without its grain",
        "standard, unsmoothed |",
    ]
    assert [order.index(name) for name in names] == sorted(order.index(name) for name in names)


def test_classes_seen_stand_beside_the_judges(page, tmp_path):
    rows = [{"question": "which", "left": view, "right": "", "source": str(s), "answer": CLASSES[s == 0 or view == A]}
            for view in (A, B) for s in range(3)]  # fmt: skip
    text = result(page, write(page, tmp_path / "a.csv", rows))
    low, high = maths.clustered_interval([0, 1, 1], [1] * 3)
    assert f"| standard, unsmoothed | 3 | 0.00 [0.00, {maths.clustered_interval([0] * 3, [1] * 3)[1]:.2f}] |" in text
    assert f"| trained under noise σ = 0.5, smoothed | 3 | 0.67 [{low:.2f}, {high:.2f}] | 0.00 | 1.00 | – |" in text
    assert "Chance is 0.25" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pictures": "0" * 12}, "a.csv, trial 1: of other pictures (000000000000) than the page's"),
        ({"experiment": "other"}, "a.csv, trial 1: of the experiment 'other', but the page is of 'example'"),
        ({"left": "nets@0"}, "a.csv, trial 1: view is 'nets@0': choose from 'standard@0'"),
        ({"answer": "both"}, "a.csv, trial 1: answer is 'both': choose from 'left', 'right', \"can't tell\""),
        ({"class": "\u202eodd"}, "a.csv, trial 1: class is '\\u202eodd': choose from"),
    ],
)
def test_answers_that_are_none_of_this_page_are_named(page, tmp_path, changes, said):
    with pytest.raises(BadInput) as caught:
        result(page, write(page, tmp_path / "a.csv", [{}], **changes))
    assert said in str(caught.value)


def test_a_test_that_stands_twice_and_a_foreign_file_are_named(page, tmp_path):
    one, other = (write(page, tmp_path / f"{name}.csv", [{}], rater="ann") for name in "ab")
    with pytest.raises(BadInput, match=r"b.csv and .*a.csv are one test: rater 'ann', question two, seed 1"):
        result(page, one, other)
    (tmp_path / "c.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="c.csv is no file of this page's blind test: it lacks the columns experiment"):
        result(page, tmp_path / "c.csv")
    with pytest.raises(BadInput, match="c.csv is no page that the gallery step wrote"):
        raters.run(raters.Config(page=tmp_path / "c.csv", answers=(one,), out=tmp_path / "r.md"))


def test_strengths_are_those_of_maximum_likelihood_and_intervals_cover():
    draw = np.random.default_rng(3)
    truth = np.array([0.8, 0.0, -0.8])
    pairs = draw.permuted(np.tile([0, 1, 2], (600, 1)), axis=1)[:, :2]
    chance = 1 / (1 + np.exp(truth[pairs[:, 1]] - truth[pairs[:, 0]]))
    won = (draw.uniform(size=600) < chance).astype(float)
    wins = np.zeros((3, 3))
    for (one, other), result in zip(pairs, won, strict=True):
        wins[(one, other) if result else (other, one)] += 1
    more = wins + 0.5 * (1 - np.eye(3))

    def loss(s):
        return (more * np.log1p(np.exp(s[None] - s[:, None]))).sum()

    wanted = optimize.minimize(loss, np.zeros(3)).x
    assert np.allclose(maths.bradley_terry(wins), wanted - wanted.mean(), atol=1e-3)
    found, low, high = maths.strengths(pairs, won, np.arange(600) % 5, np.arange(600) % 12, 3)
    assert (low < found).all() and (found < high).all() and (low < truth).all() and (truth < high).all()


def test_one_answer_a_cluster_is_the_exact_test_and_clusters_widen_it():
    assert maths.sign_flip([1] * 4) == pytest.approx(stats.binomtest(4, 4).pvalue)
    assert maths.sign_flip([1] * 9 + [-1] * 3) == pytest.approx(stats.binomtest(9, 12).pvalue)
    alone = maths.clustered_interval([1] * 9 + [0] * 3, [1] * 12)
    assert np.allclose(alone, stats.binomtest(9, 12).proportion_ci(0.95, method="exact"))
    low, high = maths.clustered_interval([3, 3, 3, 0], [3] * 4)  # the same answers, in four clusters that each agree
    assert low < alone[0] and high > alone[1]
    assert maths.clustered_interval([5], [9]) == (0, 1)
    assert pd.Series(maths.clustered_interval([3, 3], [3, 3])).tolist() == [pytest.approx(0.158, abs=1e-3), 1.0]
