"""The Snakemake that runs on the node: ``python -m snakemake_executor_plugin_submitit.inner -m snakemake ...``.

A rule's own `retries` are the outer Snakemake's, which submits the job anew with the resources of the next attempt. The
inner one is called with ``--retries 0``, but a rule's own number wins over that: it would try again in the same job,
with the same memory. So would those that it starts itself, for a `run:` in a group: they are called like this one.

It makes no report and keeps no record of what was done, so it imports neither what makes reports nor SQLAlchemy: two
thirds of its start. There is no limit of jobs in a second: Snakemake would not end before that second is over.
"""

import contextlib
import gc
import re
import sys
from types import ModuleType
from typing import Any

NAME = "snakemake_executor_plugin_submitit.inner"
NEWEST = (9, 27)
"""The newest Snakemake of which it is known that `Record` serves it."""


class Record:
    """Stands in for SQLModel in Snakemake's records of what was done: on the node they are read, if at all."""

    @classmethod
    def model_validate(cls, fields: dict[str, Any]) -> "Record":
        """Return the record with these fields; others are as the class says."""
        record = cls()
        vars(record).update(fields)
        return record


def import_without_sql() -> None:
    """Import Snakemake's records without SQLAlchemy, which any other import gets after this."""
    import snakemake
    import snakemake.exceptions
    import snakemake.settings.types  # what `persistence` imports too, but for SQLAlchemy: plugins may want the real one

    version = re.match(r"(\d+)\.(\d+)", snakemake.__version__)
    if not version or tuple(map(int, version.groups())) > NEWEST or "sqlalchemy" in sys.modules:
        return
    stand_ins = {
        "sqlalchemy": {"Column": lambda kind: None, "JSON": None},
        "sqlmodel": {"SQLModel": Record, "Field": lambda default_factory=lambda: None, **_: default_factory()},
        "snakemake.persistence.db": {"DbPersistence": None},
    }
    for name, content in stand_ins.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    import snakemake.persistence

    del sys.modules["sqlalchemy"], sys.modules["sqlmodel"]


def main() -> None:
    """Run Snakemake on this process's arguments, with every rule tried once."""
    gc.disable()  # imports leave no garbage: a tenth of their time
    import_without_sql()
    from snakemake import cli, rules
    from snakemake.executors import local
    from snakemake_interface_report_plugins.registry import ReportPluginRegistry

    ReportPluginRegistry.collect_plugins = lambda registry: setattr(registry, "plugins", {})
    gc.enable()
    rules.Rule.restart_times = property(lambda rule: 0, lambda rule, times: None)
    local.Executor.get_python_executable = lambda executor: f"{sys.executable} -m {NAME}"
    with contextlib.suppress(ImportError):  # of another Snakemake: then a job ends a second later
        from snakemake.scheduling.job_scheduler import JobScheduler

        JobScheduler.job_rate_limiter = property(lambda scheduler: None, lambda scheduler, limiter: None)
    sys.argv[:] = ["snakemake", *sys.argv[3:]]  # without "-m snakemake"
    cli.main()


if __name__ == "__main__":
    main()
