import contextlib
import copy
import re
import subprocess
import sys

import jsonschema
import pytest
import yaml

from pagoda.data.views import View
from pagoda.errors import BadInput
from pagoda.options import Ascend, Certify
from pagoda.options.check import check_config, read_strictly, reference, schema
from pagoda.options.faults import checked
from steps import ascend, certify, predict, train
from tests.conftest import ROOT

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path: str, value) -> dict:
    """Return the config with one value of the digits experiment changed, or removed (value None)."""
    config = copy.deepcopy(CONFIG)
    *parents, last = path.split(".")
    place = config["experiments"]["digits"]
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    last = int(last) if isinstance(place, list) else last
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


def faults(config: dict) -> list[str]:
    with pytest.raises(BadInput) as caught:
        check_config(config)
    return str(caught.value).splitlines()


def test_the_config_that_we_ship_is_valid_and_repeats_no_default():
    experiments = check_config(CONFIG)
    assert set(experiments) == {"digits", "fashion", "cifar10", "cifar10-quick", "imagenet"}
    repeated = {
        name: (key, value)
        for name, one in (("certify", Certify), ("ascend", Ascend))
        for key, value in CONFIG["defaults"].get(name, {}).items()
        if key in one.model_fields and one.model_fields[key].default == value
    }
    assert not repeated


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("certfy", {}, r"experiments\.digits\.certfy: unknown key; known are ablation, align, architecture, ascend"),
        ("models.2.sigma", -0.25, r"models\.2\.sigma is -0\.25: must be above 0"),
        ("models.2.sigma", float("nan"), r"models\.2\.sigma is nan: must be a finite number"),
        ("models.2.sigma", True, r"models\.2\.sigma is True: must not be true or false"),
        ("models.2.sigma", 0.5, r"models: gaussian-0\.5 stands twice"),
        (
            "models.0.sigma",
            0.5,
            r"models\.0\.sigma: unknown key; known are architecture, import, init, name, objective, train",
        ),
        ("models.1.attack_steps", None, r"models\.1\.attack_steps is missing"),
        ("models.1.objective", "trades", r"models\.1\.objective is 'trades': must be one of standard, gaussian"),
        ("models.0.objective", None, r"models\.0\.objective is missing"),
        ("models.0.train", {"epochs": 0}, r"models\.0\.train: epochs is 0: must be at least 1"),
        ("models.0.name", "a/b", r"models\.0\.name is 'a/b': must match"),
        ("models.0.import", {"format": "locuslab"}, r"models\.0\.import\.file is missing"),
        ("models.0.import", {"file": "n", "format": "keras"}, r"import\.format is 'keras': must be one of auto, locus"),
        ("models.0.import", {"file": "n", "mean": [0.5] * 3, "std": [1] * 3}, r"models\.0\.import: .*, 1 values each"),
        ("models.0.import", {"file": "n", "classes": ["1"]}, r"import\.classes: must be those of digits .*: 0, 1, 2"),
        (
            "models.0.import",
            {"file": "n", "denoiser": {"architecture": {"name": "unet"}}},
            r"denoiser\.architecture\.name is 'unet': must be one of dncnn",
        ),
        ("models.0.init", "gaussian-9", r"models\.0\.init: unknown model 'gaussian-9'; known are standard, adv"),
        ("models.0.init", "standard", r"standard starts from standard: one must start from random weights"),
        (
            "align.judge",
            {"objective": "gaussian", "sigma": 1, "init": "standard"},
            r"judge\.init: a judge has nobody's",
        ),
        ("ascend.epsilon", [0, 4], r"ascend\.epsilon\.0 is 0: must be above 0"),
        ("ascend.epsilon", [2, 2], r"ascend\.epsilon: 2\.0 stands twice"),
        ("ascend.epsilon", [], r"ascend\.epsilon is \[\]: must have at least 1 entry"),
        ("montage.headline_epsilon", 3, r"headline_epsilon is 3: must be one of ascend\.epsilon, 2, 4"),
        ("ascend.classes", ["3", "x"], r"ascend\.classes: unknown class x; digits has 0, 1"),
        (
            "ascend.views",
            [{"model": "gaussian-9", "sigma": 0}],
            r"views\.0: unknown model 'gaussian-9'; known are stand",
        ),
        (
            "ascend.views",
            [{"model": "standard", "sigma": 0}, {"model": "standard", "sigma": 0, "start": "images"}],
            r"ascend\.views: standard/sigma=0 stands twice",
        ),
        ("ascend.views", [{"model": "standard", "sigma": 0, "start": "seeds"}], r"at least one must start from images"),
        (
            "ascend.views",
            [{"model": "standard", "sigma": 0, "start": "photos"}],
            r"views\.0\.start is 'photos': must be one of images, seeds, noise",
        ),
        ("sweep.class", "x", r"sweep\.class: unknown class x; digits has 0, 1"),
        ("sweep.views.0.model", "gaussian-9", r"sweep\.views\.0: unknown model 'gaussian-9'"),
        ("certify.looks", [200, 100, 1000], r"digits\.certify: looks are 200, 100, 1000: must increase"),
        ("certify.first", 3, r"digits\.certify: first is 3: it goes with skip"),
        ("predict", {"skip": 20, "first": 359}, r"predict\.first is 359: the test images of digits are 0 to 358"),
        ("certify.alpha", 0, r"certify\.alpha is 0: must be above 0"),
        ("certify.alpha", 1, r"certify\.alpha is 1: must be below 1"),
        ("certify.published", "cifar10", r"certify\.published is cifar10, another dataset than digits: leave it out"),
        ("certify.n0", 0, r"certify\.n0 is 0: must be at least 1"),
        ("certify.n", "many", r"certify\.n is 'many': must be an integer"),
        ("certify.n", 10.5, r"certify\.n is 10\.5: must be an integer"),
        ("architecture.name", "vgg", r"architecture\.name is 'vgg': must be one of airbench, resnet18, resnet20"),
        ("architecture.widths", [4] * 4, r"architecture: 4 groups, .* need 17 pixels a side, not 16"),
        ("ascend.images", 400, r"align: judge_fit 200 .* but beside ascend\.images, 400, digits has 0"),
        ("align.judge_fit", 340, r"align: judge_fit 340 and judge_held_out 59 take 399 test .*, 16, digits has 343"),
        (
            "align.judge",
            {"objective": "standard", "train": {"epochs": 0}},
            r"align\.judge\.train: epochs is 0: must be at least 1",
        ),
        ("models.3", {"objective": "bayes", "sigma": 0}, r"models\.3\.sigma is 0: must be above 0"),
        (
            "align.reference",
            {"objective": "bayes", "sigma": 1, "train": {"epochs": 2}},
            r"align\.reference\.train: bayes is fitted, a Gaussian a class; leave it out",
        ),
        ("property", {"seeds": [1, 2, 1]}, r"property\.seeds: 1 stands twice"),
        ("property", {"seeds": [0, 1]}, r"property\.seeds: 0 is the seed of a model itself; name further ones"),
        ("property", {"radii": [0.3]}, r"property\.radii: 0\.3 is none of certify\.radii, .*: 0, 0\.25"),
        ("architecture.widths", None, r"architecture: airbench needs widths"),
        ("architecture", {"factory": "net"}, r"architecture\.factory is 'net': must match"),
        ("architecture", {"name": "resnet20", "widths": [4]}, r"architecture: resnet20 takes no widths"),
        ("architecture", {"name": "lenet"}, r"architecture: lenet takes pictures of 28 pixels a side, not 16"),
        ("architecture", {"name": "wideresnet", "depth": 28}, r"architecture: wideresnet needs width"),
        (
            "architecture",
            {"name": "wideresnet", "depth": 30, "width": 1},
            r"architecture: depth is 30: must be 6n \+ 4",
        ),
        (
            "architecture",
            {"name": "wideresnet", "depth": 28, "width": 1, "variant": "rice"},
            r"architecture: wideresnet has no variant rice; it has deepmind",
        ),
        ("dataset.kind", "svhn", r"dataset\.kind is 'svhn': must be one of digits, cifar10, fashion, imagefolder"),
        ("dataset", {"kind": "imagefolder", "size": 32}, r"dataset: root is missing; kind imagefolder needs"),
        ("dataset.mean", [0.5], r"dataset: mean and std go together, 1 values each"),
        ("ascend.epsilon", [4, 2.0000001], r"ascend\.epsilon\.1 is 2\.0000001: paths hold 6 digits; write 2"),
        ("dataset.resize", 20, r"dataset\.resize is 20: it is for storage files, and at least size"),
        ("train.crop", True, r"train\.crop: storage arrays does not know it"),
        ("train.gpus", 6, r"digits\.train\.batch is 64, which gpus 6 x nodes 1 = 6 processes cannot share equally"),
        ("train.nodes", 0, r"train\.nodes is 0: must be at least 1"),
        ("montage", 5, r"digits\.montage is 5: must be a mapping"),
    ],
)
def test_bad_values_get_one_line_that_says_where_and_what_is_allowed(path, value, said):
    (line,) = faults(changed(path, value))
    assert re.search(said, line), line


