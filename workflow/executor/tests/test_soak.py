"""A short soak: `soak.py` has the long one."""

from itertools import islice

from soak import Soak


def test_nothing_is_lost_or_run_beside_itself_while_everything_goes_wrong(cluster, tmp_path):
    soak = Soak(cluster, tmp_path / "work", jobs=16, seed=7)
    found = soak.run(seconds=500)
    assert (found["outputs"], found["beside_themselves"]) == (16, 0), found
    planned = islice(soak.schedule(), len(soak.happened))
    assert soak.happened and [name for name, _ in planned] == soak.happened
