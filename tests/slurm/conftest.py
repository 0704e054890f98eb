"""A private SLURM, that of the executor's own tests, for Pagoda's workflow."""

import pytest
from private_slurm import PrivateSlurm, why_not


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with PrivateSlurm(tmp_path_factory.mktemp("slurm"), kill_beyond_memory=True) as private:
        yield private
