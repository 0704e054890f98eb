"""A model that the pipeline trained: certify, ascend, align, and look.

    python docs/examples/pipeline_model.py results/digits/train/gaussian-0.5/model.safetensors results/digits/fetch \
        [FIGURE.png]
"""

import sys
from pathlib import Path

import numpy as np

import pagoda

model, data = sys.argv[1], Path(sys.argv[2])
figure = sys.argv[3] if len(sys.argv) > 3 else "pipeline_model.png"

loaded = pagoda.load_model(model)
smoothed = pagoda.Smoothed(loaded, sigma=0.5)  # the model says how many classes it knows
classes, target = loaded.identity.classes, 3

images, labels = np.load(data / "test_images.npy")[:5] / 255, np.load(data / "test_labels.npy")[:5]
for label, certificate in zip(labels, smoothed.certify(images, n=1000), strict=True):
    said = "abstains" if certificate.prediction == pagoda.ABSTAIN else classes[certificate.prediction]
    print(f"label {classes[label]}: {said}, radius {certificate.radius:.2f}")

found = smoothed.ascend(images, target, epsilon=4, steps=20, draws=16)

train, train_labels = np.load(data / "train_images.npy"), np.load(data / "train_labels.npy")
means = np.stack([train[train_labels == k].mean(axis=0) / 255 for k in range(len(classes))])
for name, values in pagoda.align(smoothed, images, target, means, label=labels, end=found.end).items():
    print(f"{name}: {values.mean():.2f}")

pagoda.montage(
    [images, found.end],
    figure,
    labels=["source", f"towards {classes[target]}"],
    columns=[classes[label] for label in labels],
    caption=f"Ascents of epsilon 4 towards {classes[target]}; p_t {found.p_path[0].mean():.2f} at the start, "
    f"{found.p_path[-1].mean():.2f} at the end.",
)
print(f"wrote {figure}")
