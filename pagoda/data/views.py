"""A view: what is looked at by ascending: a model, smoothed or not, and what the ascents start from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """A model by name, the standard deviation of the noise that smooths it (0: unsmoothed), and where ascents start.

    `start` is "images" (test images of other classes), "seeds" (the target class's Gaussian) or "noise".
    """

    model: str
    sigma: float
    start: str = "images"

    @property
    def path(self) -> str:
        """Where its files lie below the folder of a stage: gaussian-0.5/sigma=0.5, …/start=seeds."""
        return f"{self.model}/sigma={self.sigma:g}" + ("" if self.start == "images" else f"/start={self.start}")

    @property
    def label(self) -> str:
        """What figures call it: "gaussian-0.5, smoothed with σ = 0.5", "standard, unsmoothed, from seeds"."""
        smoothed = f"smoothed with σ = {self.sigma:g}" if self.sigma else "unsmoothed"
        return f"{self.model}, {smoothed}" + ("" if self.start == "images" else f", from {self.start}")
