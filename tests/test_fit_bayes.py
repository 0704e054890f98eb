import numpy as np
import pytest
import torch

from pagoda.data.dataset import Split
from pagoda.errors import BadInput
from pagoda.nets.model import load_model
from steps import fit_bayes


def asked(dataset, tmp_path, **changes):
    model = {"objective": "bayes", "sigma": 0.5}
    return fit_bayes.Config(data=dataset, out=tmp_path / "model.safetensors", model=model, **changes)


def test_it_is_as_accurate_as_its_file_says_and_gaussians_know_digits(dataset, tmp_path):
    found = fit_bayes.run(asked(dataset, tmp_path))
    test, classifier = Split(dataset, "test"), load_model(tmp_path / "model.safetensors").classifier
    seen = classifier(test.images(list(range(len(test))))).argmax(dim=1)
    right = (seen == test.labels).float().mean().item()
    assert found["clean_accuracy"] == pytest.approx(right) and right > 0.95
    assert found["n"] == len(test) and set(found["shrinkage"]) == set("0123456789")


def test_as_a_reference_it_has_the_pictures_of_judges_alone(dataset, tmp_path):
    fit_bayes.run(asked(dataset, tmp_path, judge_fit=200, judge_held_out=100))
    test, network = Split(dataset, "test"), load_model(tmp_path / "model.safetensors").classifier.network
    mine = test.images(torch.nonzero(test.labels[159:] == 3).flatten() + 159)
    assert np.allclose(network.mean[3], mine.mean(dim=0).flatten(), atol=1e-5)


def test_a_class_without_pictures_is_one_line_that_says_what_to_raise(dataset, tmp_path):
    with pytest.raises(BadInput, match="class '.': a class has [01] of the pictures .* 2 at least; raise judge_fit"):
        fit_bayes.run(asked(dataset, tmp_path, judge_fit=5, judge_held_out=5))
    assert not (tmp_path / "model.safetensors").exists()
