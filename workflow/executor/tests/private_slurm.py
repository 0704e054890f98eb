"""A private SLURM on loopback in one folder: munge, MariaDB, slurmdbd, slurmctld and two slurmd. Root, no container.

python private_slurm.py COMMAND ...    runs a command on one, then shows what accounting says of its jobs
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sacctmgr")
PACKAGES = "slurm-wlm slurmdbd mariadb-server munge"


def why_not() -> str | None:
    """Return why a private SLURM can't run here, or None."""
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=search) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install {PACKAGES}"
    return None if os.geteuid() == 0 else "a private SLURM is started as root"


class PrivateSlurm:
    """A cluster of two nodes, n1 and n2, with the partitions `main` and (higher priority) `urgent`; a context manager.

    There are no cgroups: it is SLURM itself that watches memory.
    """

    def __init__(
        self,
        folder: Path,
        kill_beyond_memory: bool = False,
        max_array_size: int = 61,
        cores: int = 4,
        beside: "PrivateSlurm | None" = None,
    ):
        """Keep everything in `folder`; nothing is started yet.

        `cores` are those that each node claims. A second cluster, `other`, stands `beside` the first, `private`: it has
        the same munge and slurmdbd.
        """
        self.folder, self.max_array_size, self.cores, self.beside = folder, max_array_size, cores, beside
        self.name = "other" if beside else "private"
        self.gather = "JobAcctGatherParams=OverMemoryKill\n" if kill_beyond_memory else ""
        self.processes: dict[str, subprocess.Popen] = {}
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
        }

    def __enter__(self) -> Self:
        """Start all daemons and wait, at most 90 s each, until the nodes are idle."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the jobs that a failed test left behind, which would outlive the daemons, and stop all daemons."""
        self.run("scancel", "--user=root")
        with contextlib.suppress(TimeoutError):
            self.wait_for(lambda: not self.run("squeue", "-h"))
        self.stop()

    def _start(self) -> None:
        for name in ("state", "spool-n1", "spool-n2", "log", "db", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if self.beside is None:
            self._munge()
            self._database()
        else:
            self.dbd_port = self.beside.dbd_port
        self.write_config()
        self.must("sacctmgr", "-i", "add", "cluster", self.name)
        self.daemon("slurmctld", "slurmctld", "-D")
        for node in ("n1", "n2"):
            self.daemon(node, "slurmd", "-D", "-N", node)
        self.wait_for(lambda: set(self.run("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"})

    def stop(self, *names: str) -> None:
        """Stop the daemons named, or all of them, the last started first."""
        for name in names or list(reversed(self.processes)):
            process = self.processes.pop(name)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def run(self, *words: str) -> str:
        """Return what a SLURM command prints; empty where it fails or takes more than 20 seconds."""
        try:
            done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=20)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    def must(self, *words: str) -> None:
        """Run a command that everything after it needs, for two minutes at most. Raises RuntimeError with its words."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {(done.stderr or done.stdout)[-600:]}")

    def daemon(self, name: str, *words: str) -> None:
        """Start a daemon, its output in log/."""
        with (self.folder / "log" / f"{name}.out").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder
            )

    def kill(self, name: str) -> None:
        """Kill a daemon at once."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def wait_for(self, met, seconds: float = 90) -> None:
        """Wait until met() is true. Raises TimeoutError with the ends of the logs."""
        until = time.monotonic() + seconds
        while not met():
            if time.monotonic() > until:
                tails = [f"{p.name}: {p.read_text(errors='replace')[-600:]}" for p in (self.folder / "log").iterdir()]
                raise TimeoutError("\n".join(tails))
            time.sleep(0.1)

    @property
    def _socket(self) -> Path:
        return (self.beside or self).folder / "run" / "munge.socket"

    def _munge(self) -> None:
        key = self.folder / "run" / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        places = {"key-file": key, "socket": self._socket}
        places |= {f"{name}-file": self.folder / "run" / f"munge.{name}" for name in ("pid", "log", "seed")}
        flags = [f"--{name}={path}" for name, path in places.items()]
        self.daemon("munged", "munged", "--foreground", "--force", *flags)
        self.wait_for(self._socket.exists)

    def _database(self) -> None:
        data, place = self.folder / "db", self.folder / "run" / "db.socket"
        # Where it starts, MariaDB removes all temporary tables in /tmp, those of others that start just now too. And it
        # need not wait for the disk: nothing of it is to last.
        ways = (f"--tmpdir={self.folder}/run", "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync")
        self.must(
            *("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", f"--datadir={data}"),
            *("--skip-test-db", *ways),
        )
        port = free_port()
        self.daemon(
            *("mariadbd", "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={place}", *ways),
            *(f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder}/run/db.pid"),
        )
        statements = "create database slurm; create user slurm@'127.0.0.1' identified by 'private';"
        statements += " grant all on slurm.* to slurm@'127.0.0.1'; select 'done';"
        client = ("mariadb", "--no-defaults", f"--socket={place}", "--user=root", "--execute", statements)
        self.wait_for(lambda: "done" in self.run(*client))
        self.dbd_port = free_port()
        config = self.folder / "slurmdbd.conf"
        config.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self._socket}\nDbdHost=localhost\nDbdPort={self.dbd_port}\n"
            f"SlurmUser=root\nPidFile={self.folder}/run/slurmdbd.pid\nLogFile={self.folder}/log/slurmdbd.log\n"
            f"StorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\nStoragePort={port}\nStorageUser=slurm\n"
            "StoragePass=private\nStorageLoc=slurm\n"
        )
        config.chmod(0o600)
        self.daemon("slurmdbd", "slurmdbd", "-D")
        self.wait_for(lambda: answers(self.dbd_port))

    def write_config(self) -> None:
        """Write slurm.conf: two nodes on this host."""
        host, run = socket.gethostname().split(".")[0], self.folder / "run"
        ports = [free_port() for _ in range(3)]
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={self.cores} RealMemory={8000 * self.cores} Gres=gpu:2"
            for name, port in zip(("n1", "n2"), ports[1:], strict=True)
        )
        for number in (0, 1):  # SLURM wants character devices; nothing opens them
            subprocess.run(["mknod", self.folder / f"gpu{number}", "c", "195", str(number)], check=True)
        (self.folder / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={self.folder}/gpu[0-1]\n")
        (self.folder / "slurm.conf").write_text(
            f"ClusterName={self.name}\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={ports[0]}\n"
            f"SlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={self._socket}\n"
            f"StateSaveLocation={self.folder}/state\nSlurmdSpoolDir={self.folder}/spool-%n\n"
            f"SlurmctldPidFile={run}/slurmctld.pid\nSlurmdPidFile={run}/slurmd-%n.pid\n"
            f"SlurmctldLogFile={self.folder}/log/slurmctld.log\nSlurmdLogFile={self.folder}/log/slurmd-%n.log\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nReturnToService=2\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory\nSlurmdParameters=config_overrides\n"
            "JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=1\n"
            f"{self.gather}AccountingStorageEnforce=associations,limits,qos\nMaxArraySize={self.max_array_size}\n"
            "SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1\n"
            f"AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n"
            f"AccountingStoragePort={self.dbd_port}\nAccountingStoragePass={self._socket}\n"
            "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\nKillWait=10\nMinJobAge=60\n"
            f"GresTypes=gpu\n{nodes}\n"
            "PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 DefMemPerCPU=1000\n"
            "PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 DefMemPerCPU=1000\n"
        )


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Tell whether something listens at `port` of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(command: list[str]) -> int:
    """Run a command on a private SLURM, print what accounting says, and return the command's exit status."""
    if (reason := why_not()) is not None:
        print(f"no private SLURM: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, PrivateSlurm(Path(folder)) as cluster:
        status = subprocess.run(command, env=cluster.environment).returncode
        print(cluster.run("sacct", "-X", "--format=JobID%12,JobName%60,State%12,Elapsed,AllocCPUS,ReqMem,NodeList"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
