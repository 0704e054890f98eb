import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pagoda.maths.certification import ABSTAIN
from pagoda.maths.prediction import Poll
from steps import predict
from tests.conftest import changed


@pytest.fixture
def asked(model, dataset, tmp_path):
    out = tmp_path / "predict" / "gaussian-0.5" / "sigma=0.5.tsv"
    return predict.Config(model=model, data=dataset, out=out, sigma=0.5, images=12, n=200, alpha=0.01, batch=64)


@pytest.mark.parametrize("votes", [(100, 0), (60, 40), (55, 45), (50, 50), (40, 35, 25), (0, 1), (7, 3, 0)])
def test_the_test_is_that_of_the_two_most_frequent_classes(votes):
    poll = Poll(sum(votes), 0.05, len(votes))
    poll.add(votes, sum(votes))
    second, first = sorted(votes)[-2:]
    expected = stats.binomtest(first, first + second, 0.5).pvalue
    assert poll.p_value == pytest.approx(expected, rel=1e-9)
    assert poll.prediction == (int(np.argmax(votes)) if expected <= 0.05 else ABSTAIN)


def test_it_returns_another_class_no_more_often_than_alpha():
    random, alpha, n, wrong = np.random.default_rng(0), 0.05, 200, 0
    for _ in range(2000):  # the classes are nearly as likely: the hardest case
        poll = Poll(n, alpha, 2)
        hits = int(random.binomial(n, 0.501))
        poll.add([hits, n - hits], n)
        wrong += poll.prediction == 1
    assert wrong / 2000 <= alpha


def test_an_n_that_cannot_predict_is_said_with_the_least_that_can():
    assert Poll(10, 0.001, 2).warning.endswith("the smallest n that can decide is 11")
    enough = Poll(11, 0.001, 2)
    enough.add([11, 0], 11)
    assert not enough.warning and enough.prediction == 0


def test_a_table_says_what_both_classifiers_see_clean_and_under_noise(asked):
    facts = predict.run(asked)
    table = pd.read_csv(asked.out, sep="\t")
    assert table.idx.tolist() == [k * 359 // 12 for k in range(12)]
    for view in ("clean", "noisy"):
        smoothed, base = table[f"predict_{view}"], table[f"base_{view}"]
        assert ((table[f"p_value_{view}"] <= 0.01) == (smoothed != ABSTAIN)).all()
        assert facts[view]["smoothed_accuracy"]["share"] == pytest.approx((smoothed == table.label).mean())
        assert facts[view]["base_accuracy"]["share"] == pytest.approx((base == table.label).mean())
        assert facts[view]["abstained"]["n"] == 12
    assert json.loads(asked.out.with_suffix(".json").read_text()) == facts


def test_batch_size_changes_no_row(asked):
    predict.run(asked)
    other = changed(asked, batch=7, out=asked.out.with_name("other.tsv"))
    predict.run(other)
    assert other.out.read_bytes() == asked.out.read_bytes()
