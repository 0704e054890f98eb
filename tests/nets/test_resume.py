import torch

from pagoda.nets.resume import Checkpoints


def save(folder, *progress):
    checkpoints = Checkpoints(folder, "abc")
    checkpoints.load()
    for number in progress:
        checkpoints.save({"progress": number, "value": torch.full((3,), float(number))})


def test_the_newest_checkpoint_is_loaded_and_the_one_before_it_kept(tmp_path):
    save(tmp_path, 1, 2, 3)
    save(tmp_path, 4)
    assert Checkpoints(tmp_path, "abc").load()["progress"] == 4
    assert len(list(tmp_path.glob("*.checkpoint"))) == 2


def test_a_torn_checkpoint_gives_way_to_the_one_before_it(tmp_path):
    save(tmp_path, 1, 2)
    newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    content = newest.read_bytes()
    for torn in (content[:-10], content[:5], b"", content[:-1] + bytes([content[-1] ^ 1])):
        newest.write_bytes(torn)
        assert Checkpoints(tmp_path, "abc").load()["progress"] == 1
    save(tmp_path, 5)  # takes the torn one's place
    assert Checkpoints(tmp_path, "abc").load()["progress"] == 5


def test_checkpoints_of_another_config_are_not_taken(tmp_path):
    save(tmp_path, 1)
    assert Checkpoints(tmp_path, "other").load() is None
