"""What is wrong with options, in lines that say where a value stands, what it is and what is allowed."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import Tag, ValidationError

from pagoda.options.base import Options

Kind = TypeVar("Kind", bound=Options)
SAID = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must not have more entries than {max_length}",
    "string_pattern_mismatch": "must match {pattern}",
}
"""By Pydantic's names of errors."""
NAMES = {"int": "an integer", "float": "a number", "bool": "true or false", "string": "text", "tuple": "a list"}
NAMES |= {"model": "a mapping (key: value)", "dict": "a mapping (key: value)"}


def checked(kind: type[Kind], value: Any, where: str = "") -> tuple[Kind | None, list[tuple[tuple, str]]]:
    """Return `value` as options of a kind, or None, and what is wrong with it: places (keys and numbers) and lines.

    Args:
        kind: the class of options.
        value: names and values, as YAML or a command line has them.
        where: what goes before the place in a line, e.g. "config.experiments.digits".

    """
    faults = [(place, "must not be true or false") for place in _truth_values(kind, value, ())]
    try:
        found = kind.model_validate(value)
    except ValidationError as error:
        found = None
        faults += [fault for one in error.errors() if (fault := _fault(kind, value, one))]
    lines = [(place, _line(where, place, value, said)) for place, said in dict(faults).items()]
    return (None if lines else found), lines


def _line(where: str, place: tuple, value: Any, said: str) -> str:
    path = ".".join(filter(None, [where, *map(str, place)]))
    if said == "is missing":
        return f"{path} {said}"
    if said.startswith("must "):
        for key in place:
            value = value[key]
        return f"{path} is {value if _is_number(value) else repr(value)}: {said}"
    return f"{path}: {said}" if path else said


def _is_number(value: Any) -> bool:
    try:
        float(value)  # a command line has numbers as strings
    except (TypeError, ValueError):
        return False
    return True


def _fault(kind: Any, value: Any, error: dict) -> tuple[tuple, str] | None:
    """Return the place of one of Pydantic's errors, and what is wrong there; None for one that follows from another."""
    place, inner = _place(kind, value, error["loc"])
    context, name = error.get("ctx", {}), error["type"]
    match name:
        case "missing":
            return place, "is missing"
        case "extra_forbidden":
            known = sorted(field.alias or key for key, field in inner.model_fields.items())
            return place, f"unknown key; known are {', '.join(known)}"
        case "literal_error":
            return place, f"must be one of {', '.join(map(str, get_args(bare(inner))))}"
        case "union_tag_invalid":
            tags = context["expected_tags"].replace("'", "")
            return (*place, context["discriminator"].strip("'")), f"must be one of {tags}"
        case "union_tag_not_found":
            return (*place, context["discriminator"].strip("'")), "is missing"
        case "too_short" if len(error["input"]) >= context["min_length"]:  # its members are at fault
            return None
        case "value_error":
            return place, str(context["error"])
    if name in SAID:
        return place, SAID[name].format_map(
            {key: f"{v:g}" if isinstance(v, float) else v for key, v in context.items()}
        )
    return place, f"must be {NAMES.get(name.split('_')[0], error['msg'])}"


def _place(kind: Any, value: Any, loc: tuple) -> tuple[tuple, Any]:
    """Return an error's place in `value`, without the tags of unions, and what is expected there (or around it)."""
    place: list = []
    for key in loc:
        kind = bare(kind)
        if get_origin(kind) in (Union, UnionType):
            kind = next(one for one in get_args(kind) if key in _tags(one))
            continue
        inner = _member(kind, key)
        place.append(key)
        kind = kind if inner is None else inner
    return tuple(place), kind


def bare(kind: Any) -> Any:
    """Return a type without its annotations, and without None as an alternative."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        others = [one for one in get_args(kind) if one is not type(None)]
        if len(others) == 1:
            return bare(others[0])
    return kind


def _member(kind: Any, key: Any) -> Any:
    """Return the type of a member of a type, or None where it has no such member."""
    if isinstance(kind, type) and issubclass(kind, Options):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        return fields[key].annotation if key in fields else None
    return get_args(kind)[0] if get_origin(kind) is tuple else None


def _tags(kind: Any) -> set:
    """Return the tags by which Pydantic names a member of a union."""
    tags = {one.tag for one in get_args(kind)[1:] if isinstance(one, Tag)} if get_origin(kind) is Annotated else set()
    fields = bare(kind).model_fields.values()
    return tags.union(
        *(get_args(f.annotation) for f in fields if f.is_required() and get_origin(f.annotation) is Literal)
    )


def _truth_values(kind: Any, value: Any, place: tuple) -> Iterator[tuple]:
    """Yield the places of true and false where a number is wanted: Pydantic takes them for 1 and 0."""
    kind = bare(kind)
    if isinstance(value, bool) and kind in (int, float):
        yield place
    if get_origin(kind) in (Union, UnionType) and isinstance(value, dict):
        given = {str(one) for one in value.values()} | ({"factory"} & set(value))
        kind = next((bare(one) for one in get_args(kind) if _tags(one) & given), kind)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if (member := _member(kind, key)) is not None:
            yield from _truth_values(member, inner, (*place, key))
