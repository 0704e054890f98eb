"""`make bench`: certification beside a plain loop and the Adversarial Robustness Toolbox, in one run on one machine.

Prints figures and keeps them in results/bench/certification.csv. The network is a ResNet-20 that is trained here, for
half a minute, on scikit-learn's digits at 32 x 32 under noise of standard deviation SIGMA.
"""

import argparse
import csv
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy import special, stats

from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.maths.certification import Count, Rule, enough_draws
from pagoda.maths.confidence import lower_bound
from pagoda.maths.smoothing import Work, count_votes
from pagoda.nets.model import BaseClassifier, load_model
from steps import fetch, train
from tests.conftest import ROOT

SIGMA, N, ALPHA = 0.5, 100_000, 0.001
SIGMAS = (0.12, 0.25, 0.5, 1.0)
"""Noise levels of the published curves."""
TRUE = (0.5, 0.69, 0.9, 0.99, 0.999, 0.9999)
PEERS = ROOT / ".venv" / "bench"
PUBLISHED = ROOT / "pagoda" / "data" / "published.csv"


def main() -> int:
    """Measure, print and keep; return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400_000, help="of the coverage (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=6000, help="a timing is over (default: %(default)s)")
    parser.add_argument("--images", type=int, default=10, help="certified in full (default: %(default)s)")
    asked = parser.parse_args()
    rows: list[tuple[str, str, object]] = []

    def tell(what: str, value: object, how: str) -> None:
        rows.append((what, str(value), how))
        print(f"{what}: {value} ({how})", flush=True)

    for mode in ("fixed", "grid", "radius"):
        worst = max(coverage(mode, p, asked.repetitions) for p in TRUE)
        spread = 3 * np.sqrt(ALPHA * (1 - ALPHA) / asked.repetitions)
        tell(f"coverage, {mode}: worst rate of wrong bounds", f"{worst:.2e}", f"at most {ALPHA} + {spread:.1e} wanted")
    how = "published curves of Cohen et al. 2019, CIFAR-10, the eight radii, 2,000 images each"
    for aware, name in ((False, "grid"), (True, "grid, label-aware")):
        found = {sigma: savings(sigma, aware) for sigma in SIGMAS}
        for sigma, (used, _) in found.items():
            tell(f"draws, {name}, sigma {sigma:g}: share of fixed n", f"1/{N / used:.1f}", how)
        mean = np.mean([used for used, _ in found.values()])
        tell(f"draws, {name}, all: share of fixed n", f"1/{N / mean:.1f}", "target 1/12" if aware else "target 1/8")
        most_off = max(off for _, off in found.values())
        tell(
            f"draws, {name}: certified accuracy off by at most", f"{most_off:.4f}", "same images, fixed n; target .002"
        )
    with tempfile.TemporaryDirectory() as name:
        speeds(Path(name), asked.draws, asked.images, tell)
    path = ROOT / "results" / "bench" / "certification.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("figure", "value", "how"), *rows])
    print(f"kept in {path}")
    return 0


def coverage(mode: str, p: float, repetitions: int) -> float:
    """Return the rate of lower bounds above `p`, simulated without a network; in grid mode at any look at all."""
    random = np.random.default_rng([round(1e4 * p), len(mode)])
    rule = Rule(mode, sigma=SIGMA, n0=100 if mode != "radius" else 1000, n=N, alpha=ALPHA)
    if mode == "grid":
        wrong, hits, drawn = np.zeros(repetitions, bool), np.zeros(repetitions, np.int64), 0
        for look, level in rule.schedule:
            hits += random.binomial(look - drawn, p, repetitions)
            drawn = look
            wrong |= hits >= critical(p, look, level)
        return float(wrong.mean())
    if mode == "fixed":
        return float((random.binomial(N, p, repetitions) >= critical(p, N, ALPHA)).mean())
    wrong = 0
    pilots, counts = np.unique(random.binomial(rule.n0, p, repetitions), return_counts=True)
    for pilot, count in zip(pilots, counts, strict=True):
        n = enough_draws(int(pilot), rule)
        wrong += int((random.binomial(n, p, count) >= critical(p, n, ALPHA)).sum())
    return wrong / repetitions


def critical(p: float, n: int, alpha: float) -> int:
    """Return the fewest hits of `n` whose lower bound is above `p`."""
    hits = int(stats.binom.isf(alpha, n, p))
    while hits <= n and lower_bound(hits, n, alpha) <= p:
        hits += 1
    return hits


def savings(sigma: float, label_aware: bool, images: int = 2000) -> tuple[float, float]:
    """Return mean draws of grid mode, and by how much its certified accuracies differ from those of fixed n.

    The images' radii follow the published curve of Cohen et al. 2019 at `sigma`, straight between its points; of those
    that are not certified, half are certain of a wrong class, like the others of theirs, and half are undecided.
    """
    lines = [line.split(",") for line in PUBLISHED.read_text().splitlines()[1:]]
    curve = [(float(r), float(a)) for d, _, s, r, a, *_ in lines if d == "cifar10" and float(s) == sigma]
    radii, accuracies = np.array(curve).T
    random = np.random.default_rng(0)
    place = random.random(images)
    right = place < accuracies[0]
    radius = np.interp(np.where(right, place, random.random(images) * accuracies[0]), accuracies[::-1], radii[::-1])
    p = special.ndtr(radius / sigma)
    undecided = ~right & (random.random(images) < 0.5)
    p[undecided] = random.uniform(0.3, 0.5, undecided.sum())
    grid = Rule("grid", sigma=sigma, n0=100, n=N, alpha=ALPHA, label_aware=label_aware)
    fixed = Rule("fixed", sigma=sigma, n0=100, n=N, alpha=ALPHA)
    used, reached, steps = [], {"grid": [], "fixed": []}, np.diff([0, *(look for look, _ in grid.schedule)])
    for chance, good in zip(p, right, strict=True):
        # Both modes make the same draws, as in the step: they are keyed by image, not by mode.
        selection, hits = int(random.binomial(grid.n0, chance)), random.binomial(steps, chance)
        for rule in (grid, fixed):
            count = Count(rule, 2, 0 if good else 1)
            count.add([selection, grid.n0 - selection], grid.n0)
            for step, some in zip(steps, hits, strict=True) if rule is grid else [(N, hits.sum())]:
                if not count.ended:
                    count.add([int(some), int(step - some)], int(step))
            reached[rule.mode].append(count.certificate.radius * (good and count.certificate.prediction == 0))
            if rule is grid:
                used.append(count.certificate.draws)
    grids = [[np.mean(np.array(reached[mode]) > radius) for radius in radii[:-1]] for mode in ("grid", "fixed")]
    return float(np.mean(used)), float(np.abs(np.subtract(*grids)).max())


def speeds(folder: Path, draws: int, images: int, tell) -> None:
    """Tell draws a second and seconds an image of a plain loop, of ART where it is installed, and of ours."""
    device = pick_device()
    fetch.run(fetch.Config(kind="digits", size=32, out=folder / "fetch" / "dataset.json"))
    data = folder / "fetch" / "dataset.json"
    model = folder / "gaussian" / "model.safetensors"
    train.run(
        train.Config(
            data=data, out=model, architecture={"name": "resnet20"}, model={"objective": "gaussian", "sigma": SIGMA},
            epochs=4, batch=64,
        )
    )  # fmt: skip
    loaded, test = load_model(model, device), Split(data, "test")
    plain = BaseClassifier(rebuilt(model), loaded.identity.mean, loaded.identity.std).eval().to(device)
    pictures = [test.images([place])[0].to(device) for place in test.every(images)]
    threads, where = torch.get_num_threads(), f"{device.type}, ResNet-20, 1 x 32 x 32, {draws} draws"
    plain_loop(plain, pictures[0], 400)  # warm
    began = time.perf_counter()
    plain_loop(plain, pictures[0], draws)
    theirs = draws / (time.perf_counter() - began)
    tell("draws a second, plain loop", f"{theirs:.0f}", f"{where}, float32, batch 400, {threads} threads")
    rule = Rule("fixed", sigma=SIGMA, n0=100, n=draws, alpha=ALPHA)
    for _ in range(2):  # the first is to warm up
        began = time.perf_counter()
        list(count_votes(loaded.classifier, [Work(pictures[0], (0,), Count(rule, 10))], sigma=SIGMA, batch=250))
        ours = (draws + 100) / (time.perf_counter() - began)
    tell("draws a second, ours", f"{ours:.0f}", f"{where}, {loaded.identity.precision}, batch 250")
    tell("draws a second, ours / plain loop", f"{ours / theirs:.2f}", "target 2.5 on a CPU")
    peer = art(plain, pictures[0], draws)
    tell("draws a second, ART", peer if isinstance(peer, str) else f"{peer:.0f}", f"{where}, float32, batch 400")
    grid = Rule("grid", sigma=SIGMA, n0=100, n=N, alpha=ALPHA)
    works = [Work(picture, (k,), Count(grid, 10)) for k, picture in enumerate(pictures)]
    began = time.perf_counter()
    list(count_votes(loaded.classifier, works, sigma=SIGMA, batch=250))
    mine = (time.perf_counter() - began) / images
    whole = (N + 100) / theirs
    tell("seconds an image, ours", f"{mine:.2f}", f"grid, N = {N:,}, the eight radii, {images} images")
    tell("seconds an image, plain loop", f"{whole:.1f}", f"N = {N:,}, from its draws a second")
    tell("seconds an image, ours / plain loop", f"1/{whole / mine:.1f}", "target 1/20")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tell("peak memory of this process", f"{peak:.0f} MB", "training, both loops and peer included; target 1,200")


def rebuilt(model: Path) -> torch.nn.Module:
    """Return the network of a model file as it was trained: batch-norms on their own, in float32."""
    import safetensors.torch

    from pagoda.nets.architectures import build

    network = build({"name": "resnet20"}, 10, 1)
    network.load_state_dict(safetensors.torch.load_file(model))
    return network


@torch.no_grad()
def plain_loop(classifier: torch.nn.Module, image: torch.Tensor, draws: int, batch: int = 400) -> np.ndarray:
    """Count votes as the paper's listing does: one image, batches of copies, noise, argmax, counts on the host."""
    counts = np.zeros(10, dtype=int)
    while draws > 0:
        size = min(batch, draws)
        draws -= size
        copies = image.repeat((size, 1, 1, 1))
        noise = torch.randn_like(copies) * SIGMA
        counts += np.bincount(classifier(copies + noise).argmax(1).cpu().numpy(), minlength=10)
    return counts


def art(classifier: torch.nn.Module, image: torch.Tensor, draws: int) -> float | str:
    """Return the draws a second of adversarial-robustness-toolbox, or why there are none."""
    sys.path.append(str(PEERS))
    try:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
    except ImportError as error:
        return f"not installed: {error}"
    peer = PyTorchRandomizedSmoothing(
        model=classifier, loss=torch.nn.CrossEntropyLoss(), input_shape=tuple(image.shape), nb_classes=10,
        sample_size=100, scale=SIGMA, alpha=ALPHA,
    )  # fmt: skip
    began = time.perf_counter()
    peer.certify(image[None].cpu().numpy(), n=draws, batch_size=400)
    return (draws + 100) / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