def test_every_fault_is_said_at_once_and_each_once():
    config = changed("certify.alpha", 2)
    config["experiments"]["digits"]["certify"]["n"] = 0
    config["experiments"]["digits"]["sweep"]["class"] = "x"  # a contradiction, of sections that are sound
    config["defaults"]["ascend"]["steps"] = 0  # in all three experiments
    config["run"] = ["mnist"]
    config["seed"] = 1
    assert faults(config) == [
        "config.seed: unknown key; known are run, defaults, experiments",
        "config.run: unknown experiment 'mnist'; known are digits, fashion, cifar10, cifar10-quick, imagenet",
        "config.defaults.ascend.steps is 0: must be at least 1",
        "config.experiments.digits.certify.n is 0: must be at least 1",
        "config.experiments.digits.certify.alpha is 2: must be below 1",
        "config.experiments.digits.sweep.class: unknown class x; digits has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ]


def test_an_experiment_says_only_what_is_its_own_as_the_readme_shows():
    (shown,) = re.findall(r"```yaml\n(experiments:\n  pets:.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert shown.count("\n") == 5
    pets = check_config(CONFIG | {"run": []} | yaml.safe_load(shown))["pets"]
    assert pets.dataset.size == (64, 64) and pets.headline_epsilon == 20
    assert len(pets.models) == 7 and len(pets.views) == 11
    assert faults({"experiments": yaml.safe_load(shown)["experiments"]}) == [
        f"config.experiments.pets.{section} is missing" for section in ("architecture", "models", "ascend.views")
    ]


def test_the_presets_are_options_of_an_ascent():
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "presets.md").read_text(), re.S)
    assert len(shown) == 2
    for one in map(yaml.safe_load, shown):
        imagenet = CONFIG["experiments"]["imagenet"]
        ascend = imagenet["ascend"] | one["ascend"]
        check_config(CONFIG | {"experiments": {"imagenet": imagenet | {"ascend": ascend}}, "run": []})


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, [[1]], [{}], {"a": 1}, float("nan"), True])
def test_whatever_stands_anywhere_is_taken_or_refused_in_lines(odd):
    digits = CONFIG["experiments"]["digits"]
    every = [("run",), ("experiments",), ("defaults",), ("experiments", "digits")]
    every += [("experiments", "digits", section) for section in digits]
    every += [("experiments", "digits", section, key) for section in digits for key in _keys(digits[section])]
    for *parents, last in every:
        config = copy.deepcopy(CONFIG)
        place = config
        for key in parents:
            place = place[key]
        place[last] = odd
        with contextlib.suppress(BadInput):
            check_config(config)


