"""`make bench`: ascending, training and decoding beside plain loops and public peers, in one run on one machine.

Prints figures and keeps them in results/bench/speed.csv. Pictures are random, the weights too: neither decides a speed
(but that of decoding: JPEG files are smooth and of ImageNet's usual size).
Every contender has a turn in each of ROUNDS rounds, and its best one counts, so that a busy machine is one for all.
"""

import csv
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from pagoda.data.batches import Augmentation, epoch_order, stream
from pagoda.data.dataset import Pictures, Split, write_dataset
from pagoda.device import pick_device
from pagoda.nets.architectures import build_seeded
from pagoda.nets.model import BaseClassifier, load_model, save_model
from pagoda.nets.training import Training
from pagoda.options.models import SGD
from pagoda.smoothed import Smoothed
from steps import fetch
from tests.bench.certification import PEERS
from tests.bench.rates import MEAN, SIGMA, STD, flops, identity, matmul_rate, rates
from tests.conftest import ROOT

NETS = {"resnet20": (32, 16, 16, 6), "resnet50": (224, 1, 8, 2)}
"""By architecture: side of a picture, sources, draws, steps."""
TRAINED = {"resnet20": (32, 2560, 128), "resnet50": (224, 64, 16)}
"""By architecture: side of a picture, pictures of a turn, batch."""


def main() -> int:
    """Measure, print and keep; return an exit status."""
    rows: list[tuple[str, str, str]] = []
    device = pick_device()
    with tempfile.TemporaryDirectory() as folder:
        for name in NETS:
            rows += ascending(name, Path(folder), device)
        for name in TRAINED:
            rows += training(name, Path(folder), device)
        rows += decoding(Path(folder) / "files")
    width = max(len(row[0]) for row in rows)
    for what, value, how in rows:
        print(f"{what:<{width}}  {value:>8}  {how}")
    path = ROOT / "results" / "bench" / "speed.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("figure", "value", "how"), *rows])
    print(f"kept in {path.relative_to(ROOT)}")
    return 0


def ascending(name: str, folder: Path, device: torch.device) -> list[tuple[str, str, str]]:
    """Return source-steps times draws a second: a plain loop, the attacks of ART and of robustness, ours."""
    size, sources, draws, steps = NETS[name]
    network = build_seeded(0, {"name": name}, 10, 3)
    path = folder / name / "model.safetensors"
    save_model(path, network, identity(name, size, device))
    loaded = load_model(path, device)
    plain = BaseClassifier(network, MEAN, STD).eval().to(device)
    x = torch.rand(sources, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    target = torch.zeros(sources, dtype=torch.int64, device=device)
    ball, smoothed = {"epsilon": 4.0, "steps": steps, "draws": draws}, Smoothed(loaded, SIGMA)
    work = sources * steps * draws
    contenders = {
        "plain loop": (work, lambda: plain_ascent(plain, x, target, sigma=SIGMA, step=0.4, **ball)),
        "ours": (work, lambda: smoothed.ascend(x, target, step=0.1, **ball)),
    }
    peers = {"ART": art_attack, "robustness": robustness_attack}
    missing = {}
    for who, attack in peers.items():
        try:
            contenders[who] = (work, attack(plain, x, target, steps, draws))
        except ImportError as error:
            missing[who] = f"not installed: {error}"
    found = rates(contenders)
    how = f"{device.type}, {name}, {size} px, {sources} sources, N = {draws}, {torch.get_num_threads()} threads"
    share = found["ours"] * flops(plain, x[:1]) / matmul_rate(device, loaded.identity.precision)
    return [
        *((f"ascend {name}, source-steps x draws a second, {who}", f"{rate:.0f}", how) for who, rate in found.items()),
        *((f"ascend {name}, {who}", "-", why) for who, why in missing.items()),
        (f"ascend {name}, ours / plain loop", f"{found['ours'] / found['plain loop']:.2f}", "target 2.5 on a CPU"),
        (f"ascend {name}, FLOPs of the rate of matrix products", f"{share:.2f}", "target 0.6 on a GPU, resnet50"),
    ]


def plain_ascent(classifier, x, target, *, sigma, epsilon, step, steps, draws) -> torch.Tensor:
    """Ascend as a first draft does: a picture at a time, its draws in a batch, backward through all, float32."""
    ends = []
    for source, label in zip(x, target, strict=True):
        at = source.clone()
        for _ in range(steps):
            at.requires_grad_(True)
            noisy = at + torch.randn(draws, *at.shape, device=at.device) * sigma
            score = classifier(noisy).softmax(dim=1)[:, label].mean().log()
            score.backward()
            with torch.no_grad():
                moved = at + step * at.grad / at.grad.norm() - source
                at = (source + moved * (epsilon / moved.norm()).clamp_max(1)).clamp(0, 1)
        ends.append(at)
    return torch.stack(ends)


def art_attack(classifier, x, target, steps: int, draws: int) -> Callable[[], object]:
    """Return a turn of ART's targeted L2 attack on as many noisy copies. Raises ImportError where it is not there."""
    sys.path.append(str(PEERS))
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    peer = PyTorchClassifier(
        model=classifier, loss=torch.nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]), nb_classes=10,
        clip_values=(0, 1),
    )  # fmt: skip
    attack = ProjectedGradientDescentPyTorch(
        peer, norm=2, eps=4.0, eps_step=0.4, max_iter=steps, targeted=True, batch_size=256, verbose=False
    )
    copies = x.repeat_interleave(draws, dim=0).cpu().numpy()
    labels = np.eye(10)[target.repeat_interleave(draws).cpu().numpy()]
    return lambda: attack.generate(copies, labels)


