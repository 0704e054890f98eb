import copy
import dataclasses

import pytest
import yaml

from pagoda.data.classes import DATASETS
from pagoda.device import PRECISIONS
from pagoda.errors import BadInput
from pagoda.nets.architectures import ARCHITECTURES
from pagoda.nets.objectives import OBJECTIVES
from pagoda.run.settings import NEEDS, certified_views, check_config, model_name
from steps import ascend, certify, fetch, train
from tests.conftest import ROOT

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path: str, value) -> dict:
    """Return the config with one value of the digits experiment changed, or removed (value None)."""
    config = copy.deepcopy(CONFIG)
    *parents, last = path.split(".")
    place = config["experiments"]["digits"]
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    last = int(last) if isinstance(place, list) else last
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


def test_the_config_that_we_ship_is_valid():
    check_config(CONFIG, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("certfy", {}, r"experiments\.digits: unknown key certfy; known are align, architecture, ascend, certify"),
        ("models.2.sigma", -0.25, r"models\.2\.sigma is -0\.25: must be above 0"),
        ("models.2.sigma", float("nan"), r"models\.2\.sigma is nan: must be a finite number"),
        ("models.2.sigma", 0.5, r"models: gaussian-0\.5 stands twice"),
        ("models.0.sigma", 0.5, r"models\.0: objective standard takes no value, but sigma is given"),
        (
            "models.1.attack_steps",
            None,
            r"models\.1: objective adversarial takes attack_step, attack_steps, epsilon",
        ),
        ("models.1.objective", "trades", r"models\.1\.objective is 'trades': choose from standard, gaussian"),
        ("ascend.epsilon", [0, 4], r"ascend\.epsilon\.0 is 0: must be above 0"),
        ("ascend.epsilon", [2, 2], r"ascend\.epsilon is \[2, 2\]: an entry stands twice"),
        ("ascend.epsilon", [2], r"headline_epsilon is 4: must be one of ascend\.epsilon, \[2\]"),
        ("ascend.classes", ["3", "x"], r"ascend\.classes: unknown class x; digits has 0, 1"),
        ("ascend.views.0.model", "gaussian-9", r"views\.0: unknown model 'gaussian-9'; known are standard"),
        (
            "ascend.views",
            [{"model": "standard", "sigma": 0}, {"model": "standard", "sigma": 0, "start": "images"}],
            r"ascend\.views: standard/sigma=0 stands twice",
        ),
        (
            "ascend.views",
            [{"model": "standard", "sigma": 0, "start": "seeds"}],
            r"ascend\.views: at least one must start from images",
        ),
        ("ascend.views.0.start", "photos", r"views\.0\.start is 'photos': choose from images, seeds, noise"),
        ("sweep.class", "x", r"sweep\.class: unknown class x; digits has 0, 1"),
        ("sweep.views.0.model", "gaussian-9", r"sweep\.views\.0: unknown model 'gaussian-9'"),
        ("models.5.draws", None, r"models\.5: objective smoothadv takes attack_step, attack_steps, draws, epsilon"),
        ("certify.looks", [200, 100, 1000], r"digits\.certify: looks are 200, 100, 1000: must increase"),
        ("models.0.format", "locuslab", r"models\.0: format: a model is imported with both import and format"),
        ("certify.alpha", 0, r"certify\.alpha is 0: must be above 0"),
        ("certify.alpha", 1, r"certify\.alpha is 1: must be below 1"),
        ("certify.n0", 0, r"certify\.n0 is 0: must be at least 1"),
        ("certify.n", 0, r"certify\.n is 0: must be at least 1"),
        ("certify.n", None, r"experiments\.digits\.certify: n is missing"),
        ("certify.n", "many", r"certify\.n is 'many': must be integer"),
        ("architecture.name", "vgg", r"architecture\.name is 'vgg': choose from fast_resnet, resnet20"),
        ("dataset.kind", "svhn", r"dataset\.kind is 'svhn': choose from digits, cifar10, imagefolder"),
        ("dataset.kind", "imagefolder", r"dataset: root is missing; kind imagefolder needs"),
        ("architecture.width", None, r"architecture: fast_resnet needs a width"),
        ("architecture.name", "resnet20", r"architecture: resnet20 takes no width"),
        ("dataset.mean", [0.5], r"dataset\.mean is \[0\.5\]: mean and std go together, 1 values each"),
        ("ascend.epsilon", [4, 4.0000001], r"ascend\.epsilon\.1 is 4\.0000001: paths hold 6 digits; write 4"),
        ("dataset.resize", 20, r"dataset\.resize is 20: it is for storage files, and at least size"),
        ("train.crop", True, r"train\.crop: storage arrays does not know it"),
        ("train.gpus", 6, r"digits\.train\.batch is 64, which gpus 6 x nodes 1 = 6 processes cannot share equally"),
        ("train.nodes", 0, r"train\.nodes is 0: must be at least 1"),
    ],
)
def test_bad_values_get_one_line_that_says_where_and_what_is_allowed(path, value, said):
    with pytest.raises(BadInput, match=said) as caught:
        check_config(changed(path, value), SCHEMA)
    assert len(str(caught.value).splitlines()) == 1


def test_every_fault_is_told_at_once():
    config = changed("certify.alpha", 2)
    config["experiments"]["digits"]["certify"]["n"] = 0
    with pytest.raises(BadInput) as caught:
        check_config(config, SCHEMA)
    assert len(str(caught.value).splitlines()) == 2


def test_experiments_are_known_and_have_names_that_no_rule_has():
    with pytest.raises(BadInput, match=r"config\.run: unknown experiment 'mnist'; known are digits"):
        check_config(CONFIG | {"run": ["mnist"]}, SCHEMA)
    with pytest.raises(BadInput, match=r"config\.experiments\.train: an experiment's name"):
        check_config(
            CONFIG | {"experiments": CONFIG["experiments"] | {"train": CONFIG["experiments"]["digits"]}},
            SCHEMA,
            reserved=("train",),
        )


def test_models_are_named_by_objective_and_value():
    assert model_name({"objective": "gaussian", "sigma": 0.50}) == "gaussian-0.5"
    assert model_name({"objective": "adversarial", "epsilon": 1.0, "attack_steps": 3}) == "adversarial-1"
    views = certified_views(CONFIG["experiments"]["digits"])
    assert {"model": "gaussian-1", "sigma": 1} in views and {"model": "standard", "sigma": 0.25} in views


def test_the_schema_knows_what_the_steps_know():
    properties = yaml.safe_load(SCHEMA.read_text())["$defs"]["experiment"]["properties"]
    assert set(properties["dataset"]["properties"]["kind"]["enum"]) == set(DATASETS)
    assert set(properties["train"]["properties"]["precision"]["enum"]) == set(PRECISIONS)
    for stage, step in (("dataset", fetch), ("train", train), ("certify", certify), ("ascend", ascend)):
        flags = {field.name for field in dataclasses.fields(step.Config)}
        assert set(properties[stage]["properties"]) - {"also", "views", "classes"} <= flags
    assert set(properties["architecture"]["properties"]["name"]["enum"]) == set(ARCHITECTURES)
    assert {name: kind.uses for name, kind in OBJECTIVES.items()} == NEEDS
