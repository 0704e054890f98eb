"""`make bench-gpu`: what a GPU does with it, in at most eight minutes: one JSON and one table in results/bench.

Draws a second of certify and ascend, beside the rate of matrix products; what CUDA graphs and compilation would add;
memory; rows of certificates in batches of any size; certificates of the CPU and of the GPU; memory that does not
suffice; a training on CIFAR-10 and its certified accuracy. It needs PyTorch, torchvision, NumPy and SciPy alone, so
that it runs where nothing can be installed: `python -m tests.bench.gpu --out FOLDER`. A part that fails is a row that
says so. Without a GPU it runs at `--toy` size, which says nothing of speed.
"""

import argparse
import json
import math
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

try:
    import safetensors.torch  # noqa: F401
except ImportError:  # models are files for it alone, and here are none
    stand_in = types.ModuleType("safetensors")
    stand_in.SafetensorError, stand_in.safe_open, stand_in.torch = OSError, None, types.ModuleType("safetensors.torch")
    sys.modules |= {"safetensors": stand_in, "safetensors.torch": stand_in.torch}

from pagoda.data import sources
from pagoda.data.batches import Augmentation, epoch_order, stream
from pagoda.data.dataset import Pictures, Split, write_dataset
from pagoda.data.decode import Look
from pagoda.maths.certification import RADII, Count, Rule
from pagoda.maths.confidence import interval
from pagoda.maths.smoothing import Work
from pagoda.memory import MicroBatch, in_parts
from pagoda.nets.architectures import build_seeded
from pagoda.nets.model import BaseClassifier, Identity, ready
from pagoda.nets.training import Training
from pagoda.smoothed import Smoothed
from tests.bench.rates import SIGMA, flops, identity, matmul_rate, rates

ROOT = Path(__file__).resolve().parents[2]
Row = tuple[str, str, str]
"""What was measured, the value, and how."""
NETS = {"resnet110": (32, 1000, 16, 8), "resnet50": (224, 250, 2, 8)}
"""By architecture: side of a picture, draws at once, sources of an ascent, its steps."""
RECIPE = {"architecture": {"name": "airbench", "widths": [64, 128, 256]}, "batch": 500, "epochs": 40}
MUON = {"name": "muon", "learning_rate": 0.12, "momentum": 0.6, "others": 0.01}
"""The defaults of the option, which pydantic holds."""


class Bench:
    """What is asked for: the device, the sizes, and how much time is left."""

    def __init__(self, device: torch.device, toy: bool, seconds: float, pictures: Path):
        """See the class; `pictures` is a folder of CIFAR-10."""
        self.device, self.toy, self.pictures = device, toy, pictures
        self.until = time.monotonic() + seconds
        self.nets = {"resnet20": (8, 8, 1, 2)} if toy else NETS
        self.how = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"

    @property
    def left(self) -> float:
        """Seconds until the end of the time given."""
        return self.until - time.monotonic()

    def classifier(self, name: str, size: int, precision: str) -> BaseClassifier:
        """Return a classifier with random weights, as certify and ascend meet it."""
        about = replace(identity(name, size, self.device), precision=precision)
        return ready(build_seeded(0, {"name": name}, 10, 3), about, self.device)

    def fixed(self, classifier: BaseClassifier, x: Tensor, n: int, batch: int) -> list[Count]:
        """Certify images [B, C, H, W] with n draws each; return their counts."""
        rule = Rule("fixed", SIGMA, n0=8, n=n, alpha=0.001)
        works = (Work(image, (0, k), Count(rule, 10)) for k, image in enumerate(x.to(self.device)))
        return [work.count for work in Smoothed(classifier, SIGMA, 10).count(works, batch=batch)]


