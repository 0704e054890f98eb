"""The Snakemake that runs on the node: ``python -m snakemake_executor_plugin_submitit.inner -m snakemake ...``.

A rule's own `retries` are the outer Snakemake's, which submits the job anew with the resources of the next attempt. The
inner one is called with ``--retries 0``, but a rule's own number wins over that: it would try again in the same job,
with the same memory.
"""

import gc
import sys


def main() -> None:
    """Run Snakemake on this process's arguments, with every rule tried once."""
    gc.disable()  # imports leave no garbage: a tenth of their time
    from snakemake import cli, rules

    gc.enable()
    rules.Rule.restart_times = property(lambda rule: 0, lambda rule, times: None)
    sys.argv[:] = ["snakemake", *sys.argv[3:]]  # without "-m snakemake"
    cli.main()


if __name__ == "__main__":
    main()
