"""The pictures of an experiment: where they lie, and how they are cut."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from pagoda.data.classes import DATASETS
from pagoda.options.base import Expanded, Options, Share, option


def _both_sides(given: Any) -> tuple[int, int]:
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    try:
        found = tuple(int(side) for side in listed)
        if (
            len(found) not in (1, 2)
            or min(found) < 8
            or any(isinstance(one, bool) or float(one) != int(one) for one in listed)
        ):
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError("must be at least 8 (pixels), or [height, width], each at least 8") from None
    return found * 2 if len(found) == 1 else found


Sides = Annotated[
    tuple[int, ...],
    BeforeValidator(_both_sides),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 8}, {"type": "array", "items": {"type": "integer", "minimum": 8}}]}
    ),
]
Channels = Annotated[Literal[1, 3], BeforeValidator(lambda given: int(given) if given in ("1", "3") else given)]


class Dataset(Options):
    """Pictures, and how they are cut."""

    kind: Literal[tuple(DATASETS)] = option("where pictures come from")
    root: Expanded | None = option("folder of the pictures (all but digits; arrays: or a file .npz)", None)
    split: float = option("share of each class held out for testing (0: there are test pictures)", 0, ge=0, le=0.9)
    labels: str | None = option("imagefolder: table (.csv, .tsv: file, label) in root; huggingface: column", None)
    size: Sides = option("side of a picture, or [height, width], pixels")
    channels: Channels | None = option("1: grey, 3: colours (none: digits 1, others 3)", None)
    background: Share = option("grey level behind what is transparent; 1: white", 1)
    range: tuple[float, ...] = option("black and white of values that are not 8-bit (none: 16 bits have theirs)", ())
    storage: Literal["arrays", "files"] = option("arrays: decoded once; files: an index, for large ones", "arrays")
    resize: int | None = option("files: shorter side before the centre is cut out for testing, pixels", None, ge=8)
    mean: tuple[Share, ...] = option("of each channel (none: computed)", (), max_length=3)
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] = option(
        "standard deviation of each channel", (), max_length=3
    )
    strict: bool = option("refuse pictures that stand in train and in test, or under two labels", False)
    seed: int = option("of the order of pictures, and of the split", 0, ge=0)

    @property
    def planes(self) -> int:
        """The channels of its pictures: as asked, or as the kind has them."""
        return self.channels or DATASETS[self.kind].channels

    @property
    def below_root(self) -> tuple[str, str | None, str | None, float]:
        """What tells the classes: kind, root, labels, split."""
        return self.kind, self.root, self.labels, self.split
