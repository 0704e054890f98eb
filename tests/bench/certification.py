"""`make bench`: certification beside a plain loop and the Adversarial Robustness Toolbox, in one run on one machine.

Prints figures and keeps them in results/bench/certification.csv. The network is a ResNet-20 that is trained here, for
half a minute, on scikit-learn's digits at 32 x 32 under noise of standard deviation SIGMA.
"""

import argparse
import csv
import re
import resource
import sys
import tempfile
import time
from bisect import bisect_left
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy import special, stats

from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.maths.certification import FUTILITY, RADII, Count, Rule, certified_radius, enough_draws
from pagoda.maths.confidence import lower_bound
from pagoda.maths.sequential import chance_of
from pagoda.maths.smoothing import Work, count_votes
from pagoda.nets.model import BaseClassifier, load_model
from steps import fetch, train
from tests.conftest import ROOT

SIGMA, N, ALPHA = 0.5, 100_000, 0.001
TRUE = (0.5, 0.6, 0.69, 0.9, 0.99, 0.999, 0.9999)
DENSE = tuple(np.arange(0, 2.01, 0.05).round(2).tolist())
"""Radii of interest that leave little between them."""
PEERS = ROOT / ".venv" / "bench"
PUBLISHED = ROOT / "pagoda" / "data" / "published.csv"
LOG = re.compile(r"(?:noise|sigma)_(\d[\d.]*?)(?:\.tsv)?$")
"""How a log of certificates is called that says its noise."""
Images = tuple[float, np.ndarray, np.ndarray]
"""Images at a sigma: the probability of each one's class, and whether that class is right."""


class Greedy(Rule):
    """Looks again and again at the whole alpha: what a sequential test must not do, and `coverage` must catch."""

    def bound(self, hits: int, draws: int) -> float:
        """Return the Clopper-Pearson bound, as if this were the only look."""
        return lower_bound(hits, draws, self.alpha)


