import numpy as np
import pytest
import torch

from pagoda.data.ascents import read_ascent
from pagoda.errors import BadInput
from pagoda.maths.randomness import generator
from pagoda.nets.model import load_model
from steps import ascend, estimate
from tests.conftest import write_model


def test_the_gradient_is_that_of_the_mean_over_the_draws_of_the_split_half(model, dataset, tmp_path):
    paths = tuple(tmp_path / f"{n}.npz" for n in (1, 3))
    known = {"model": model, "data": dataset, "target": "3", "sigma": 0.5, "epsilon": 1.0, "images": 2, "steps": 1}
    for path, n in zip(paths, (1, 3), strict=True):
        ascend.run(ascend.Config(**known, out=path, draws=n, check_draws=4, seed=5))
    found = estimate.run(estimate.Config(model=model, ascents=paths, out=tmp_path / "g.npz"))
    with np.load(tmp_path / "g.npz") as file:
        assert file["draws"].tolist() == [1, 3] and np.array_equal(file["gradient"], found)
    # The same draws again, in one batch: generator (*key, image 0).
    network = load_model(model, torch.device("cpu")).classifier
    source = torch.tensor(read_ascent(paths[1]).source[:1])
    drawn = torch.empty(16, *source.shape[1:]).normal_(
        0, 0.5, generator=generator(source.device, 5, "ascend", 0.5, "3", "split half", "first", 0)
    )
    for gradient, n in zip(found, (1, 3), strict=True):
        x = source.clone().requires_grad_(True)
        network(x + drawn[:n]).softmax(dim=1)[:, 3].mean().log().backward()
        assert np.allclose(gradient, x.grad[0].numpy(), atol=1e-5 * float(x.grad.abs().max()) + 1e-7, rtol=1e-3)


def test_ascents_of_another_model_are_refused(model, dataset, tmp_path):
    known = {"data": dataset, "target": "3", "sigma": 0.5, "epsilon": 1.0, "images": 2, "steps": 1, "draws": 1}
    ascend.run(ascend.Config(model=model, **known, out=tmp_path / "a.npz"))
    other = write_model(tmp_path / "other" / "model.safetensors", dataset, seed=1)
    with pytest.raises(BadInput, match=r"a.npz is of the model .*, but the model given is"):
        estimate.run(estimate.Config(model=other, ascents=(tmp_path / "a.npz",), out=tmp_path / "g.npz"))
