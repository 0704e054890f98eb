"""What can be set on the command line and in a profile."""

from dataclasses import dataclass, field

from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

CLUSTERS = ("auto", "slurm", "local", "debug")


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Settings on the command line, as ``--submitit-max-array-size``."""

    cluster: str = field(
        default="auto",
        metadata={"help": "slurm; local: this machine's cores and GPUs; debug: in-process; auto: slurm where there is"},
    )
    max_array_size: int = field(default=500, metadata={"help": "jobs in one SLURM array at most"})
    max_running: int = field(default=256, metadata={"help": "tasks of one array that run at once at most"})
    max_timeouts: int = field(default=3, metadata={"help": "times a job is requeued at its time limit"})
    signal_seconds: int = field(default=90, metadata={"help": "seconds before its limit in which a job saves its work"})
    poll_seconds: int = field(default=10, metadata={"help": "seconds between two looks at SLURM"})
    lost_seconds: int = field(default=120, metadata={"help": "seconds after which a job SLURM forgot is given up"})
    efficiency: str = field(
        default="", metadata={"help": "a CSV to write at the end: what each rule used of what it asked for"}
    )