def robustness_attack(classifier, x, target, steps: int, draws: int) -> Callable[[], object]:
    """Return a turn of the robustness package's targeted L2 attack, as `art_attack` does."""
    sys.path.append(str(PEERS))
    from robustness.attacker import AttackerModel

    data = SimpleNamespace(mean=torch.tensor(MEAN), std=torch.tensor(STD))
    peer = AttackerModel(classifier.network, data).eval().to(x.device)
    copies, labels = x.repeat_interleave(draws, dim=0), target.repeat_interleave(draws)
    values = {"constraint": "2", "eps": 4.0, "step_size": 0.4, "iterations": steps, "targeted": True}

    def turn():
        # It calls .cuda() on its input: on a machine without a GPU, that is to do nothing.
        with patch.object(torch.Tensor, "cuda", lambda tensor: tensor.to(x.device)):
            return [
                peer.attacker(part, label, use_best=False, **values)
                for part, label in zip(copies.split(256), labels.split(256), strict=True)
            ]

    return turn


def training(name: str, folder: Path, device: torch.device) -> list[tuple[str, str, str]]:
    """Return images a second of training under noise: a plain loop with a DataLoader, and ours."""
    size, n, batch = TRAINED[name]
    random = np.random.default_rng(0)
    pictures = Pictures(random.integers(0, 256, (n, 3, size, size), np.uint8), random.integers(0, 10, n))
    write_dataset(
        folder / "dataset.json", {"train": pictures, "test": pictures}, kind="random", classes=tuple("0123456789"),
        channels=3, size=size, storage="arrays", root="", mean=MEAN, std=STD,
    )  # fmt: skip
    split = Split(folder / "dataset.json", "train")
    ours = Training(
        identity(name, size, device), device=device, batch=batch, steps_an_epoch=n // batch, epochs=10,
        optimiser=SGD(name="sgd").values(),
    )  # fmt: skip
    ours.classifier.train()

    def our_turn():
        for x, y in stream(
            split, lambda epoch: epoch_order(n, batch, 0, epoch), device=device, steps=n // batch,
            augmentation=Augmentation(True, 4),
        ):  # fmt: skip
            ours.step(x, y)

    found = rates({"plain loop": (n, plain_training(name, pictures, batch, device)), "ours": (n, our_turn)})
    precision = ours.identity.precision
    how = f"{device.type}, {name}, {size} px, batch {batch}, ours {precision}, {torch.get_num_threads()} threads"
    rows = [(f"train {name}, images a second, {who}", f"{rate:.3g}", how) for who, rate in found.items()]
    ratio = found["ours"] / found["plain loop"]
    return [*rows, (f"train {name}, ours / plain loop", f"{ratio:.2f}", "target 2 on a CPU")]