def _keys(value) -> list:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def test_strings_are_read_as_the_numbers_that_they_are():
    config = changed("certify.alpha", "1e-3")
    config["experiments"]["digits"]["sweep"]["class"] = 3
    experiment = check_config(config | {"run": "digits"})["digits"]
    assert experiment.certify.alpha == 0.001 and experiment.sweep.target == "3"


def test_what_is_written_out_and_what_is_left_out_are_the_same():
    assert check_config(changed("certify.alpha", 0.001)) == check_config(changed("threads", 1)) == check_config(CONFIG)


def test_the_headline_is_the_first_unsmoothed_view_and_the_first_smoothed_by_the_noise_of_its_training():
    digits = check_config(CONFIG)["digits"]
    assert digits.headline_views == (View("standard", 0), View("gaussian-0.5", 0.5))
    lone = changed("ascend.views", [{"model": "standard", "sigma": 0.5}, {"model": "standard", "sigma": 0}])
    assert check_config(lone)["digits"].headline_views == (View("standard", 0.5), View("standard", 0))


def test_seeds_are_models_of_their_own_and_what_has_none_is_there_once():
    config = changed("property", {"seeds": [1, 2]})
    digits = check_config(config)["digits"]
    views = [(view.model, group) for view, group in digits.property_views if view.sigma == 0.5]
    gaussian = [(f"gaussian-0.5{end}", "gaussian-0.5") for end in ("", "-seed1", "-seed2")]
    assert set(gaussian) < set(views) and ("bayes-0.5", "bayes-0.5") in views and len(views) == 7
    assert digits.training_of(digits.model_by_name["gaussian-0.5-seed2"]).seed == 2
    few = changed("property", {})
    few["experiments"]["digits"] |= {"models": few["experiments"]["digits"]["models"][:1], "certify": {}}
    with pytest.raises(BadInput, match="property: 0 certified models are too few for a rank correlation: 3 at least"):
        check_config(few)


