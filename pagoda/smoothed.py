"""The smoothed classifier as an object: predict, certify, score, gradient, ascend. The paper in one screen.

A base classifier f (any network), smoothed by noise on the pixels, is the smoothed classifier

    g(x) = argmax_c P(f(x + noise) = c)            hard votes: `predict`, `certify`
    p_t(x) = E[softmax(f(x + noise))_t]            soft scores: `score`, `gradient`, `ascend`

with noise ~ N(0, sigma^2 I). Gradients of p_t align with what people see; certificates say how far g is constant.

The steps of the pipeline call the same functions of `pagoda.maths`, each only its own: what a step imports is what an
edit reruns.

Sources: Cohen, Rosenfeld & Kolter 2019 (arXiv 1902.02918); Salman et al. 2019 (arXiv 1906.04584); Kaur, Cohen & Lipton
2019 (arXiv 1910.08640).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from pagoda.errors import BadInput
from pagoda.log import logger
from pagoda.maths import ascent
from pagoda.maths.ascent import Ascended
from pagoda.maths.certification import RADII, Certificate, Count, Rule
from pagoda.maths.noise import Noise
from pagoda.maths.prediction import Poll
from pagoda.maths.smoothing import Work, count_votes
from pagoda.maths.soft import Classifier
from pagoda.nets.model import BaseClassifier, Loaded

Images = Tensor | np.ndarray
Target = int | Sequence[int] | Tensor | np.ndarray
Seed = int | tuple[int | float | str, ...]


class Smoothed:
    """A base classifier under Gaussian noise.

    Images are [B, C, H, W], or one [C, H, W], floats with values in [0, 1]: tensors on the network's device, or NumPy
    arrays. Results have the form of the images: of one image, the class, the certificate or the gradient itself; of B,
    B of them; NumPy for NumPy. What is computed is float32.

    Every draw of the noise is a function of `seed`, a number or a tuple of numbers and strings: image k of a call has
    the draws of (*seed, k), whatever the batch. `batch` is how many noisy images are in memory at once: it decides
    speed and memory alone.

    Args:
        network: the base classifier, in eval mode: an nn.Module (or another callable) from images in [0, 1], with
            noise added, to logits [B, classes]; normalisation is its own affair. Or what `pagoda.load_model` returns.
        sigma: standard deviation of the noise, in pixel values; 0 is the base classifier itself, for gradients and
            ascents.
        classes: how many classes it knows, >= 2; may be left out for networks of `pagoda.load_model` and
            `pagoda.import_checkpoint`, which say.

    Raises:
        BadInput: in one line (it is a ValueError), here and in all methods, for values out of range, a network in
            train mode or on another device than the images, and outputs that are not [B, classes].

    """

    def __init__(self, network: nn.Module | Classifier | Loaded, sigma: float, classes: int | None = None):
        """See the class."""
        self.network = network.classifier if isinstance(network, Loaded) else network
        if classes is None and isinstance(self.network, BaseClassifier):
            classes = len(self.network.classes) or None
        if classes is None:
            raise BadInput("classes is missing: this network does not say how many it knows")
        if classes < 2:
            raise BadInput(f"classes is {classes}: a classifier needs 2 at least")
        self.sigma, self.classes = sigma, classes
        Noise(sigma, 1, 1, ())  # checks sigma

    def predict(
        self, x: Images, *, n: int = 1000, alpha: float = 0.001, batch: int = 250, seed: Seed = 0
    ) -> int | list[int]:
        """Return g's class, or ABSTAIN (-1): PREDICT of Cohen et al. 2019.

        Args:
            x: images.
            n: draws, >= 1.
            alpha: chance that a class returned is not g's, in (0, 1).
            batch, seed: see the class.

        """
        images, form = self._images(x)
        polls = [Poll(n, alpha, self.classes) for _ in images]
        if polls[0].warning:
            logger.warning(polls[0].warning)
        return form([work.count.prediction for work in self._count_all(images, polls, batch, seed)])

    def certify(
        self,
        x: Images,
        *,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        mode: str = "fixed",
        radii: Sequence[float] = RADII,
        batch: int = 250,
        seed: Seed = 0,
    ) -> Certificate | list[Certificate]:
        """Return a class, or ABSTAIN, and the L2 radius within which g returns it: CERTIFY of Cohen et al. 2019.

        Args:
            x: images.
            n0: draws that select the class.
            n: fresh draws that bound its probability, at most.
            alpha: chance that a certificate is wrong, in (0, 1).
            mode: how many draws an image gets: "fixed", "grid" (as many as decide between `radii`) or "radius"; see
                `pagoda.maths.certification`.
            radii: of interest in grid mode, L2, in pixel values.
            batch, seed: see the class.

        """
        rule = Rule(mode, self.sigma, n0=n0, n=n, alpha=alpha, radii=tuple(radii))
        if rule.warning:
            logger.warning(rule.warning)
        images, form = self._images(x)
        counts = [Count(rule, self.classes) for _ in images]
        return form([work.count.certificate for work in self._count_all(images, counts, batch, seed)])

    def count(self, works: Iterable[Work], *, batch: int = 250) -> Iterator[Work]:
        """Count votes on images as they come, each until it has what it wants, and yield them in their order.

        What `predict` and `certify` are made of, for more images than fit into memory: each with a key, and its own
        `Count` (of a `Rule`) or `Poll`. Images that need fewer draws leave their place in the batch to the next.

        Raises:
            FloatingPointError: where a logit is not finite; it names the image.

        """
        if self.sigma == 0:
            raise BadInput("sigma is 0: a smoothed classifier needs noise, sigma > 0")
        Noise(self.sigma, 1, batch, ())  # checks the batch
        self._check_network()
        yield from count_votes(self._base, works, sigma=self.sigma, batch=batch)

    def score(self, x: Images, target: Target, *, draws: int = 64, batch: int = 256, seed: Seed = 0) -> Images:
        """Return p_t, the soft score of the target class: [B] in [0, 1].

        Args:
            x: images.
            target: a class number, or one an image.
            draws: of the noise, >= 1.
            batch, seed: see the class.

        """
        images, form = self._images(x)
        return form(ascent.log_score(*self._at(images, target), self._noise(draws, batch, seed)).exp())

    def gradient(self, x: Images, target: Target, *, draws: int = 64, batch: int = 256, seed: Seed = 0) -> Images:
        """Return the gradient of log p_t at `x`, [B, C, H, W]; arguments as `score`."""
        images, form = self._images(x)
        at = self._at(images, target)
        return form(ascent.log_score_and_gradient(*at, self._noise(draws, batch, seed))[1])

    def split_half(self, x: Images, target: Target, *, draws: int = 64, batch: int = 256, seed: Seed = 0) -> Images:
        """Return the cosine of two independent gradients, [B]: near 1 where `draws` suffice. Arguments as `score`."""
        images, form = self._images(x)
        return form(ascent.split_half(*self._at(images, target), self._noise(draws, batch, seed))[1])

    def ascend(
        self,
        x: Images,
        target: Target,
        *,
        epsilon: float,
        steps: int = 60,
        step: float = 0.1,
        draws: int = 64,
        frames: int = 6,
        batch: int = 256,
        seed: Seed = 0,
        watch: Callable[[int], None] = lambda done: None,
    ) -> Ascended:
        """Ascend log p_t from `x` within an L2 ball, and return the ends, p_t along the way, and some frames of it.

        Args:
            x: images to start from and to stay near.
            target: a class number, or one an image.
            epsilon: radius of the ball, L2, in pixel values, > 0.
            steps: how many, >= 1; step i has the noise of (*seed, i).
            step: length of a step, as a fraction of epsilon, > 0.
            draws: of the noise, a step.
            frames: images to keep along the way, the start and the end included.
            batch, seed: see the class.
            watch: called as watch(steps done) after every step.

        Raises:
            FloatingPointError: where p_t is not finite.

        """
        for name, value in {"epsilon": epsilon, "step": step}.items():
            if not 0 < value < float("inf"):
                raise BadInput(f"{name} is {value:g}: must be above 0")
        for name, value in {"steps": steps, "frames": frames}.items():
            if value < 1:
                raise BadInput(f"{name} is {value}: must be at least 1")
        images, form = self._images(x)
        at, noise = self._at(images, target), self._noise(draws, batch, seed)
        found = ascent.ascend(*at, noise, epsilon=epsilon, step=step * epsilon, steps=steps, frames=frames, watch=watch)
        of_steps = {name: form(getattr(found, name), 1) for name in ("p_path", "frames", "gradients")}
        return replace(found, end=form(found.end), **of_steps)

    def _base(self, x: Tensor) -> Tensor:
        logits, wanted = self.network(x), (len(x), self.classes)
        found = getattr(logits, "shape", type(logits).__name__)
        if found != wanted:
            raise BadInput(f"the network returned {_shape(found)} for {len(x)} images: {_shape(wanted)} is needed")
        return logits

    def _check_network(self) -> None:
        if isinstance(self.network, nn.Module) and any(part.training for part in self.network.modules()):
            raise BadInput("the network is in train mode, in which images change one another's logits: call .eval()")

    def _device(self) -> torch.device | None:
        """Return where the network is; None where it has no tensors that say."""
        if not isinstance(self.network, nn.Module):
            return None
        first = next(self.network.parameters(), next(self.network.buffers(), None))
        return None if first is None else first.device

    def _images(self, x: Images) -> tuple[Tensor, Callable]:
        """Return images as float32 [B, C, H, W], and a function that gives results along an axis the form of `x`."""
        self._check_network()
        device = self._device()
        images = x.detach() if isinstance(x, Tensor) else torch.tensor(np.asarray(x), device=device)
        many = images.dim() == 4
        if not (many or images.dim() == 3) or not images.numel():
            raise BadInput(f"images are {_shape(images.shape)}: [C, H, W] or [B, C, H, W] is needed")
        if not images.is_floating_point():
            raise BadInput(f"images are {images.dtype}: floats in [0, 1] are needed (of bytes, x / 255)")
        if device not in (None, images.device):
            raise BadInput(f"images are on {images.device}, but the network is on {device}")
        low, high = images.min().item(), images.max().item()
        if not (low >= 0 and high <= 1):
            raise BadInput(f"pixel values reach from {low:g} to {high:g}: they must lie in [0, 1]")

        def form(result: list | Tensor, axis: int = 0) -> object:
            if isinstance(result, list):
                return result if many else result[0]
            result = result if many else result.select(axis, 0)
            return result if isinstance(x, Tensor) else result.cpu().numpy()

        return (images if many else images.unsqueeze(0)).float(), form

    def _at(self, images: Tensor, target: Target) -> tuple[Classifier, Tensor, Tensor]:
        """Return the base classifier, the images, and the target classes as int64 [B]."""
        targets = torch.as_tensor(target, device=images.device)
        if targets.is_floating_point() or targets.numel() not in (1, len(images)) or targets.dim() > 1:
            raise BadInput(f"target is {target}: a class number is needed, or {len(images)}, one an image")
        if targets.min() < 0 or targets.max() >= self.classes:
            raise BadInput(f"target is {target}: classes are 0 to {self.classes - 1}")
        return self._base, images, targets.long().expand(len(images))

    def _noise(self, draws: int, batch: int, seed: Seed) -> Noise:
        return Noise(self.sigma, draws, batch, _key(seed))

    def _count_all(self, images: Tensor, counts: list, batch: int, seed: Seed) -> Iterator[Work]:
        works = (
            Work(image, (*_key(seed), k), count, f"image {k}")
            for k, (image, count) in enumerate(zip(images, counts, strict=True))
        )
        return self.count(works, batch=batch)


def _key(seed: Seed) -> tuple:
    return seed if isinstance(seed, tuple) else (seed,)


def _shape(shape: object) -> str:
    return f"[{', '.join(map(str, shape))}]" if isinstance(shape, tuple) else str(shape)
