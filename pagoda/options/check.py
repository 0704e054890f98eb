"""config.yaml checked, and its JSON schema. One line a fault, all faults at once.

    python -m pagoda.options.check            every option: default, range, help
    python -m pagoda.options.check --schema   the JSON schema, from which editors complete

`defaults` holds what every experiment has that says nothing else: sections are merged, all else is replaced.
"""

import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import create_model

from pagoda.errors import BadInput
from pagoda.options.base import Options
from pagoda.options.contradictions import contradictions
from pagoda.options.experiment import Experiment
from pagoda.options.faults import checked


def _optional(field: Any) -> tuple:
    field = copy.copy(field)
    field.default = None if field.is_required() else field.default
    return field.annotation, field


BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
Sections = create_model("Sections", __base__=Options, **{k: _optional(f) for k, f in Experiment.model_fields.items()})
"""An experiment of which any section may be missing."""


def read_strictly(path: Path) -> None:
    """Read a YAML file for what Snakemake does not tell of: the line of a fault, and keys that stand twice.

    Raises:
        BadInput: a line a fault, with the file and the line.

    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise BadInput(f"{path}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from None
    if lines := [f"{path}, line {line}: key {key!r} stands twice" for line, key in _repeated(root)]:
        raise BadInput("\n".join(lines))


def _repeated(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for number, (key, value) in enumerate(node.value):
            if key.value in keys[:number]:
                yield key.start_mark.line + 1, key.value
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)


def check_config(config: dict) -> dict[str, Experiment]:
    """Return the experiments of a config by name, with `defaults` merged in.

    Args:
        config: what config.yaml and the command line say.

    Raises:
        BadInput: a line a fault: where it stands, the value, what is allowed.

    """
    known = ("run", "defaults", "experiments")
    lines = [f"config.{key}: unknown key; known are {', '.join(known)}" for key in config if key not in known]
    experiments, defaults = (config.get(key) or {} for key in ("experiments", "defaults"))
    for key, value in (("experiments", experiments), ("defaults", defaults)):
        if not isinstance(value, dict):
            raise BadInput("\n".join([*lines, f"config.{key} is {value!r}: must be a mapping (name: value)"]))
    if not experiments:
        lines.append("config.experiments: must have at least one experiment")
    lines += [
        f"config.run: unknown experiment {name!r}; known are {', '.join(map(str, experiments))}"
        for name in experiments_to_run(config)
        if name not in list(experiments)  # a list: what stands there may be anything
    ]
    of_defaults = [line for place, line in checked(Sections, defaults)[1] if _has(defaults, place)]
    lines += [f"config.defaults.{line}" for line in of_defaults]
    found = {}
    for name, own in experiments.items():
        where = f"config.experiments.{name}"
        if not re.fullmatch(r"[a-zA-Z_][\w-]*", str(name)):
            lines.append(f"{where}: an experiment's name must be letters, digits, - and _, the first a letter or _")
        if not isinstance(own, dict):
            lines.append(f"{where} is {own!r}: must be a mapping (section: options)")
            continue
        given = merged(defaults, own)
        found[name], faults = checked(Experiment, given, where)
        lines += [line for _, line in faults if line.removeprefix(f"{where}.") not in of_defaults]
        unsound = {place[0] for place, _ in faults}
        sections = vars(Sections.model_validate({k: v for k, v in given.items() if k not in unsound}))
        lines += [
            f"{'.'.join([where, *map(str, place)])}{_joint(said)}{said}" for place, said in contradictions(sections)
        ]
    if lines:
        raise BadInput("\n".join(lines))
    return found


def experiments_to_run(config: dict) -> list[str]:
    """Return what `run` names: a list, or one name as `--config run=digits` has it."""
    run = config.get("run") or []
    return run if isinstance(run, list) else [run]


def merged(defaults: dict, own: dict) -> dict:
    """Return `own` with what only `defaults` have: sections are merged, all else is replaced, as is an architecture."""
    shared = {
        key: merged(value, own[key])
        for key, value in defaults.items()
        if key != "architecture" and isinstance(value, dict) and isinstance(own.get(key), dict)
    }
    return defaults | own | shared


def _has(value: Any, place: tuple) -> bool:
    try:
        for key in place:
            value = value[key]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _joint(said: str) -> str:
    return " " if said.startswith("is ") else ": "


def _sections() -> dict:
    """Return the JSON schemas of an experiment and its sections by name.

    Nothing is required in them: `defaults` may have what a section lacks. Null is left out, as an option is.
    """
    found = Sections.model_json_schema(by_alias=True)
    return _plain({"Experiment": {key: found[key] for key in ("type", "properties")}} | found["$defs"])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value if one != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {{"oneOf": "anyOf"}.get(k, k): _plain(v) for k, v in value.items() if k not in ("speed", "required")}
    if isinstance(kept.get("title"), str):  # else an option of that name
        del kept["title"]
    if kept.get("default", 0) in (None, []) or isinstance(kept.get("default"), dict):  # those of a section stand there
        del kept["default"]
    return kept.pop("anyOf")[0] | kept if len(kept.get("anyOf", ())) == 1 else kept


def schema() -> str:
    """Return the JSON schema of config.yaml, from which editors complete: in YAML, a line an option."""
    one = "{$ref: '#/$defs/Experiment'}"
    lines = [
        "# Of config.yaml. Made by `python -m pagoda.options.check --schema`.",
        "$schema: https://json-schema.org/draft/2020-12/schema",
        "type: object",
        "additionalProperties: false",
        "properties:",
        "  run: {type: array, items: {type: string}}",
        f"  defaults: {one}",
        f"  experiments: {{type: object, additionalProperties: {one}}}",
        "$defs:",
    ]
    for name, section in _sections().items():
        lines += [f"  {name}:", f"    additionalProperties: {json.dumps(name == 'Factory')}", "    properties:"]
        lines += [
            f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in section["properties"].items()
        ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Return every option of an experiment, a line each: its place, default, range and help."""
    lines = []
    for name, section in _sections().items():
        lines += ["", f"{name.removesuffix('Section').lower()}: {section.get('description', '')}"]
        for option, found in section["properties"].items():
            choice = found.get("enum", [found["const"]] if "const" in found else [])
            bounds = [f"{word} {found[key]:g}" for key, word in BOUNDS.items() if key in found]
            default = [f"default {json.dumps(found['default'])}"] if "default" in found else []
            notes = "; ".join([*([f"one of {', '.join(map(str, choice))}"] if choice else []), *bounds, *default])
            lines.append(f"  {option:<20} {found.get('description', '')}{f' ({notes})' if notes else ''}")
    return "\n".join(lines).strip()


if __name__ == "__main__":
    sys.stdout.write(schema() if sys.argv[1:] == ["--schema"] else reference() + "\n")
