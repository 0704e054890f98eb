import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pagoda.errors import BadInput
from steps import align_summary

COLUMNS = ["contrastive", "bayes", "bayes_match", "tangent", "saliency", "high_frequency", "bayes_blurred"]


def write_view(path, objective, sigma, rows, start="images", accuracy=0.8, agreement=0.9):
    """Write a view's table with the given values by (index, target), and its facts."""
    model = objective if objective == "standard" else f"{objective}-0.5"
    name = f"{model}, " + (f"smoothed with σ = {sigma:g}" if sigma else "unsmoothed")
    shared = {"view": name, "model": model, "sigma": sigma, "start": start, "epsilon": 4.0}
    table = pd.DataFrame(
        [
            shared
            | {"index": index, "target": target, "label": "nan", "p_before": 0.1, "p_after": 0.9, "norm": 4.0}
            | dict.fromkeys(COLUMNS, value)
            | {"split_half": agreement, "own_split_half": agreement}
            | {f"{j}_before": "NA" for j in ("patches", "qda", "net")}
            | {f"{j}_after": target if value > 0.5 else "NA" for j in ("patches", "qda", "net")}
            for index, target, value in rows
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    judges = {
        j: {"accuracy": accuracy, "low": 0.7, "high": 0.9, "n": 50, "chance": 0.1, "sources_accuracy": 0.75,
            "sources_n": 4} for j in ("patches", "qda", "net")
    }  # fmt: skip
    facts = {"view": name, "model": model, "sigma": sigma, "start": start, "objective": objective, "draws": 64}
    facts |= {"reference_sigma": sigma or 0.5}
    path.with_suffix(".json").write_text(json.dumps(facts | {"judges": judges}))
    return path


def values(centre, spread, images=12, targets=("3", "NA")):
    """Return rows whose mean over an image's targets is centre ± spread, in turn."""
    return [
        (k, target, centre + spread * (-1) ** k + shift)
        for k in range(images)
        for target, shift in zip(targets, (0.02, -0.02), strict=True)
    ]


def summarise(tmp_path, *tables, **changes):
    config = align_summary.Config(tables=tables, out=tmp_path / "summary.csv", **{"epsilon": 4.0} | changes)
    align_summary.run(config)
    return pd.read_csv(config.out, keep_default_na=False), config.out.with_suffix(".md").read_text()


def sentence(page, measure):
    return next(line for line in page.splitlines() if line.startswith(f"- {measure}:"))


def test_intervals_are_over_images_and_not_over_ascents(tmp_path):
    rows = values(0.3, 0.1)
    table, page = summarise(tmp_path, write_view(tmp_path / "a.csv", "standard", 0.0, rows))
    found = table.iloc[0]
    means = np.array([0.4 - 0.2 * (k % 2) for k in range(12)])
    half = stats.t.ppf(0.975, 11) * means.std(ddof=1) / 12**0.5
    assert (found["n"], found.contrastive) == (12, pytest.approx(0.3, abs=1e-6))
    assert np.allclose([found.contrastive_low, found.contrastive_high], [0.3 - half, 0.3 + half], atol=1e-5)
    assert "| 0.300 [0." in page and "judge gain, random patches ↑" in page and "high-frequency fraction ↓" in page
    assert "Not tested" in page and "Flags" not in page


def test_judge_gain_is_what_the_judge_gains_and_class_names_stay_text(tmp_path):
    rows = [(k, target, 0.9 if k < 3 else 0.1) for k in range(4) for target in ("3", "NA")]
    table, _ = summarise(tmp_path, write_view(tmp_path / "a.csv", "standard", 0.0, rows))
    # Towards 3 three of four gain; NA was seen before: nothing to gain.
    assert float(table.patches_gain[0]) == pytest.approx((3 / 4 + 0) / 2)


def test_hypotheses_are_computed(tmp_path):
    standard = write_view(tmp_path / "standard.csv", "standard", 0.0, values(0.3, 0.1))
    better = write_view(tmp_path / "gaussian.csv", "gaussian", 0.5, values(0.6, 0.12))
    _, page = summarise(tmp_path, standard, better)
    assert "hypothesis holds (smoothed − standard = +0.300 [+0.2" in sentence(page, "Contrastive cosine")
    assert "does not hold: the reverse does" in sentence(page, "High-frequency fraction")
    same = write_view(
        tmp_path / "gaussian.csv",
        "gaussian",
        0.5,
        [(k, t, v + 0.01 * (-1) ** (k // 2)) for k, t, v in values(0.3, 0.1)],
    )
    _, page = summarise(tmp_path, standard, same)
    assert "is not decided (smoothed − standard = +0.000 [-0.0" in sentence(page, "Contrastive cosine")


def test_the_difference_is_paired_over_the_images_of_both(tmp_path):
    """Images differ much, views by 0.05 on each: unpaired intervals would overlap."""
    standard = write_view(tmp_path / "standard.csv", "standard", 0.0, values(0.3, 0.2, images=12))
    rows = [(k, t, v + 0.01 * (-1) ** (k // 2)) for k, t, v in values(0.35, 0.2, images=12)]
    better = write_view(tmp_path / "gaussian.csv", "gaussian", 0.5, rows)
    table, page = summarise(tmp_path, standard, better)
    assert float(table.contrastive_low[1]) < float(table.contrastive_high[0])
    half = stats.t.ppf(1 - 0.05 / 9 / 2, 11) * np.std([0.01, -0.01] * 6, ddof=1) / 12**0.5  # nine measures at once
    said = f"holds (smoothed − standard = +0.050 [{0.05 - half:+.3f}, {0.05 + half:+.3f}], n = 12)"
    assert said in sentence(page, "Contrastive cosine") and "99.4 % intervals" in page


def test_differences_that_are_all_the_same_decide_nothing(tmp_path):
    standard = write_view(tmp_path / "standard.csv", "standard", 0.0, values(0.3, 0.2))
    better = write_view(tmp_path / "gaussian.csv", "gaussian", 0.5, values(0.35, 0.2))
    _, page = summarise(tmp_path, standard, better)
    said = "is not decided (no spread to decide by; smoothed − standard = +0.050 on each image, n = 12)"
    assert said in sentence(page, "Contrastive cosine")


def test_one_image_has_no_interval_and_the_summary_says_so(tmp_path):
    one = [write_view(tmp_path / f"{name}.csv", name, sigma, values(0.3, 0, images=1))
           for name, sigma in (("standard", 0.0), ("gaussian", 0.5))]  # fmt: skip
    table, page = summarise(tmp_path, *one)
    assert table.contrastive_low[0] == "" and "one image: intervals are undefined" in table["flags"][0]
    assert "0.300 [undefined]" in page and "the interval is undefined with n = 1" in page


def test_weak_judges_and_too_few_draws_are_flagged(tmp_path):
    path = write_view(tmp_path / "a.csv", "standard", 0.5, values(0.3, 0.1), accuracy=0.15, agreement=0.3)
    table, page = summarise(tmp_path, path)
    assert "N = 64 is too small: split-half cosine 0.30 < 0.5" in table["flags"][0]
    assert "judge random patches: below twice chance, accuracy 0.15" in table["flags"][0]
    assert "| below twice chance |" in page and "- standard, smoothed with σ = 0.5: N = 64 is too small" in page
    assert "too small" not in summarise(tmp_path, path, gate=0.2)[0]["flags"][0]


def test_weak_judges_and_too_few_draws_and_few_images_decide_nothing(tmp_path):
    standard = write_view(tmp_path / "standard.csv", "standard", 0.0, values(0.3, 0.1), accuracy=0.15)
    better = write_view(tmp_path / "gaussian.csv", "gaussian", 0.5, values(0.6, 0.12), agreement=0.3)
    _, page = summarise(tmp_path, standard, better)
    said = "is not decided (N is too small for trained under noise σ = 0.5, smoothed; smoothed − standard = +0.300"
    assert said in sentence(page, "Contrastive cosine") and said in sentence(page, "Saliency cosine")
    assert "is not decided (judge random patches is below twice chance;" in sentence(page, "Judge gain, random patches")
    assert "does not hold" in sentence(page, "High-frequency fraction")
    few = [write_view(tmp_path / f"{name}.csv", name, sigma, values(centre, 0.1, images=7))
           for name, sigma, centre in (("standard", 0.0, 0.3), ("gaussian", 0.5, 0.6))]  # fmt: skip
    table, page = summarise(tmp_path, *few)
    assert "is not decided (7 images are few;" in sentence(page, "Contrastive cosine")
    assert "7 images are few: nothing is decided from fewer than 9" in table["flags"][0]


def test_controls_change_one_thing_at_a_time(tmp_path):
    files = [
        write_view(tmp_path / f"{number}.csv", objective, sigma, values(centre, 0.1))
        for number, (objective, sigma, centre) in enumerate(
            [("standard", 0.0, 0.1), ("standard", 0.5, 0.3), ("gaussian", 0.0, 0.6), ("gaussian", 0.5, 0.7)]
        )
    ]
    _, page = summarise(tmp_path, *files)
    rows = [line for line in page.partition("## Controls")[2].splitlines() if line.startswith("| contrastive")]
    assert [cell.split(" ")[1] for cell in rows[0].split("|")[2:5]] == ["+0.400", "+0.100", "+0.200"]
    assert "standard, smoothed with σ = 0.5 → trained under noise σ = 0.5, smoothed" in page


def test_differences_are_a_row_a_pair_and_measure_with_the_verdict_of_the_page(tmp_path):
    standard = write_view(tmp_path / "standard.csv", "standard", 0.0, values(0.3, 0.1))
    bare = write_view(tmp_path / "bare.csv", "gaussian", 0.0, values(0.5, 0.11))
    better = write_view(tmp_path / "gaussian.csv", "gaussian", 0.5, values(0.6, 0.12))
    _, page = summarise(tmp_path, standard, bare, better)
    table = pd.read_csv(tmp_path / "differences.csv")
    assert len(table) == 2 * 9 and table.before.unique().tolist() == [
        "standard, unsmoothed", "trained under noise σ = 0.5, unsmoothed"
    ]  # fmt: skip
    first = table.iloc[0]
    assert first.verdict == "holds" and f"[{first.low:+.3f}, {first.high:+.3f}]" in sentence(page, "Contrastive cosine")
    assert table.verdict[9:].isna().all()
    one = write_view(tmp_path / "alone.csv", "standard", 0.0, values(0.3, 0.1))
    summarise(tmp_path, one)
    assert (tmp_path / "differences.csv").read_text() == "before,after,column,mean,low,high,n,verdict\n"


def test_what_is_missing_or_foreign_is_named(tmp_path):
    good = write_view(tmp_path / "good.csv", "standard", 0.0, values(0.3, 0.1))
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("a,b\n1,2\n")
    foreign.with_suffix(".json").write_text("{}")
    for tables, changes, said in (
        ((tmp_path / "none.csv",), {}, "no .*none.csv: the align step writes it"),
        ((foreign,), {}, "foreign.csv is not a table that the align step wrote"),
        ((good,), {"epsilon": 3.0}, "epsilon is 3: the tables have 4"),
    ):
        with pytest.raises(BadInput, match=said):
            summarise(tmp_path, *tables, **changes)