def plain_training(name: str, pictures: Pictures, batch: int, device: torch.device) -> Callable[[], None]:
    """Return a turn of training as a tutorial has it: PIL pictures, transforms, a DataLoader with a worker, float32."""
    from torchvision import transforms

    augment = transforms.Compose(
        [
            transforms.RandomCrop(pictures.images.shape[2], padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return len(pictures.labels)

        def __getitem__(self, k):
            return augment(Image.fromarray(pictures.images[k].transpose(1, 2, 0))), int(pictures.labels[k])

    loader = torch.utils.data.DataLoader(Data(), batch, shuffle=True, num_workers=1)
    classifier = BaseClassifier(build_seeded(0, {"name": name}, 10, 3), MEAN, STD).to(device).train()
    optimiser = torch.optim.SGD(classifier.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def turn():
        total = 0.0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            loss = F.cross_entropy(classifier(x + torch.randn_like(x) * SIGMA), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()

    return turn


def decoding(folder: Path) -> list[tuple[str, str, str]]:
    """Return pictures a second: a worker of torchvision's ImageFolder, one of ours; epochs begun anew, and a stream."""
    from torchvision import datasets, transforms

    count, epochs, workers, batch, device = 64, 5, 2, 16, torch.device("cpu")
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        (folder / split / "a").mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (47, 63, 3), np.uint8)
            Image.fromarray(pixels).resize((500, 375)).save(folder / split / "a" / f"{number}.JPEG", quality=90)
    fetch.run(
        fetch.Config(
            kind="imagefolder", root=str(folder), size=224, resize=256, storage="files", mean=MEAN, std=STD,
            out=folder / "dataset.json",
        )
    )  # fmt: skip
    split, augmentation = Split(folder / "dataset.json", "train"), Augmentation(flip=True, crop=True)
    shown = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
    drawn = transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    )

    def order(epoch):
        return epoch_order(count, batch, 0, epoch)

    def ours(drawing, epoch=0, workers=0):
        first, steps = (len(order(0)) * k for k in (epoch, epoch + 1))
        made = stream(split, order, device=device, first=first, steps=steps, augmentation=drawing, workers=workers)
        return list(made)

    def streamed():
        for _ in stream(
            split, order, device=device, augmentation=augmentation, steps=epochs * count // batch, workers=workers,
        ):  # fmt: skip
            pass

    def theirs(transform):
        peer = datasets.ImageFolder(folder / "train", transform)
        return lambda: list(torch.utils.data.DataLoader(peer, batch))

    found = rates(
        {
            "train, torchvision": (count, theirs(drawn)),
            "train, ours": (count, lambda: ours(augmentation)),
            "test, torchvision": (count, theirs(shown)),
            "test, ours": (count, lambda: ours(None)),
        }
    )
    loops = rates(
        {
            "a DataLoader an epoch": (
                epochs * count,
                lambda: [len(ours(augmentation, epoch, workers)) for epoch in range(epochs)],
            ),
            "stream": (epochs * count, streamed),
        }
    )
    how = "JPEG, 500 x 375 to 224 x 224"
    ratio = loops["stream"] / loops["a DataLoader an epoch"]
    return [
        *((f"decode, pictures a second and worker, {who}", f"{rate:.0f}", how) for who, rate in found.items()),
        *(
            (
                f"decode, pictures a second, {who}",
                f"{rate:.0f}",
                f"{how}, {epochs} epochs of {count}, {workers} workers",
            )
            for who, rate in loops.items()
        ),
        ("decode, stream / a DataLoader an epoch", f"{ratio:.2f}", "target above 1"),
    ]


if __name__ == "__main__":
    sys.exit(main())
