"""predict: a base classifier and a noise level -> the smoothed classifier's predictions on test images, as a table.

PREDICT of Cohen et al. 2019 (arXiv 1902.02918): the class that it returns is the smoothed classifier's, wrongly with a
chance of at most alpha, or it abstains. On each image as it is, and on the image under one draw of the noise, as the
base classifier met it in training; beside them what the base classifier says of both.
"""

from pathlib import Path

from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import write_json, write_text
from pagoda.log import Progress, logger
from pagoda.maths.certification import ABSTAIN
from pagoda.maths.confidence import interval
from pagoda.maths.noise import noise_chunk
from pagoda.maths.prediction import Poll
from pagoda.maths.smoothing import Work, count_votes
from pagoda.memory import MicroBatch, in_parts
from pagoda.nets.model import check_fits, load_model
from pagoda.options import Predict, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint

VIEWS = ("clean", "noisy")


class Config(Predict):
    """Predict test images with the smoothed classifier that a base classifier and a noise level make."""

    model: Path = option("model.safetensors that the train step wrote")
    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where the table goes (.tsv); a .json beside it says how it was made, and the accuracies")
    sigma: float = option("standard deviation of the smoothing noise", gt=0)


def run(config: Config) -> dict:
    """Predict, write the table and return what its .json says. Raises BadInput, naming the image at fault."""
    device = pick_device()
    model = load_model(config.model, device)
    test = Split(config.data, "test", as_in_source=True)
    check_fits(config.model, model.identity, config.data, test.description)
    places, classes = test.every(config.images, config.skip, config.first), len(model.identity.classes)
    label = f"predict {config.model.parent.name} sigma={config.sigma:g}"
    progress = Progress(label, 2 * len(places), "images")
    classifier = in_parts(model.classifier, MicroBatch(label, config.batch))
    polls, base = {}, {}  # by place and view
    if warning := Poll(config.n, config.alpha, classes).warning:
        logger.warning(warning)

    def works():
        for place in places:
            image = test.images([place])[0].to(device)
            key = (config.seed, "predict", config.sigma, place)
            noise = noise_chunk(tuple(image.shape), config.sigma, device, (*key, "image"))[0]
            for view, shown in zip(VIEWS, (image, image + noise), strict=True):
                polls[place, view] = Poll(config.n, config.alpha, classes)
                base[place, view] = int(model.classifier(shown[None]).float().argmax())
                yield Work(shown, (*key, view), polls[place, view], f"test image {place} at sigma {config.sigma:g}")

    try:
        for _ in count_votes(classifier, works(), sigma=config.sigma, batch=config.batch):
            progress.advance()
    except FloatingPointError as error:
        raise BadInput(f"{error}; is {config.model} diverged?") from None
    labels = {place: int(test.labels[place]) for place in places}
    facts = config.values(leave_out=("data", "out")) | {
        "model": config.model.parent.name,
        "model_hash": model.hash,
        "images": len(places),
        "device": device.type,
        "precision": model.identity.precision,
        "data": test.description.fingerprint,
        "code": fingerprint("steps.predict"),
    }
    for view in VIEWS:
        found = [(polls[place, view].prediction, base[place, view], labels[place]) for place in places]
        facts[view] = {
            "smoothed_accuracy": _share(sum(smoothed == label for smoothed, _, label in found), len(found)),
            "abstained": _share(sum(smoothed == ABSTAIN for smoothed, _, _ in found), len(found)),
            "base_accuracy": _share(sum(alone == label for _, alone, label in found), len(found)),
        }
        logger.info("%s: smoothed %s, abstained %s, base %s", view, *facts[view].values())
    header = ["idx", "label", *(f"{what}_{view}" for view in VIEWS for what in ("predict", "p_value", "base"))]
    rows = {place: [place, labels[place]] for place in places}
    for (place, view), poll in polls.items():
        rows[place] += [poll.prediction, poll.p_value, base[place, view]]
    write_json(config.out.with_suffix(".json"), facts)
    write_text(config.out, "".join("\t".join(map(str, row)) + "\n" for row in [header, *rows.values()]))
    return facts


def _share(hits: int, n: int) -> dict:
    """Return a share with its 95 % Clopper-Pearson interval and n."""
    low, high = interval(hits, n)
    return {"share": hits / n, "low": low, "high": high, "n": n}


if __name__ == "__main__":
    main("predict", Config, run)
