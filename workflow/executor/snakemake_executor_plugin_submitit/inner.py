"""The Snakemake that runs on the node: ``python -m snakemake_executor_plugin_submitit.inner -m snakemake ...``.

A rule's own `retries` are the outer Snakemake's, which submits the job anew with the resources of the next attempt. The
inner one is called with ``--retries 0``, but a rule's own number wins over that: it would try again in the same job,
with the same memory.

It makes no report, so that it need not import what makes them (a third of its start); and there is no limit of jobs in
a second: Snakemake would not end before that second is over.
"""

import contextlib
import gc
import sys


def main() -> None:
    """Run Snakemake on this process's arguments, with every rule tried once."""
    gc.disable()  # imports leave no garbage: a tenth of their time
    from snakemake import cli, rules
    from snakemake_interface_report_plugins.registry import ReportPluginRegistry

    ReportPluginRegistry.collect_plugins = lambda registry: setattr(registry, "plugins", {})
    gc.enable()
    rules.Rule.restart_times = property(lambda rule: 0, lambda rule, times: None)
    with contextlib.suppress(ImportError):  # of another Snakemake: then a job ends a second later
        from snakemake.scheduling.job_scheduler import JobScheduler

        JobScheduler.job_rate_limiter = property(lambda scheduler: None, lambda scheduler, limiter: None)
    sys.argv[:] = ["snakemake", *sys.argv[3:]]  # without "-m snakemake"
    cli.main()


if __name__ == "__main__":
    main()
