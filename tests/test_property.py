import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pagoda.errors import BadInput
from pagoda.figures.property import correlations, rank_correlation, sentences
from steps import property as step
from tests.test_align_summary import write_view


def write_certificates(path, model, sigma, share, images=20):
    """Write certificates of which a share is right and of radius .5, and their facts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(k, 3, 3, 0.5, int(k < round(share * images)), "0:00") for k in range(images)]
    table = pd.DataFrame(rows, columns=["idx", "label", "predict", "radius", "correct", "time"])
    table.to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text(json.dumps({"model": model, "sigma": sigma, "n": 100, "alpha": 0.001}))
    return path


@pytest.fixture
def asked(tmp_path):
    """Four models, one with two seeds; the more aligned, the more robust. And the Bayes classifier, which is not."""
    certificates, measures, groups = [], [], []
    for number, objective in enumerate(("standard", "gaussian", "smoothadv", "consistency", "consistency", "bayes")):
        measures.append(
            write_view(
                tmp_path / "align" / f"{number}.csv", objective, 0.5,
                [(k, target, 0.1 * number + 0.01 * k) for k in range(5) for target in ("3", "7")],
            )
        )  # fmt: skip
        model = json.loads(measures[-1].with_suffix(".json").read_text())["model"]
        certificates.append(write_certificates(tmp_path / "certify" / f"{number}.tsv", model, 0.5, 0.2 * number % 1))
        groups.append(model)
    return step.Config(
        certificates=certificates, measures=measures, groups=groups, radii=(0.25, 0.5), epsilon=4,
        out=tmp_path / "property.png",
    )  # fmt: skip


def test_a_row_a_model_and_correlations_of_the_means_over_seeds(asked):
    frame = step.run(asked)
    assert frame["certified_0.25"].tolist() == [0, 0.2, 0.4, 0.6, 0.8, 0]
    assert frame.bayes.tolist() == pytest.approx([0.02, 0.12, 0.22, 0.32, 0.42, 0.52]) and (frame.bayes_n == 5).all()
    low, high = stats.t.interval(0.95, 4, 0.12, stats.sem([0.1, 0.11, 0.12, 0.13, 0.14]))
    assert (frame.bayes_low[1], frame.bayes_high[1]) == pytest.approx((low, high), abs=1e-6)
    table = pd.read_csv(asked.out.with_suffix(".correlations.csv"))
    # The Bayes classifier, which would turn the order, is drawn but not correlated.
    assert set(table.n) == {4} and table.rho[table.measure == "bayes"].tolist() == [1] * 4  # all, and sigma = 0.5
    said = asked.out.with_suffix(".md").read_text()
    undecided = "18 of 18 pairs of a measure and a radius are undecided (were nothing related, 0.9 of them would seem"
    assert f"- Among 4 models: {undecided}" in said and f"- Among 4 models of σ = 0.5: {undecided}" in said
    assert asked.out.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("rho", "low", "high", "n", "verdict"),
    [
        (-1, np.nan, np.nan, 3, ""),  # one order of three is no verdict
        (-1, np.nan, np.nan, 5, "(rank correlation -1.00) go against each other; "),
        (0.7, 0.1, 0.9, 9, "(rank correlation +0.70 [+0.10, +0.90]) go together; "),
        (0.7, -0.1, 0.9, 9, ""),
        (np.nan, np.nan, np.nan, 9, ""),
    ],
)
def test_only_what_is_decided_is_said_to_hold(rho, low, high, n, verdict):
    row = {"measure": "bayes", "radius": 0.5, "sigma": "all", "rho": rho, "low": low, "high": high, "n": n}
    (said,) = sentences(pd.DataFrame([row]))
    pair = f"Bayes contrast and certified accuracy at 0.5 {verdict}" if verdict else ""
    assert said.startswith(f"Among {n} models: {pair}{0 if verdict else 1} of 1 pairs")


def test_the_interval_of_a_rank_correlation_holds_in_its_share_of_samples():
    source = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's, of two normals with the correlation .6
    inside = 0
    for _ in range(1000):
        x = source.normal(size=20)
        rho, low, high, n = rank_correlation(x, 0.6 * x + 0.8 * source.normal(size=20))
        inside += low <= truth <= high
        assert n == 20 and -1 <= low < rho < high <= 1
    assert 930 <= inside <= 975


def test_what_cannot_be_told_is_not_told(asked):
    assert np.isnan(rank_correlation(np.array([1.0, 2, np.nan]), np.array([1.0, 2, 3]))[0])
    same = {"group": list("abc"), "objective": "gaussian", "sigma": 0.5, "certified_0.5": 0.1}
    flat = correlations(pd.DataFrame(same | {
        name: [1.0, 2, 3] for name in ("contrastive", "bayes", "bayes_match", "tangent", "saliency", "high_frequency",
                                       "net_gain", "patches_gain", "qda_gain")}), (0.5,))  # fmt: skip
    assert flat.rho.isna().all()


def test_tables_that_do_not_go_together_and_too_few_models_are_refused(asked):
    fields = dict(asked)
    for changes, said in (
        ({"measures": asked.measures[::-1]}, "certificates are of .* they must match"),
        ({name: fields[name][:2] for name in ("certificates", "measures", "groups")}, "2 models, .* 3 at least"),
        ({name: fields[name][3:] for name in ("certificates", "measures", "groups")}, "1 models, .* 3 at least"),
    ):
        with pytest.raises(BadInput, match=said):
            step.run(step.Config(**fields | changes))
