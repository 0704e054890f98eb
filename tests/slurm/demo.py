"""`make slurm-demo`: the digits experiment with `--profile slurm` on a private SLURM, then what accounting says."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.private import PrivateSlurm, why_not


def main() -> int:
    """Start the cluster, run, show, stop; return Snakemake's exit status."""
    if (reason := why_not()) is not None:
        print(f"no private SLURM: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        cluster = PrivateSlurm(Path(folder))
        try:
            cluster.start()
            # The fake GPUs of the private nodes are none: the steps find no CUDA and take the CPU.
            command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *(sys.argv[1:] or ["digits"])]
            status = subprocess.run(command, env=cluster.environment).returncode
            print(cluster.run("sacct", "-X", "--format=JobID%12,JobName%60,State%12,Elapsed,AllocCPUS,ReqMem,NodeList"))
        finally:
            cluster.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())
