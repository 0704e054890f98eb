import json
import weakref

import numpy as np
import pandas as pd
import pytest
import torch

from pagoda.data.ascents import read_ascent
from pagoda.data.dataset import Split
from pagoda.errors import BadInput
from pagoda.nets.judges import fit_judges
from pagoda.nets.model import load_model
from steps import align, ascend
from tests.conftest import changed, write_model


def ascents(model, dataset, folder, sigma=0.5, start="images", targets=("3", "7"), radii=(1.0, 2.0), images=4):
    """Make the ascents of a view; return their paths."""
    paths = []
    for epsilon in radii:
        for target in targets:
            out = folder / f"sigma={sigma:g}" / start / f"eps={epsilon:g}" / f"class={target}.npz"
            ascend.run(
                ascend.Config(
                    model=model, data=dataset, out=out, target=target, sigma=sigma, epsilon=epsilon, start=start,
                    images=images, steps=2, step=0.5, draws=2, check_draws=4,
                )
            )  # fmt: skip
            paths.append(out)
    return tuple(paths)


@pytest.fixture
def asked(model, judge, reference, dataset, tmp_path):
    return align.Config(
        model=model, judge=judge, reference=reference, data=dataset, ascents=ascents(model, dataset, tmp_path),
        out=tmp_path / "align" / "sigma=0.5.csv", sigma=0.5, draws=32, judge_fit=200, judge_held_out=100,
    )  # fmt: skip


def read(path):
    return pd.read_csv(
        path, keep_default_na=False, dtype={"target": str, "label": str, "patches_after": str, "net_after": str}
    )


def test_a_row_an_ascent_with_what_can_be_told_from_its_file(asked, dataset):
    align.run(asked)
    table = read(asked.out)
    assert len(table) == 2 * 2 * 4 and set(table["view"]) == {"gaussian-0.5, smoothed with σ = 0.5"}
    test = Split(dataset, "test")
    fitted = fit_judges(test.images(list(range(159, 359))), test.labels[159:], seed=0)
    net = load_model(asked.judge).classifier
    for path in asked.ascents:
        ascent = read_ascent(path)
        rows = table[(table.epsilon == ascent.settings.epsilon) & (table.target == ascent.settings.target)]
        assert rows["index"].tolist() == ascent.index.tolist()
        assert np.allclose(rows.p_after, ascent.p_after, atol=1e-5) and np.allclose(rows.norm, ascent.norm, atol=1e-4)
        assert rows.patches_after.tolist() == [
            str(k) for k in fitted["patches"].predict(ascent.end.reshape(len(rows), -1))
        ]
        assert rows.net_after.tolist() == [str(int(k)) for k in net(torch.from_numpy(ascent.end)).argmax(dim=1)]
        power = (np.abs(np.fft.fft2(ascent.end - ascent.source)) ** 2).sum(axis=1)
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8)))
        high = power[:, radius > 0.25].sum(axis=1) / power[:, radius > 0].sum(axis=1)
        assert np.allclose(rows.high_frequency, high, atol=1e-4)


def test_smoothed_measures_agree_with_many_draws_of_a_plain_loop(asked, dataset):
    table = align.run(changed(asked, draws=1024))
    ascent, train = read_ascent(asked.ascents[0]), Split(dataset, "train")
    base = load_model(asked.model, torch.device("cpu")).classifier
    means = torch.stack([train.images(torch.nonzero(train.labels == k).flatten()).mean(dim=0) for k in range(10)])
    rows, random = table[(table.target == "3") & (table.epsilon == 1)], torch.Generator().manual_seed(7)
    for x, label, row in zip(torch.from_numpy(ascent.source), ascent.label, rows.itertuples(), strict=True):
        noisy = (x + 0.5 * torch.randn(4096, *x.shape, generator=random)).requires_grad_(True)
        chances = base(noisy).softmax(dim=1).mean(dim=0)
        towards, own = (torch.autograd.grad(chances[c], noisy, retain_graph=True)[0].sum(dim=0) for c in (3, label))
        cosines = torch.cosine_similarity(towards.flatten()[None], (means - x).flatten(1))
        assert row.contrastive == pytest.approx((cosines[3] - (cosines.sum() - cosines[3]) / 9).item(), abs=0.02)
        # The reference's gradient, one draw at a time: of log p_c by autograd, its mean over draws.
        gaussians = load_model(asked.reference).classifier.network
        gaussians.sigma = 0.5
        at = noisy.detach()[:1024].requires_grad_(True)
        logs = gaussians(at).log_softmax(dim=1).sum(dim=0)
        towards_each = [torch.autograd.grad(one, at, retain_graph=True)[0].mean(dim=0).flatten() for one in logs]
        cosines = torch.cosine_similarity(towards.flatten()[None], torch.stack(towards_each))
        assert row.bayes == pytest.approx((cosines[3] - (cosines.sum() - cosines[3]) / 9).item(), abs=0.03)
        saliency = torch.cosine_similarity(own.flatten(), (x - x.mean()).flatten(), dim=0).abs()
        assert row.saliency == pytest.approx(saliency.item(), abs=0.02)
        assert row.own_split_half > 0.9