def main() -> int:
    """Measure, print and keep; return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400_000, help="of the coverage (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=6000, help="a timing is over (default: %(default)s)")
    parser.add_argument("--images", type=int, default=100, help="certified in full (default: %(default)s)")
    parser.add_argument(
        "--logs", type=Path, default=ROOT / "data" / "logs",
        help="folder of published logs, a row an image, e.g. clones of github.com/locuslab/smoothing and "
        "github.com/eth-sri/acr-weakness: the draws are counted for their images (default: data/logs)",
    )  # fmt: skip
    asked = parser.parse_args()
    rows: list[tuple[str, str, object]] = []

    def tell(what: str, value: object, how: str) -> None:
        rows.append((what, str(value), how))
        print(f"{what}: {value} ({how})", flush=True)

    limit = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / asked.repetitions)
    for mode in ("fixed", "grid", "radius"):
        worst = max(coverage(rule_of(mode), p, asked.repetitions) for p in TRUE)
        tell(f"coverage, {mode}: worst rate of wrong bounds", f"{worst:.2e}", f"at most {limit:.2e} wanted")
        if worst > limit:
            sys.exit(f"mode {mode} breaks its guarantee")
    greedy = max(coverage(rule_of("grid", Greedy), p, asked.repetitions) for p in TRUE)
    tell("coverage, all of alpha at every look", f"{greedy:.2e}", f"above {limit:.2e}: it is caught")
    if greedy <= limit:
        sys.exit("the check of coverage does not see a rule that breaks it")
    known = {"published curves of Cohen et al. 2019, CIFAR-10": curves()} | logs(asked.logs)
    if len(known) == 1:
        tell("draws, published logs", "-", f"none in {asked.logs}: see --logs")
    for name, many in known.items():
        how = f"{name}: {len(many)} of 2,000 images each"
        for n, targets in ((N, (10, 13)), (N // 10, (3, 3))):
            draws(many, n, RADII, how, targets, tell)
        draws(many, N, DENSE, f"{how}; radii every 0.05", None, tell)
    with tempfile.TemporaryDirectory() as name:
        speeds(Path(name), asked.draws, asked.images, tell)
    path = ROOT / "results" / "bench" / "certification.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("figure", "value", "how"), *rows])
    print(f"kept in {path}")
    return 0


def rule_of(mode: str, kind: type[Rule] = Rule, n: int = N, sigma: float = SIGMA, radii: tuple = RADII) -> Rule:
    """Return the rule that is measured."""
    return kind(mode, sigma=sigma, n0=100 if mode != "radius" else 1000, n=n, alpha=ALPHA, radii=radii)


def coverage(rule: Rule, p: float, repetitions: int) -> float:
    """Return the rate of lower bounds above `p`, simulated without a network; in grid mode at any look at all."""
    random = np.random.default_rng([round(1e4 * p), len(rule.mode)])
    if rule.mode != "radius":
        wrong, hits, drawn = np.zeros(repetitions, bool), np.zeros(repetitions, np.int64), 0
        for look in rule.schedule if rule.mode == "grid" else (rule.n,):
            hits += random.binomial(look - drawn, p, repetitions)
            drawn = look
            wrong |= hits >= critical(rule, p, look)
        return float(wrong.mean())
    wrong = 0
    pilots, counts = np.unique(random.binomial(rule.n0, p, repetitions), return_counts=True)
    for pilot, count in zip(pilots, counts, strict=True):
        n = enough_draws(int(pilot), rule)
        wrong += int((random.binomial(n, p, count) >= critical(rule, p, n)).sum())
    return wrong / repetitions


def critical(rule: Rule, p: float, draws: int) -> int:
    """Return the fewest hits of `draws` whose lower bound is above `p`."""
    return bisect_left(range(draws + 1), True, key=lambda hits: rule.bound(hits, draws) > p)


def curves() -> list[Images]:
    """Return images at each sigma of the published curves of Cohen et al. 2019, straight between their points.

    Of those that are not certified, half are certain of a wrong class, like the others of theirs, and half undecided.
    """
    with PUBLISHED.open(encoding="utf-8") as file:
        theirs = [row for row in csv.DictReader(file) if (row["dataset"], row["images"]) == ("cifar10", "500")]
    random, found = np.random.default_rng(0), []
    for sigma in (0.12, 0.25, 0.5, 1.0):
        curve = [(float(row["radius"]), float(row["accuracy"])) for row in theirs if float(row["sigma"]) == sigma]
        radii, accuracies = np.array(curve).T
        place = random.random(2000)
        right = place < accuracies[0]
        radius = np.interp(np.where(right, place, random.random(2000) * accuracies[0]), accuracies[::-1], radii[::-1])
        p = special.ndtr(radius / sigma)
        undecided = ~right & (random.random(2000) < 0.5)
        p[undecided] = random.uniform(0.3, 0.5, undecided.sum())
        found.append((sigma, p, right))
    return found


def logs(folder: Path) -> dict[str, list[Images]]:
    """Return images of published logs by the subfolder that they are in; test images under the noise of training.

    p is what would have given the radius as its bound, of N draws at ALPHA; abstentions are uniform on (.2, .502). Logs
    with fewer than 2,000 images count each as often as brings them there.
    """
    found: dict[str, list[Images]] = {}
    random = np.random.default_rng(0)
    for path in sorted(folder.rglob("*")):
        noise = re.findall(r"noise_(\d[\d.]*\d)", str(path.relative_to(folder)))
        name = LOG.search(path.name)
        if not (path.is_file() and name and all(float(n) == float(name[1]) for n in noise)) or "train" in path.parts:
            continue
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
        rows = rows[:: max(1, len(rows) // 2000)]
        rows = (rows * -(-2000 // len(rows)))[:2000]
        sigma, predicted, right = float(name[1]), np.array([r[2] for r in rows]) != "-1", [r[4] == "1" for r in rows]
        bound = special.ndtr(np.array([float(r[3]) for r in rows]) / sigma)
        hits = np.array([bisect_left(range(N), b, key=lambda s: lower_bound(s, N, ALPHA)) for b in bound])
        p = np.where(predicted, hits / N, random.uniform(0.2, 0.502, 2000))
        found.setdefault(path.relative_to(folder).parts[0], []).append((sigma, p, np.array(right)))
    return found


def draws(many: list[Images], n: int, radii: tuple, how: str, targets: tuple | None, tell) -> None:
    """Tell how many times fewer draws grid mode takes than n, what certified accuracy it loses, and what is possible.

    Both modes make the same draws, as in the step: they are keyed by image, not by mode.
    """
    used, aware, best, best_aware, lost, between = [], [], [], [], [], []
    for sigma, p, right in many:
        grid, random = rule_of("grid", n=n, sigma=sigma, radii=radii), np.random.default_rng(1)
        steps = np.diff([0, *grid.schedule])
        hits = random.binomial(steps, p[:, None]).cumsum(axis=1)
        drawn, reached = decided(grid, hits)
        for k in range(20):  # the same as the step's own decisions
            count = Count(grid, 2)
            count.add([100, 0], 100)
            for some, step in zip(np.diff(hits[k], prepend=0), steps, strict=True):
                if not count.ended:
                    count.add([int(some), int(step - some)], int(step))
            assert (count.certificate.draws, count.reached) == (drawn[k], min(reached[k], count.reached))
        fixed, radius = rule_of("fixed", n=n, sigma=sigma), cache(radius_of)
        asked = [-1.0, *(goal.radius for goal in grid.goals)]
        at = hits[np.arange(len(p)), np.searchsorted(grid.schedule, drawn)]
        theirs = np.where(right, [radius(fixed, int(s), n) for s in hits[:, -1]], -1)
        ours = np.maximum(
            [radius(grid, int(s), int(m)) for s, m in zip(at, drawn, strict=True)], np.take(asked, reached)
        )
        ours = np.where(right, ours, -1)
        for losses, some in ((lost, RADII), (between, DENSE)):
            losses.append([(theirs >= r).mean() - (ours >= r).mean() for r in some])
        known = oracle(grid, p)
        used.append(drawn.mean()), aware.append((drawn * right).mean())
        best.append(known.mean()), best_aware.append((known * right).mean())
    for what, mine, perfect, k in (("grid", used, best, 0), ("grid, label-aware", aware, best_aware, 1)):
        value = f"{n / np.mean(mine):.1f}, oracle {n / np.mean(perfect):.1f}"
        tell(f"times fewer draws, {what}, n = {n:,}", value, f"{how}{f'; target {targets[k]}' if targets else ''}")
    losses = f"{np.mean(lost):.4f}, worst {np.max(lost):.4f}"
    tell(f"certified accuracy lost, grid, n = {n:,}", losses, f"{how}; the eight radii; target .001 in the mean")
    losses = f"{np.mean(between):.4f}, worst {np.max(between):.4f}"
    tell(f"certified accuracy lost between the radii, grid, n = {n:,}", losses, f"{how}; read off every 0.05")


def radius_of(rule: Rule, hits: int, made: int) -> float:
    """Return the radius that `hits` of `made` draws certify, -1 for none."""
    lower = rule.bound(hits, made)
    return certified_radius(lower, rule.sigma) if lower > 0.5 else -1.0


def decided(rule: Rule, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the draws that grid mode makes of images with `hits` [images, looks], and how many goals each reaches."""
    images, goals = len(hits), len(rule.goals)
    drawn, reached, going = np.full(images, rule.n), np.zeros(images, int), np.ones(images, bool)
    for look, count in zip(rule.schedule, hits.T, strict=True):
        needed = [bisect_left(range(look + 1), True, key=lambda s, g=g: rule.rejects(g, s, look)) for g in rule.goals]
        if look == rule.n:
            needed = np.minimum(needed, [goal.hits for goal in rule.goals])
        reached = np.where(going, np.maximum(reached, np.searchsorted(needed, count, "right")), reached)
        if look == rule.n:
            break
        hopeful = [
            bisect_left(range(look + 1), FUTILITY, key=lambda s, g=g: chance_of(g.hits - s, rule.n - look, s, look))
            for g in rule.goals
        ]
        ends = going & ((reached == goals) | (count < np.append(hopeful, 0)[reached]))
        drawn[ends], going = look, going & ~ends
    return drawn, reached


def oracle(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Return the fewest draws, in the mean, of a rule that knows `p` and which radius n draws are more likely to reach.

    To tell p from that radius's threshold at alpha with a power of .95 takes as many (Wald 1945; Kaufmann, Cappe &
    Garivier 2016, lemma 1); it stops at once where no radius is in reach.
    """
    thresholds = np.array([goal.probability for goal in rule.goals])
    needed = [bisect_left(range(rule.n + 1), t, key=lambda s: lower_bound(s, rule.n, ALPHA)) for t in thresholds]
    within = (stats.binom.sf(np.array(needed) - 1, rule.n, p[:, None]) >= 0.5).sum(axis=1)
    threshold = np.append(0.5, thresholds)[within]
    distance = special.rel_entr(p, threshold) + special.rel_entr(1 - p, 1 - threshold)
    told = 0.95 * np.log(0.95 / ALPHA) + 0.05 * np.log(0.05 / (1 - ALPHA))
    with np.errstate(divide="ignore"):
        return np.where(within, np.minimum(rule.n, told / distance), 0)


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
