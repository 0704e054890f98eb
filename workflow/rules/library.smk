# Finds the library and the steps beside this workflow, reads the config files more strictly than Snakemake, and has
# faults be one line. No rules.

import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

MAIN = workflow.modifier.parent_modifier is None  # else this is a module of another workflow

ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
# Steps are planned and run with the Python that runs Snakemake (a conda environment goes before it where one is asked
# for), and found from any folder: this workflow may be a module of another.
sys.path.insert(0, str(ROOT))
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    # Huge pages: steps on a CPU make and drop large tensors all the time, and page faults would take a third of it.
    "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
}

if not os.access(os.path.expanduser("~"), os.W_OK):  # Matplotlib would list the fonts anew in each step
    os.environ.setdefault("MPLCONFIGDIR", os.path.abspath(".snakemake/matplotlib"))

from pagoda.errors import BadInput
from pagoda.options.check import check_config, experiments_to_run, read_strictly

REFUSED = []  # lines that have been said


def refuse(message):
    """Stop Snakemake with one line that says what is wrong and what is allowed."""
    REFUSED.append(message)
    raise WorkflowError(message)


def one_line(record):
    """Have a fault's account be that line, without the wildcards and the traceback that Snakemake puts around it."""
    if getattr(record, "event", None) == LogEvent.ERROR:
        said = [message for message in REFUSED if message.splitlines()[0] in str(record.msg)]
        if said:
            record.msg = f"error: {said[-1]}"
        elif missing := re.search("to produce (.*?) [(]if you use", str(record.msg)):
            record.msg = f"error: {no_rule_makes(missing[1])}"
    return True


if MAIN:
    logger.addFilter(one_line)


try:
    if MAIN:
        for path in (Path("config.yaml"), *workflow.overwrite_configfiles):
            if path.is_file():
                read_strictly(path)
except BadInput as fault:
    refuse(str(fault))
