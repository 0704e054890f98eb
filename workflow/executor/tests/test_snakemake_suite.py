"""Snakemake's own test-suite for executors, on the private SLURM and on this machine."""

import pytest
import snakemake.common.tests
from heads import PLUGIN
from private_slurm import PrivateSlurm, why_not
from snakemake_executor_plugin_submitit import ExecutorSettings

pytestmark = pytest.mark.filterwarnings("ignore")  # Snakemake's own, in this process


class TestLocal(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    __test__ = True
    settings = ExecutorSettings(cluster="local")

    @pytest.fixture(autouse=True)
    def surroundings(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(PLUGIN))

    def get_executor(self) -> str:
        return "submitit"

    def get_executor_settings(self) -> ExecutorSettings:
        return self.settings


@pytest.fixture(scope="module")
def lenient_cluster(tmp_path_factory):
    """One that lets jobs have more memory than they asked for, here 5 MB."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with PrivateSlurm(tmp_path_factory.mktemp("slurm")) as private:
        yield private


class TestSlurm(TestLocal):
    settings = ExecutorSettings(cluster="slurm", poll_seconds=1, lost_seconds=20)

    @pytest.fixture(autouse=True)
    def surroundings(self, lenient_cluster, monkeypatch):
        for name in ("PATH", "SLURM_CONF"):
            monkeypatch.setenv(name, lenient_cluster.environment[name])
        monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
