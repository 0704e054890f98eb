"""A short soak: `soak.py` has the long one."""

from soak import Soak


def test_nothing_is_lost_or_run_beside_itself_while_everything_goes_wrong(cluster, tmp_path):
    found = Soak(cluster, tmp_path / "work", jobs=16, seed=7).run(seconds=500)
    assert (found["outputs"], found["beside_themselves"]) == (16, 0), found
