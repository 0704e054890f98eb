"""Snakemake's own test-suite for executors, on the private SLURM and on this machine."""

import pytest
import snakemake.common.tests
from heads import PLUGIN
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


class TestSlurm(TestLocal):
    settings = ExecutorSettings(cluster="slurm", poll_seconds=1, lost_seconds=20)

    @pytest.fixture(autouse=True)
    def surroundings(self, cluster, monkeypatch):
        for name in ("PATH", "SLURM_CONF"):
            monkeypatch.setenv(name, cluster.environment[name])
        monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
