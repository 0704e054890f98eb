"""A private SLURM, one for all the tests of a process, and folders with rules to run on it."""

import getpass
import os

import pytest
from heads import Head
from private_slurm import PrivateSlurm, why_not

os.environ.pop("SNAKEMAKE_PROFILE", None)  # that of an activated environment


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with PrivateSlurm(tmp_path_factory.mktemp("slurm"), kill_beyond_memory=True) as private:
        yield private


@pytest.fixture
def project(tmp_path, cluster):
    """Writes a Snakefile; returns a head that runs it on the cluster, asks it often and soon gives a lost job up."""

    def write(rules: str) -> Head:
        (tmp_path / "Snakefile").write_text(rules)
        polling = ["--submitit-poll-seconds", "1", "--submitit-lost-seconds", "10"]
        return Head(tmp_path, cluster.environment, "--submitit-cluster", "slurm", "--jobs", "200", *polling)

    yield write
    cluster.run("scancel", f"--user={getpass.getuser()}")  # what a failed test left behind
