"""A step in several processes: torchrun's agent on each node of a SLURM allocation, or on this machine alone.

    python -m pagoda.run.launch --node 1 --nodes 2 --processes 8 --endpoint n1:29500 steps.train FLAGS ...

is one node's agent; `launch` starts those of all nodes and ends them together.
"""

import argparse
import dataclasses
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import torch

from pagoda.errors import BadInput
from pagoda.log import log_file
from pagoda.nets.group import check_gpus, end_with_parent

GRACE = 12
"""Seconds that processes have to save and stop: less than what the cluster gives to us."""


def launch(step: str, config: object, processes: int, nodes: int = 1) -> int:
    """Run a step in `processes` processes on each of `nodes` nodes, until all have ended; return its exit status.

    Told to stop (SIGTERM, SIGINT), it has them save and stop. Once one has failed, all are stopped.

    Args:
        step: its name, e.g. "train".
        config: its config, a dataclass.
        processes: on each node, one for each GPU.
        nodes: of the SLURM job that this is part of; 1 needs no SLURM.

    Raises:
        BadInput: for more processes than GPUs are visible, or other nodes than SLURM allocated.

    """
    check_gpus(processes)
    return start([f"steps.{step}", *flags_of(config)], processes, nodes_of(nodes))


def start(command: list[str], processes: int, others: list[str]) -> int:
    """Run a module, with its flags, as `launch` does, on this node and on the nodes `others`, with no checks."""
    endpoint = f"{socket.gethostname() if others else 'localhost'}:{_free_port()}"
    common = ["--nodes", len(others) + 1, "--processes", processes, "--endpoint", endpoint]
    common += ["--id", secrets.token_hex(8)]
    agent = [sys.executable, "-m", "pagoda.run.launch", *map(str, common)]
    told: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: told.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    # In sessions of their own: what is sent to our process group is ours to pass on, once.
    agents = [
        subprocess.Popen([*_on(node), *agent, "--node", str(number), *command], start_new_session=True)
        for number, node in enumerate([None, *others])
    ]
    try:
        status = _wait(agents, told)
    finally:
        for one in agents:
            if one.poll() is None:
                one.kill()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 128 + told[0] if told and status else status


def nodes_of(nodes: int) -> list[str]:
    """Return the names of the other nodes of the SLURM job that this is part of; `nodes` is how many it must have.

    Raises:
        BadInput: for more than one in no SLURM job, or for another number than SLURM allocated.

    """
    if nodes == 1:
        return []
    listed = os.environ.get("SLURM_JOB_NODELIST")
    if listed is None or shutil.which("srun") is None:
        raise BadInput(f"nodes is {nodes}, but this is no SLURM job: run with --profile slurm, or set nodes to 1")
    names = subprocess.run(["scontrol", "show", "hostnames", listed], capture_output=True, text=True, timeout=60)
    found = names.stdout.split()
    if len(found) != nodes:
        raise BadInput(f"nodes is {nodes}, but SLURM allocated {len(found)} to this job: {listed}")
    here = os.environ.get("SLURMD_NODENAME", found[0])
    return [name for name in found if name != here]


def flags_of(config: object) -> list[str]:
    """Return the flags of a step's command line that make `config`, and those of its log."""
    words = []
    for field in dataclasses.fields(config):
        flag, value = f"--{field.name.replace('_', '-')}", getattr(config, field.name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is not None:
            words.append(f"{flag}={value}")
    log = log_file()
    return words if log is None else [*words, f"--log={log}"]


def _on(node: str | None) -> list[str]:
    """Return what goes before a command that is to run on a node of this SLURM job; None: on this one."""
    if node is None:
        return []
    cores = os.environ.get("SLURM_CPUS_PER_TASK", "1")
    how = ["--overlap", "--nodes=1", "--ntasks=1", f"--cpus-per-task={cores}", "--input=none"]
    return ["srun", *how, f"--nodelist={node}"]


def _wait(agents: list[subprocess.Popen], told: list[int]) -> int:
    """Wait for all agents; return the exit status of the first that failed, else 0."""
    status, since, asked = 0, None, False
    while any(one.poll() is None for one in agents):
        failed = [one.returncode for one in agents if one.returncode]
        status = status or (failed[0] if failed else 0)
        if since is None and (told or failed):
            since = time.monotonic()
        if told and not asked:  # the first node's processes tell the others: all stop after the same step
            agents[0].terminate()
            asked = True
        # After the grace, and again: SLURM's srun ends its processes when it is told to.
        if since is not None and time.monotonic() - since > GRACE:
            for one in agents:
                if one.poll() is None:
                    one.terminate() if time.monotonic() - since < GRACE + 4 else one.kill()
            time.sleep(1)
        time.sleep(0.05)
    failed = [one.returncode for one in agents if one.returncode]
    status = status or (failed[0] if failed else 0)
    return 128 - status if status < 0 else status


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def agent(asked: argparse.Namespace) -> int:
    """Run one node's processes to their end, as torchrun does; return the exit status of the one that failed, else 0.

    It restarts none: the whole step goes on from its checkpoint when it is run again.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // asked.processes))
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=asked.nodes,
            max_nodes=asked.nodes,
            nproc_per_node=asked.processes,
            run_id=asked.id,
            rdzv_backend="static",
            rdzv_endpoint=asked.endpoint,
            rdzv_configs={"rank": asked.node},
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)("-m", *asked.command)
        except SignalException as told:
            return 128 + told.sigval
        except ChildFailedError as error:
            rank, first = min(error.failures.items(), key=lambda item: _consequence(item[1].exitcode))
            if first.exitcode >= 0:
                return first.exitcode
            name = signal.Signals(-first.exitcode).name
            print(f"error: {name} ended process {rank}; the same command goes on from its checkpoint", file=sys.stderr)
            return 128 - first.exitcode
    return 0


def _consequence(exit_code: int) -> int:
    """Rank how a process ended, the cause before its consequences: killed, failed, told to stop by the agent."""
    told = exit_code in (-signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT)
    return 2 if told else 0 if exit_code < 0 else 1


def _main() -> int:
    parser = argparse.ArgumentParser("python -m pagoda.run.launch", description="One node's processes of a step.")
    for name in ("node", "nodes", "processes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    logging.disable(logging.WARNING)  # torchrun's own, of signals that it passes on
    end_with_parent()
    return agent(parser.parse_args())


if __name__ == "__main__":
    sys.exit(_main())
