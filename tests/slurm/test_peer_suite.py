"""Snakemake's own test-suite for executors, on the private SLURM."""

import os

import pytest
import snakemake.common.tests
from snakemake_executor_plugin_submitit import ExecutorSettings

from tests.conftest import ROOT
from tests.slurm.private import PrivateSlurm, why_not

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    # Snakemake's own, in this process.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    private = PrivateSlurm(tmp_path_factory.mktemp("slurm"))
    kept = dict(os.environ)
    try:
        private.start()
        os.environ.update(private.environment, PYTHONPATH=str(ROOT / "workflow" / "executor"))
        yield private
    finally:
        private.stop()
        os.environ.clear()
        os.environ.update(kept)


class TestSlurm(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    __test__ = True

    def get_executor(self) -> str:
        return "submitit"

    def get_executor_settings(self) -> ExecutorSettings:
        return ExecutorSettings(poll_seconds=1, lost_seconds=20)
