"""The command line of a step, made from its Config dataclass, and the frame in which the step runs."""

import argparse
import dataclasses
import shlex
import signal
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path

from pagoda.errors import BadInput
from pagoda.log import logger, start_log
from pagoda.run.fingerprint import fingerprint


def option(help_text: str, **kwargs) -> typing.Any:
    """Return a dataclass field that `main` shows with `help_text`; `default=` makes it optional."""
    return dataclasses.field(metadata={"help": help_text}, **kwargs)


def main(step: str, config_type: type, run: Callable, argv: list[str] | None = None) -> typing.NoReturn:
    """Run a step as a command: parse its flags, open its log, check its code fingerprint, call run(config).

    Exits 0 when done, 2 on bad input or where memory does not suffice (one line says what), 1 on a defect of ours
    (with its traceback), and 128 + the signal's number when told to stop.
    """
    parser = _parser(step, config_type)
    flags = vars(parser.parse_args(argv))
    code, log_path = flags.pop("code"), flags.pop("log")
    # Stop as Ctrl-C does, so that `finally` and `with` clean up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        start_log(log_path)
        logger.info("%s", shlex.join(["python", "-m", f"steps.{step}", *(sys.argv[1:] if argv is None else argv)]))
        now = fingerprint(f"steps.{step}")
        if code not in (None, now):
            raise BadInput(
                f"--code is {code}, but the code of steps.{step} is now {now}: it was edited after the workflow had "
                "been planned; run snakemake again"
            )
        run(config_type(**flags))
    except BadInput as error:
        logger.error("error: %s", error)
        sys.exit(2)
    except KeyboardInterrupt:
        logger.error("interrupted")
        sys.exit(130)
    except Exception as error:
        from pagoda.memory import is_out_of_memory  # late: it imports PyTorch, which some steps do without

        if is_out_of_memory(error):
            said = (str(error).splitlines() or [type(error).__name__])[0]
            logger.error("error: memory does not suffice: a smaller batch takes less (%s)", said)
            sys.exit(2)
        logger.exception("error: a defect in Pagoda; please report it with what follows")
        sys.exit(1)
    sys.exit(0)


def _parser(step: str, config_type: type) -> argparse.ArgumentParser:
    # A list of files too long for a command line may stand in a file: --ascents @FILE, a path a line.
    parser = argparse.ArgumentParser(
        f"python -m steps.{step}",
        description=config_type.__doc__,
        allow_abbrev=False,
        fromfile_prefix_chars="@",
    )
    hints = typing.get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        optional = field.default is not dataclasses.MISSING
        settings: dict = {"help": field.metadata["help"]}
        if optional:
            settings |= {"default": field.default}
            settings["help"] += f" (default: {field.default})"
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            required=not optional,
            **settings,
            **_parsing(hints[field.name]),
        )
    parser.add_argument("--code", help="the code fingerprint that the step must have (default: any)")
    parser.add_argument("--log", type=Path, help="file for log lines (default: standard error)")
    return parser


def _parsing(hint: typing.Any) -> dict:
    if typing.get_origin(hint) is tuple:
        return {"nargs": "*", "type": typing.get_args(hint)[0], "action": _Tuple}
    if isinstance(hint, types.UnionType):  # X | None
        return {"type": next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": hint}


class _Tuple(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, tuple(values))
