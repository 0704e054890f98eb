"""A network of one's own: train it under noise, certify a picture, ascend towards another class, and look.

    python docs/examples/own_network.py [FIGURE.png]

Takes under a minute on a CPU: scikit-learn's digits, 8 x 8 pixels.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import pagoda

SIGMA = 0.25
figure = sys.argv[1] if len(sys.argv) > 1 else "own_network.png"

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16  # [1797, 1, 8, 8] in [0, 1]
labels = torch.tensor(digits.target)
train, test = slice(0, 1500), slice(1500, None)

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16, 10),
)  # fmt: skip
optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
for _ in range(6):
    for places in torch.randperm(1500).split(50):
        noisy = images[train][places] + SIGMA * torch.randn(len(places), 1, 8, 8)
        loss = nn.functional.cross_entropy(network(noisy), labels[train][places])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

smoothed = pagoda.Smoothed(network.eval(), sigma=SIGMA, classes=10)

picture, label = images[test][1], labels[test][1]
certificate = smoothed.certify(picture, n=2000)
print(f"label {label}: class {certificate.prediction} within an L2 radius of {certificate.radius:.2f}")
print(f"five pictures: {smoothed.predict(images[test][:5])}, labels {labels[test][:5].tolist()}")

sources = images[test][labels[test] != 3][:6]
found = smoothed.ascend(sources, target=3, epsilon=3, steps=20, draws=16)
print(f"p_3: {smoothed.score(sources, 3).mean():.2f} before, {smoothed.score(found.end, 3, seed=1).mean():.2f} after")

columns = [f"source {k}" for k in range(6)]
pagoda.montage([sources, found.end], figure, labels=["source", "towards 3"], columns=columns, title="Ascents towards 3")
print(f"wrote {figure}")
