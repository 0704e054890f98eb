"""What is wrong with an import though every weight fits: its normalisation, its classes, its accuracy."""

import re

import pytest
import torch

from pagoda.data.dataset import Split
from pagoda.errors import BadInput
from pagoda.nets.architectures import build_seeded
from pagoda.nets.model import load_model
from pagoda.options.models import Network
from steps import import_model, train

MODULE = """
import torch


def linear(classes, channels):
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(64 * channels, classes)

        def forward(self, x):
            return self.layer(x.flatten(1).relu())

    return Linear()
"""


def write_weights(file, split, mean, std):
    """Write weights that assign a picture to the nearest class mean of what the network keeps of it."""
    x = ((split.images(range(len(split))) - mean) / std).flatten(1).relu()
    labels = torch.as_tensor(split.labels[:])
    means = torch.stack([x[labels == cls].mean(0) for cls in range(10)])
    torch.save({"layer.weight": means, "layer.bias": -(means**2).sum(1) / 2}, file)


@pytest.fixture
def good(dataset, tmp_path, monkeypatch):
    """Options of an import that is right, of a network that knows the digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nearest.py").write_text(MODULE)
    known = Split(dataset, "train").description
    write_weights(tmp_path / "net.pt", Split(dataset, "train"), known.mean[0], known.std[0])
    return import_model.Config(
        file=str(tmp_path / "net.pt"), data=dataset, architecture={"factory": "nearest:linear"},
        mean=known.mean, std=known.std, model={"objective": "gaussian", "sigma": 0.25},
        out=tmp_path / "gaussian-0.25" / "model.safetensors",
    )  # fmt: skip


def changed(config, **changes):
    return config.model_copy(update=changes)


def warned(config, caplog) -> str:
    caplog.clear()
    with caplog.at_level("WARNING", logger="pagoda"):
        import_model.run(config)
    return caplog.text


def test_what_is_right_is_not_warned_of(good, caplog):
    assert warned(good, caplog) == ""
    assert load_model(good.out).identity.outputs == ()


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        (None, 1.0, "the dataset's mean and std"),
        (0.9, None, "the dataset's mean and std"),
    ],
)
def test_a_wrong_normalisation_is_told_from_the_right_one(good, caplog, mean, std, said):
    wrong = changed(good, mean=good.mean if mean is None else (mean,), std=good.std if std is None else (std,))
    found = re.search(
        r"with (.*), (0\.\d+) of 250 test images are right under noise of 0\.25; as asked for, (0\.\d+)",
        warned(wrong, caplog),
    )
    assert found[1] == said and float(found[2]) > float(found[3]) + 0.05
    assert load_model(wrong.out).identity.std == wrong.std  # what was asked for is what is written


def test_the_right_one_may_be_another_than_the_datasets(good, dataset, caplog):
    write_weights(good.file, Split(dataset, "train"), 0, 1)
    assert "with mean 0 and std 1, 0." in warned(changed(good, mean=(0.9,)), caplog)
    assert warned(changed(good, mean=(0.0,), std=(1.0,)), caplog) == ""


def test_code_that_only_accuracy_tells_apart_is_among_the_rivals(good):
    architecture = {"name": "preactresnet18"}
    torch.save(build_seeded(0, architecture, 10, 1).state_dict(), good.file)
    asked = changed(good, architecture=Network(**architecture), images=4)
    import_model.run(asked)
    split = Split(good.data, "test")
    imported = import_model._Imported(asked, load_model(asked.out).identity, split, torch.device("cpu"))
    x, (*_, (said, other)) = split.images(range(3)), imported._rivals()
    assert "fast" in said and not torch.allclose(other(x), imported.classifier(x), rtol=1e-2)


def test_a_network_for_other_pictures_is_one_line(good):
    torch.save(build_seeded(0, {"name": "lenet"}, 10, 1).state_dict(), good.file)
    with pytest.raises(BadInput, match=r"net\.pt: the network does not take pictures of 1 x 8 x 8: "):
        import_model.run(changed(good, architecture=Network(name="lenet")))
    assert not good.out.exists()


def test_permuted_classes_are_named_and_can_be_given(good, caplog, dataset):
    weights, order = torch.load(good.file), [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    torch.save({name: value[order] for name, value in weights.items()}, good.file)
    said = warned(good, caplog)
    assert "seems to have its classes in another order: classes: [3, 1, 4, 0, 5, 9, 2, 6, 8, 7] gets 0." in said
    right = changed(good, classes=tuple(map(str, order)))
    assert warned(right, caplog) == ""
    torch.save(weights, good.file)
    plain = changed(good, out=good.out.with_name("plain.safetensors"))
    import_model.run(plain)
    x = Split(dataset, "test").images(range(20))
    torch.testing.assert_close(load_model(right.out).classifier(x), load_model(plain.out).classifier(x))
    with pytest.raises(BadInput, match=r"classes are 0, 1: must be those of the pictures in another order, 0, 1, 2"):
        import_model.run(changed(good, classes=("0", "1")))


def test_another_accuracy_than_the_published_one_is_refused(good):
    measured = import_model.run(good)["clean_accuracy"]
    import_model.run(changed(good, accuracy=round(measured, 2)))
    with pytest.raises(BadInput, match=rf"accuracy is 0\.99 as published, but {measured:.3f} on the first 359 test"):
        import_model.run(changed(good, accuracy=0.99))
    assert not good.out.exists()


@pytest.mark.parametrize(
    "model", [{"objective": "standard"}, {"objective": "consistency", "sigma": 0.25, "draws": 2}], ids=str
)
def test_a_training_starts_from_an_import(good, dataset, tmp_path, model):
    imported = changed(good, clamp=True, classes=("1", "0", *"23456789"))
    import_model.run(imported)
    asked = train.Config(
        data=dataset, out=tmp_path / "tuned" / "model.safetensors", architecture=good.architecture, model=model,
        init=imported.out, epochs=1, batch=200, optimiser={"name": "sgd", "learning_rate": 1e-9},
        precision="float32",
    )  # fmt: skip
    train.run(asked)
    start, end = (load_model(path) for path in (imported.out, asked.out))
    x = torch.rand(5, 1, 8, 8) * 3 - 1
    torch.testing.assert_close(end.classifier(x), start.classifier(x), rtol=1e-3, atol=1e-3)
    assert (end.identity.prepare, end.identity.outputs[:2]) == (("clamp",), (1, 0))
    assert end.identity.init == start.hash and end.identity.objective["name"] == model["objective"]
    other = changed(asked, architecture=Network(name="resnet20"))
    with pytest.raises(BadInput, match=r"architecture is \{'name': 'resnet20'\}, but that of .* is \{'factory'"):
        train.run(other)
