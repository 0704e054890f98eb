"""A view: a model, how it is smoothed, and what its ascents start from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """A model by name, sigma >= 0 (0: unsmoothed), and a start: "images", "seeds" or "noise"."""

    model: str
    sigma: float
    start: str = "images"

    @property
    def path(self) -> str:
        """Where its files lie below a stage's folder: "gaussian-0.5/sigma=0.5", ".../start=seeds"."""
        return f"{self.model}/sigma={self.sigma:g}" + ("" if self.start == "images" else f"/start={self.start}")

    @property
    def label(self) -> str:
        """What people call it: "standard, smoothed with σ = 0.5"."""
        smoothed = f"smoothed with σ = {self.sigma:g}" if self.sigma else "unsmoothed"
        return f"{self.model}, {smoothed}" + ("" if self.start == "images" else f", from {self.start}")
