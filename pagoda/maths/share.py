"""Which rows of a batch one of several processes takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The part of process `rank` (0 ... of - 1) of the `of` processes that share each batch; (0, 1): the whole."""

    rank: int = 0
    of: int = 1

    def rows(self, count: int) -> slice:
        """Return its rows of a batch of `count`: contiguous, of equal size where `of` divides `count`, else ±1."""
        return slice(self.rank * count // self.of, (self.rank + 1) * count // self.of)
