"""`make bench`: time to an accuracy under noise on CIFAR-10, ours beside a plain ResNet-20 with SGD, in one run.

The plain loop is a tutorial's: PIL pictures, transforms, a DataLoader with a worker, a one-cycle schedule of
PLAIN_EPOCHS. Ours gets OUR_EPOCHS; it has won where it is as accurate and faster. Prints figures and keeps them in
results/bench/accuracy.csv. Takes CIFAR-10 from data/cifar10, and is skipped where that is absent.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F
from torchvision import transforms

from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.maths.confidence import interval
from pagoda.nets.architectures import build_seeded
from pagoda.nets.model import BaseClassifier
from steps import fetch, train
from tests.conftest import ROOT

SIGMA, PLAIN_EPOCHS, OUR_EPOCHS = 0.5, 1, 1
PICTURES = ROOT / "data" / "cifar10"


class Pictures(torch.utils.data.Dataset):
    """PIL pictures of a split, transformed one by one."""

    def __init__(self, split: Split, transform: transforms.Compose):
        self.split, self.transform, self.shown = split, transform, transforms.ToPILImage()

    def __len__(self):
        return len(self.split)

    def __getitem__(self, k):
        return self.transform(self.shown(self.split.pixels[k])), int(self.split.labels[k])


def plain(data: Path, device: torch.device) -> tuple[int, float]:
    """Train as a tutorial does; return the hits on the test pictures under noise, and the seconds of training."""
    began = time.perf_counter()
    augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    train_set, test = Split(data, "train"), Split(data, "test")
    loader = torch.utils.data.DataLoader(
        Pictures(train_set, transforms.Compose(augment)), 128, shuffle=True, num_workers=1
    )
    mean, std = train_set.description.mean, train_set.description.std
    torch.manual_seed(0)
    classifier = BaseClassifier(build_seeded(0, {"name": "resnet20"}, 10, 3), mean, std).to(device).train()
    optimiser = torch.optim.SGD(classifier.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=PLAIN_EPOCHS * len(loader))
    for _ in range(PLAIN_EPOCHS):
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            loss = F.cross_entropy(classifier(x + SIGMA * torch.randn_like(x)), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    seconds = time.perf_counter() - began
    classifier.eval()
    hits = 0
    with torch.inference_mode():
        for places in torch.arange(len(test)).split(500):
            x = test.images(places).to(device)
            seen = classifier(x + SIGMA * torch.randn_like(x)).argmax(dim=1).cpu()
            hits += int((seen == test.labels[places]).sum())
    return hits, seconds


def ours(data: Path, folder: Path) -> tuple[int, float]:
    """Train by the train step; return the same."""
    began = time.perf_counter()
    summary = train.run(
        train.Config(
            data=data, out=folder / "model.safetensors", architecture={"name": "airbench", "widths": [32, 64, 128]},
            model={"objective": "gaussian", "sigma": SIGMA}, epochs=OUR_EPOCHS, batch=500, flip=True, shift=2,
            optimiser={"name": "muon"}, label_smoothing=0.1,
        )
    )  # fmt: skip
    return round(summary["noisy_accuracy"] * summary["n"]), time.perf_counter() - began


def main() -> int:
    """Measure, print and keep; return an exit status."""
    if not PICTURES.is_dir():
        print(f"time to accuracy: skipped, no CIFAR-10 in {PICTURES.relative_to(ROOT)}")
        return 0
    device, rows = pick_device(), []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "dataset.json"
        fetch.run(fetch.Config(kind="cifar10", root=str(PICTURES), size=32, out=data))
        found = {
            f"ResNet-20, SGD, {PLAIN_EPOCHS} epoch(s)": plain(data, device),
            f"ours, {OUR_EPOCHS} epoch(s)": ours(data, Path(folder)),
        }
        n = len(Split(data, "test"))
    for who, (hits, seconds) in found.items():
        low, high = interval(hits, n)
        rows.append((who, f"{hits / n:.3f}", f"{low:.3f}", f"{high:.3f}", n, f"{seconds:.0f}"))
        print(f"{who:<30} accuracy under σ = {SIGMA}: {hits / n:.3f} [{low:.3f}, {high:.3f}], n = {n}; {seconds:.0f} s")
    (plain_hits, plain_seconds), (our_hits, our_seconds) = found.values()
    faster = f"at least {plain_seconds / our_seconds:.1f} times as fast"
    said = faster if our_hits >= plain_hits else "less accurate"
    print(f"ours is {said} (target 4); {device.type}, {torch.get_num_threads()} threads")
    path = ROOT / "results" / "bench" / "accuracy.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("who", "accuracy", "low", "high", "n", "seconds"), *rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