def test_unsmoothed_gradients_are_those_of_the_base_classifier(asked, dataset, tmp_path):
    files = ascents(asked.model, dataset, tmp_path, sigma=0.0, radii=(1.0,))
    table = align.run(changed(asked, ascents=files, sigma=0.0))
    assert np.allclose(table.split_half, 1)
    ascent, train = read_ascent(files[1]), Split(dataset, "train")
    x = torch.from_numpy(ascent.source).requires_grad_(True)
    base = load_model(asked.model, torch.device("cpu")).classifier
    (gradient,) = torch.autograd.grad(base(x).log_softmax(dim=1)[:, 7].sum(), x)
    means = torch.stack([train.images(torch.nonzero(train.labels == k).flatten()).mean(dim=0) for k in range(10)])
    cosines = torch.nn.functional.cosine_similarity(
        gradient.flatten(1)[:, None], (means - x[:, None]).flatten(2), dim=2
    )
    expected = cosines[:, 7] - (cosines.sum(dim=1) - cosines[:, 7]) / 9
    assert np.allclose(table[table.target == "7"].contrastive, expected.detach(), atol=1e-4)
    assert json.loads(asked.out.with_suffix(".json").read_text())["reference_sigma"] == 0.3  # its own
    with np.load(asked.out.with_suffix(".npz")) as kept:
        order = [ascent.index.tolist().index(k) for k in kept["index"] if k in ascent.index]
        (own,) = torch.autograd.grad(base(x).log_softmax(dim=1)[range(4), ascent.label].sum(), x)
        shown = [k for k, index in enumerate(kept["index"]) if index in ascent.index]
        assert np.allclose(kept["gradient"][shown], own[order], atol=1e-5)
        assert kept["spectrum"].shape == kept["frequency"].shape == (4,)


def test_a_view_can_be_given_the_spectrum_of_another_as_a_control(asked, model, dataset, tmp_path):
    align.run(asked)
    files = ascents(model, dataset, tmp_path, sigma=0.0, radii=(1.0,))
    bare = changed(asked, ascents=files, sigma=0.0, out=tmp_path / "align" / "sigma=0.csv")
    assert align.run(bare).bayes_blurred.isna().all()
    controlled = align.run(changed(bare, blur_to=(asked.out.with_suffix(".npz"),)))
    assert controlled.bayes_blurred.notna().all() and not np.allclose(controlled.bayes_blurred, controlled.bayes)
    same = align.run(changed(bare, blur_to=(bare.out.with_suffix(".npz"),)))
    assert np.corrcoef(same.bayes_blurred, same.bayes)[0, 1] > 0.9  # its own mean spectrum: nearly nothing changes
    (tmp_path / "odd.npz").write_text("no arrays")
    with pytest.raises(BadInput, match="odd.npz holds no gradients that the align step wrote"):
        align.run(changed(bare, blur_to=(tmp_path / "odd.npz",)))


def test_the_facts_say_how_good_the_judges_are_on_pictures_that_nobody_saw(asked):
    align.run(asked)
    facts = json.loads(asked.out.with_suffix(".json").read_text())
    assert set(facts["judges"]) == {"patches", "qda", "net"}
    for judge in facts["judges"].values():
        assert judge["n"] == 100 and judge["low"] < judge["accuracy"] < judge["high"] and judge["accuracy"] > 0.7
        assert judge["sources_n"] == len(set(read(asked.out)["index"]))
    assert (facts["draws"], facts["objective"]) == (32, "gaussian")


def test_seeds_have_no_circular_judge_and_noise_no_class_of_its_own(asked, dataset, tmp_path):
    for start in ("seeds", "noise"):
        files = ascents(asked.model, dataset, tmp_path, start=start, radii=(2.0,))
        table = align.run(changed(asked, ascents=files))
        assert (table.qda_after == "").all() == (start == "seeds") and (table.patches_after != "").all()
        assert table.saliency.isna().all() == (start == "noise")
        assert "sources_n" not in json.loads(asked.out.with_suffix(".json").read_text())["judges"]["patches"]


def test_the_same_config_gives_the_same_files_whatever_the_batch(asked):
    def files():
        return [asked.out.with_suffix(suffix).read_bytes() for suffix in (".csv", ".json", ".npz")]

    align.run(asked)
    first = files()
    align.run(asked)
    assert files() == first
    small = align.run(changed(asked, batch=5))
    assert np.allclose(small.contrastive, pd.read_csv(asked.out).contrastive, atol=1e-3)


def test_ascents_are_in_memory_one_at_a_time(asked, monkeypatch):
    alive = []

    def read_alone(path):
        assert not [reference for reference in alive if reference() is not None]
        found = read_ascent(path)
        alive.append(weakref.ref(found))
        return found

    monkeypatch.setattr(align, "read_ascent", read_alone)
    align.run(asked)
    assert len(alive) == 4


def test_what_does_not_belong_together_is_refused(asked, dataset, tmp_path):
    other = write_model(tmp_path / "standard" / "model.safetensors", dataset, objective={"name": "standard"})
    foreign = ascents(other, dataset, tmp_path / "other", sigma=0.5, radii=(1.0,), targets=("3",))
    unsmoothed = ascents(asked.model, dataset, tmp_path / "third", sigma=0.0, radii=(1.0,), targets=("3",))
    for changes, said in (
        ({"ascents": foreign}, "is of the model .*, but .* is"),
        ({"ascents": asked.ascents + unsmoothed}, r"is of another view \(gaussian-0.5, unsmoothed\)"),
        ({"reference": asked.judge}, "is no Bayes classifier: the fit_bayes step makes one"),
        ({"judge_fit": 300}, "judge_fit is 300 and judge_held_out 100: of 359 test images"),
        ({"judge_fit": 5}, "judge_fit is 5: the last 5 test images have . classes, one of them 1 times"),
    ):
        with pytest.raises(BadInput, match=said):
            align.run(changed(asked, **changes))
    assert not asked.out.exists()