def speed(bench: Bench) -> Iterator[Row]:
    """Yield draws a second of certify and ascend, and what share they are of the rate of matrix products."""
    precision = "bfloat16" if bench.device.type == "cuda" else "float32"
    peak = matmul_rate(bench.device, precision) if not bench.toy else 1e9
    yield "matrix products, TFLOP/s", f"{peak / 1e12:.3g}", f"{precision}, {bench.how}"
    for name, (size, at_once, images, steps) in bench.nets.items():
        classifier = bench.classifier(name, size, precision)
        x = torch.rand(images, 3, size, size, generator=torch.Generator().manual_seed(0)).to(bench.device)
        n, smoothed = 8 * at_once, Smoothed(classifier, SIGMA, 10)
        wide = x.repeat_interleave(math.ceil(at_once / images), 0)[:at_once]
        target = torch.zeros(images, dtype=torch.int64, device=bench.device)
        ascent = {"epsilon": 4.0, "steps": steps, "draws": 32, "batch": at_once}
        turns: dict[str, tuple[int, Callable[[], object]]] = {
            "certify": ((n + 8) * images, partial(bench.fixed, classifier, x, n, at_once)),
            "certify, network alone": (at_once, partial(forward, classifier, wide)),
            "ascend": (images * 32 * steps, partial(smoothed.ascend, x, target, **ascent)),
            "ascend, network alone": (at_once, partial(back, classifier, wide)),
        }
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found = rates(turns)
        for what, rate in found.items():
            yield f"{what} {name}, draws a second", f"{rate:.4g}", f"{precision}, {size} px, {at_once} at once"
            share = rate * flops(classifier, x[:1], back="ascend" in what) / peak
            yield f"{what} {name}, share of matrix products", f"{share:.2f}", "target .6 for resnet50"
        if bench.device.type == "cuda":
            yield f"memory {name}, GiB at most", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}", "all of the above"


def forward(classifier: BaseClassifier, x: Tensor) -> Tensor:
    """Return logits, without what a gradient would take."""
    with torch.inference_mode():
        return classifier(x)


def back(classifier: BaseClassifier, x: Tensor) -> Tensor:
    """Return the gradient of the first class's logit at each image."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(classifier(x)[:, 0].sum(), x)[0]


def variants(bench: Bench) -> Iterator[Row]:
    """Yield images a second of the network alone: float32, bfloat16, in a CUDA graph, compiled; forward."""
    for name, (size, at_once, *_) in bench.nets.items():
        x = torch.rand(at_once, 3, size, size, device=bench.device)
        half, whole = (bench.classifier(name, size, precision) for precision in ("bfloat16", "float32"))
        turns = {"bfloat16": lambda net=half, x=x: forward(net, x), "float32": lambda net=whole, x=x: forward(net, x)}
        if bench.device.type == "cuda":
            turns["bfloat16, CUDA graph"] = graph(half, x)
            if bench.left > 120:  # compiling takes a minute
                turns["bfloat16, compiled"] = partial(forward, torch.compile(half), x)
        found = {}
        for what, turn in turns.items():
            try:
                found[what] = rates({what: (at_once, turn)})[what]
            except Exception as error:  # a compiler may be missing
                yield f"forward {name}, {what}", "-", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                continue
            said = f"{found[what] / found.get('bfloat16', math.nan):.2f} of bfloat16 as it is"
            yield f"forward {name}, images a second, {what}", f"{found[what]:.4g}", said


def graph(classifier: BaseClassifier, x: Tensor) -> Callable[[], None]:
    """Capture a forward pass in a CUDA graph; return what replays it."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            forward(classifier, x)
    torch.cuda.current_stream().wait_stream(aside)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        forward(classifier, x)
    return captured.replay


def batch_sizes(bench: Bench) -> Iterator[Row]:
    """Yield whether certificates are the same for draws in batches of 1, 7, 250 and 1000."""
    sizes = (1, 7, 250, 1000)
    for name, (size, *_) in bench.nets.items():
        n, images = (16, 2) if bench.toy or size > 32 else (1000, 4)
        for precision in ("float32", "bfloat16"):
            classifier = bench.classifier(name, size, precision)
            x = torch.rand(images, 3, size, size, generator=torch.Generator().manual_seed(1))
            rows = {b: [(c.certificate, c.votes) for c in bench.fixed(classifier, x, n, b)] for b in sizes}
            same = [b for b in sizes if rows[b] == rows[250]]
            yield (
                f"certificates {name}, {precision}, equal for batches",
                ", ".join(map(str, same)),
                f"wanted: {', '.join(map(str, sizes))}; {images} images, n = {n}",
            )


