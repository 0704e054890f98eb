# Finds the library and the steps beside this workflow, and reads the config files more strictly than Snakemake. No rules.

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

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

from pagoda.errors import BadInput
from pagoda.options.check import check_config, experiments_to_run, read_strictly


def refuse(message):
    """Stop Snakemake with one line that says what is wrong and what is allowed."""
    raise WorkflowError(message)


try:
    if MAIN:
        for path in (Path("config.yaml"), *workflow.overwrite_configfiles):
            if path.is_file():
                read_strictly(path)
except BadInput as fault:
    refuse(str(fault))
