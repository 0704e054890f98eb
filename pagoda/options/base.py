"""What every option has: a type, a range, a default, a help, and whether it decides speed alone.

Nothing heavy is imported by `pagoda.options`: Snakemake reads it on every call.
"""

import os.path
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from pagoda.data.names import composed


def option(help_text: str, default: Any = ..., *, speed: bool = False, **range_or_alias: Any) -> Any:
    """Return an option: its help, default (none: it must be given) and range (`ge`, `gt`, `le`, `lt`, `min_length`).

    `speed`: it decides speed and memory alone, no result; a change reruns nothing.
    """
    return Field(default, description=help_text, json_schema_extra={"speed": True} if speed else None, **range_or_alias)


class Options(BaseModel):
    """Options by name: typed, checked, frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True, protected_namespaces=()
    )

    @classmethod
    def speed(cls) -> set[str]:
        """Return the names of the options that decide speed alone."""
        return {name for name, field in cls.model_fields.items() if field.json_schema_extra}

    def values(self, *, speed: bool = False, leave_out: Iterable[str] = ()) -> dict[str, Any]:
        """Return the options that decide results (or those that decide speed), as plain values, None left out."""
        others = self.speed() if not speed else set(type(self).model_fields) - self.speed()
        return self.model_dump(mode="json", exclude={*others, *leave_out}, exclude_none=True, by_alias=True)


def _each_once(values: tuple) -> tuple:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} stands twice")
    return values


Unique = AfterValidator(_each_once)
ClassName = Annotated[str, AfterValidator(composed)]
Count = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[\w.+-]+$")]
Expanded = Annotated[str, AfterValidator(os.path.expanduser)]
Precision = Literal["auto", "float32", "bfloat16"]