def memory(bench: Bench) -> Iterator[Row]:
    """Yield how many images a step takes at once after memory did not suffice, and whether logits stayed the same."""
    name, (size, at_once, *_) = next(reversed(bench.nets.items()))
    classifier = bench.classifier(name, size, "float32")
    x = torch.rand(8 * at_once, 3, size, size, generator=torch.Generator().manual_seed(2)).to(bench.device)
    wanted = torch.cat([forward(classifier, some) for some in x.split(at_once // 2)])
    base, how = classifier, "simulated"
    if bench.device.type == "cuda":
        free, whole = torch.cuda.mem_get_info()
        torch.cuda.empty_cache()
        allowed = torch.cuda.memory_allocated() + 2 * 2**30
        torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / whole))
        how = f"2 GiB allowed of {free / 2**30:.0f} free"
    else:

        def base(some: Tensor) -> Tensor:
            if len(some) > at_once:
                raise torch.OutOfMemoryError("out of memory")
            return classifier(some)

    micro = MicroBatch("bench", len(x))
    try:
        with torch.inference_mode():
            found = in_parts(base, micro)(x)
    finally:
        if bench.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    gap = float((found - wanted).abs().max() / wanted.abs().max())
    yield (
        f"out of memory {name}, at once after halving",
        f"{micro.size}",
        f"of {len(x)}; {how}; logits differ by {gap:.1e}",
    )


def training(bench: Bench) -> Iterator[Row]:
    """Yield the accuracy of a training on CIFAR-10, its certified accuracy, and how CPU and GPU certificates agree."""
    with tempfile.TemporaryDirectory() as folder:
        data = fetched(bench, Path(folder) / "dataset.json")
        train, test = Split(data, "train"), Split(data, "test")
        about = Identity.of(
            test.description, architecture=RECIPE["architecture"], objective={"name": "gaussian", "sigma": SIGMA},
            seed=0, precision="bfloat16" if bench.device.type == "cuda" else "float32", code="bench",
        )  # fmt: skip
        if bench.toy:
            about = replace(about, architecture={"name": "airbench", "widths": [8, 16]})
        batch, epochs = (32, 1) if bench.toy else (RECIPE["batch"], RECIPE["epochs"])
        fit = Training(
            about, device=bench.device, batch=batch, steps_an_epoch=math.ceil(len(train) / batch), epochs=epochs,
            optimiser=MUON, label_smoothing=0.1,
        )  # fmt: skip
        fit.whiten(train.images(torch.arange(min(len(train), 5000))))
        began = time.perf_counter()
        fit.classifier.train()
        rows = stream(
            train, lambda epoch: epoch_order(len(train), batch, 0, epoch), device=bench.device,
            augmentation=Augmentation(flip=True, shift=2), seed=0, first=0, steps=fit.total,
        )  # fmt: skip
        for x, y in rows:
            fit.step(x, y)
            if fit.done % fit.steps_an_epoch == 0:
                fit.end_epoch()
            if bench.left < 90 and not bench.toy:
                raise TimeoutError(f"epoch {len(fit.history)} of {epochs} when time was up")
        took = time.perf_counter() - began
        yield "train CIFAR-10, seconds", f"{took:.0f}", f"{about.architecture}, {epochs} epochs, σ = {SIGMA}"
        classifier = ready(fit.classifier.network, about, bench.device)
        n, images = (64, 4) if bench.toy else (10_000, 500)
        places = test.every(images)
        labels, x = test.labels[places].tolist(), test.images(places)
        certificates = [count.certificate for count in bench.fixed(classifier, x, n, 32 if bench.toy else 1000)]
        for radius in RADII[:5]:
            right = sum(c.prediction == y and c.radius >= radius for c, y in zip(certificates, labels, strict=True))
            low, high = interval(right, images)
            how = f"[{low:.3f}, {high:.3f}], {images} images, n = {n:,}"
            yield f"certified accuracy at radius {radius:g}", f"{right / images:.3f}", how
        yield agreement(bench, classifier, x[:: max(1, images // 20)])


def fetched(bench: Bench, path: Path) -> Path:
    """Write CIFAR-10, or at toy size random pictures, as a dataset; return its path."""
    if bench.toy:
        random = np.random.default_rng(0)
        some = Pictures(random.integers(0, 256, (96, 3, 16, 16), np.uint8), np.arange(96) % 10)
        splits, classes, size = {"train": some, "test": some}, tuple("0123456789"), 16
    else:
        size = 32
        held = sources.LOADERS["cifar10"](bench.pictures, Look(size, 3, 1.0, ()), sources.Wish())
        splits, classes = held.splits, held.classes
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    write_dataset(
        path, splits, kind="cifar10", classes=classes, channels=3, size=size, storage="arrays", root="", mean=mean,
        std=std,
    )  # fmt: skip
    return path


def agreement(bench: Bench, classifier: BaseClassifier, x: Tensor) -> Row:
    """Return how far votes for one class on this device and on the CPU lie apart, in standard errors: 4 at most."""
    n = 64 if bench.toy else 500
    here = bench.fixed(classifier, x, n, 250)
    elsewhere = Bench(torch.device("cpu"), bench.toy, bench.left, bench.pictures)
    there = elsewhere.fixed(classifier.to("cpu"), x, n, 250)
    apart = []
    for one, other in zip(here, there, strict=True):
        if one.selected == other.selected:
            hits, others = (count.votes[count.selected] for count in (one, other))
            p = (hits + others + 1) / (2 * n + 2)
            apart.append(abs(hits - others) / math.sqrt(2 * n * p * (1 - p)))
    how = f"standard errors at most (target 4), of {len(apart)} of {len(x)} images with the same class, n = {n}"
    return f"votes on the CPU and on {bench.device.type} apart", f"{max(apart, default=math.nan):.2f}", how


PARTS = (speed, batch_sizes, memory, training, variants)


def measure(bench: Bench, tell: Callable[[Row], None]) -> None:
    """Run every part that there is time for; one that fails is a row, and the others go on."""
    for part in PARTS:
        began = time.perf_counter()
        try:
            if bench.left < 30:
                raise TimeoutError("no time left")
            for row in part(bench):
                tell(row)
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            tell((f"{part.__name__}, failed", "-", f"{type(error).__name__}: {said}"))
        tell((f"{part.__name__}, seconds", f"{time.perf_counter() - began:.0f}", "of this benchmark"))
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()


def main(argv: list[str] | None = None) -> int:
    """Measure, print and keep; return 1 where a part failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench", help="folder of gpu.json and gpu.md")
    parser.add_argument("--pictures", type=Path, default=ROOT / "data" / "cifar10", help="CIFAR-10, as fetch takes it")
    parser.add_argument("--seconds", type=float, default=460, help="time for all of it (default: %(default)s)")
    parser.add_argument("--toy", action="store_true", help="sizes that say nothing of speed (always so without a GPU)")
    asked = parser.parse_args(argv)
    gpu = torch.cuda.is_available()
    bench = Bench(torch.device("cuda" if gpu else "cpu"), asked.toy or not gpu, asked.seconds, asked.pictures)
    rows: list[Row] = []
    asked.out.mkdir(parents=True, exist_ok=True)

    def tell(row: Row) -> None:
        rows.append(row)
        print(*row, sep="; ", flush=True)
        about = {"device": bench.how, "torch": torch.__version__, "toy": bench.toy}
        found = [dict(zip(("figure", "value", "how"), row, strict=True)) for row in rows]
        (asked.out / "gpu.json").write_text(json.dumps(about | {"rows": found}, indent=1, ensure_ascii=False) + "\n")

    if not gpu:
        print("no GPU is visible: toy sizes on the CPU, which say that it runs, and nothing of speed")
    measure(bench, tell)
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    note = "" if gpu else "No GPU ran this: toy sizes on a CPU, which say nothing of speed.\n\n"
    (asked.out / "gpu.md").write_text(f"# {bench.how}\n\n{note}| figure | value | how |\n| --- | --- | --- |\n{table}")
    return int(any(row[0].endswith(", failed") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
