"""The command line of a step, made from its options, and the frame in which the step runs."""

import argparse
import resource
import shlex
import signal
import sys
import time
import typing
from collections.abc import Callable
from pathlib import Path

from pagoda.errors import BadInput
from pagoda.log import logger, start_log
from pagoda.options import Options
from pagoda.options.faults import bare, checked
from pagoda.run.fingerprint import fingerprint


def main(step: str, kind: type[Options], run: Callable, argv: list[str] | None = None) -> typing.NoReturn:
    """Run a step as a command: parse its options, open its log, check its code fingerprint, call run(options).

    Exits 0 when done, 2 on bad input or where memory does not suffice (one line says what), 1 on a defect of ours
    (with its traceback), and 128 + the signal's number when told to stop.
    """
    began = time.monotonic()
    given = vars(_parser(step, kind).parse_args(argv))
    code, log_path = given.pop("code"), given.pop("log")
    # Stop as Ctrl-C does, so that `finally` and `with` clean up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        start_log(log_path)
        logger.info("%s", shlex.join(["python", "-m", f"steps.{step}", *(sys.argv[1:] if argv is None else argv)]))
        options, faults = checked(kind, given)
        if options is None:
            raise BadInput("; ".join(line for _, line in faults))
        now = fingerprint(f"steps.{step}")
        if code not in (None, now):
            raise BadInput(
                f"--code is {code}, but the code of steps.{step} is now {now}: it was edited after the workflow had "
                "been planned; run snakemake again"
            )
        run(options)
        logger.info("took %.1f s, %.1f CPU-seconds, %.0f MB", time.monotonic() - began, *_used())
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


def _used() -> tuple[float, float]:
    """Return the CPU-seconds of this process and of those that it waited for, and the largest one's memory, in MB."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1024**2 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KB
    return sum(one.ru_utime + one.ru_stime for one in both), max(one.ru_maxrss for one in both) / unit


def _parser(step: str, kind: type[Options]) -> argparse.ArgumentParser:
    # A list of files too long for a command line may stand in a file: --ascents @FILE, a path a line.
    parser = argparse.ArgumentParser(
        f"python -m steps.{step}", description=kind.__doc__, allow_abbrev=False, fromfile_prefix_chars="@"
    )
    for name, field in kind.model_fields.items():
        default = "" if field.is_required() or field.default in (None, ()) else f" (default: {field.default})"
        parser.add_argument(
            "--" + (field.alias or name).replace("_", "-"),
            dest=field.alias or name,
            required=field.is_required(),
            default=argparse.SUPPRESS,
            help=f"{field.description}{default}".replace("%", "%%"),
            **_parsing(bare(field.annotation)),
        )
    parser.add_argument("--code", help="the code fingerprint that the step must have (default: any)")
    parser.add_argument("--log", type=Path, help="file for log lines (default: standard error)")
    return parser


def _parsing(kind: typing.Any) -> dict:
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(kind) is tuple:
        return {"nargs": "*"}
    if kind in (int, float, str, Path) or typing.get_origin(kind) is typing.Literal:
        return {}
    return {"type": _mapping}


def _mapping(text: str) -> typing.Any:
    """Read a mapping as config.yaml has it: {name: airbench, widths: [64, 128]}."""
    import yaml  # late: an ascent, of which there are many, does without

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no YAML: {error}") from None