def test_models_are_named_by_objective_and_value_or_as_they_say():
    config = changed("models.5.name", "deep")
    config["defaults"]["ascend"]["views"][5]["model"] = "smoothadv-0.5-deep"
    config["experiments"] = {"digits": config["experiments"]["digits"]}
    digits = check_config(config)["digits"]
    assert list(digits.model_by_name) == [
        "standard",
        "adversarial-1",
        *(f"gaussian-{s}" for s in (0.25, 0.5, 1)),
        "smoothadv-0.5-deep",
        "bayes-0.5",
        "judge",
        "reference",
    ]
    assert View("gaussian-1", 1) in digits.certified and View("standard", 0.25) in digits.certified
    assert View("smoothadv-0.5-deep", 0.5) in digits.certified


def test_published_figures_hang_on_the_pictures_not_on_a_name():
    config = copy.deepcopy(CONFIG)
    config["experiments"]["mine"] = config["experiments"].pop("imagenet")
    known = check_config(config)
    assert [known[name].published for name in ("digits", "cifar10", "mine")] == [None, "cifar10", "imagenet"]


def test_published_figures_of_other_pictures_are_refused(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
    config = copy.deepcopy(CONFIG)
    config["run"] = ["imagenet"]
    config["experiments"] = {"imagenet": config["experiments"]["imagenet"]}
    config["experiments"]["imagenet"]["dataset"]["root"] = str(tmp_path)
    (line,) = faults(config)
    assert re.search(r"published is imagenet, which has 1000 classes: .*train has 2; leave it out", line)
    config["experiments"]["imagenet"]["dataset"] |= {"root": "nowhere", "size": 64, "resize": 64}
    (line,) = faults(config)
    assert re.search(r"published is imagenet, whose pictures have 224 pixels a side: here they have 64", line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", ["line 4: key 'c' stands twice", "line 5: key 'a' stands twice"]),
        ("a: 1\n\tb: 2\n", ["line 2, column 1: found character '\\t' that cannot start any token"]),
        ("a: [1\nb: 2\n", ["line 2, column 2: expected ',' or ']', but got ':'"]),
    ],
    ids=["duplicate", "tab", "bracket"],
)
def test_what_yaml_says_wrongly_names_file_and_line(tmp_path, text, said):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_strictly(tmp_path / "config.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(str(tmp_path)) and end in line for line, end in zip(lines, said, strict=True))


def test_the_schema_is_that_of_the_options():
    assert (ROOT / "workflow/schemas/config.schema.yaml").read_text() == schema()
    validator = jsonschema.Draft202012Validator(yaml.safe_load(schema()))
    assert not list(validator.iter_errors(CONFIG))
    (error,) = validator.iter_errors(changed("certify.alpha", 2))
    assert list(error.path)[-2:] == ["certify", "alpha"]
    assert re.search(r"check_draws +fresh draws for p_t before and after \(≥ 1; default 256\)", reference())


def test_options_import_nothing_heavy():
    code = "import sys, pagoda.options.check; print({'torch', 'numpy', 'scipy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


PATHS = {"model": "m", "data": "d", "out": "o"}


@pytest.mark.parametrize(
    ("step", "given", "said"),
    [
        (certify, {"sigma": 0}, "sigma is 0: must be above 0"),
        (certify, {"sigma": "nan"}, "sigma is nan: must be a finite number"),
        (certify, {"sigma": 1, "alpha": 1}, "alpha is 1: must be below 1"),
        (certify, {"sigma": 1, "radii": [-0.5]}, "radii.0 is -0.5: must be at least 0"),
        (certify, {"sigma": 1, "looks": [200, 100]}, "looks are 200, 100: must increase from above 0 to n = 1000"),
        (predict, {"sigma": 0}, "sigma is 0: must be above 0"),
        (ascend, {"sigma": -1, "target": "3", "epsilon": 1}, "sigma is -1: must be at least 0"),
        (ascend, {"sigma": 0, "target": "3", "epsilon": 0}, "epsilon is 0: must be above 0"),
        (ascend, {"sigma": 0, "target": "3"}, "epsilon is missing"),
        (ascend, {"sigma": 0, "target": "3", "epsilon": 1, "start": "x"}, "start is 'x': must be one of images, seeds"),
        (train, {"architecture": {"name": "vgg"}, "model": {"objective": "standard"}}, "architecture.name is 'vgg'"),
    ],
)
def test_steps_refuse_what_is_out_of_range(step, given, said):
    paths = {name: path for name, path in PATHS.items() if name in step.Config.model_fields and name not in given}
    ((_, line),) = checked(step.Config, paths | given)[1]
    assert line.startswith(said)
