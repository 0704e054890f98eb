import pytest
import torch

from pagoda.errors import BadInput
from pagoda.nets.group import Group
from pagoda.nets.model import Identity
from pagoda.nets.training import Training
from pagoda.options.models import SGD

CPU = torch.device("cpu")
SMOOTHADV = {"name": "smoothadv", "sigma": 0.5, "epsilon": 0.5, "attack_steps": 2, "attack_step": 0.3, "draws": 2}
OBJECTIVES = {
    "gaussian": {"name": "gaussian", "sigma": 0.5},
    "smoothadv": SMOOTHADV | {"warmup": 0},
    "pag": {"name": "pag", "sigma": 0.25, "alignment": 5, "targets": 2},
}


def small_training(objective: str, batch: int = 21, micro_batch: int = 0, **changes) -> Training:
    """A training of a small network on pictures of 3 x 8 x 8, its batch norms in eval mode."""
    identity = Identity(
        architecture={"name": "airbench", "widths": [8, 16]},
        classes=("a", "b", "c"),
        channels=3,
        size=8,
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
        objective=OBJECTIVES[objective],
        seed=0,
        precision="float32",
        data="none",
        code="none",
        micro_batch=micro_batch,
    )
    schedule = {"steps_an_epoch": 4, "epochs": 2, "optimiser": SGD(name="sgd").values()}
    training = Training(identity, device=CPU, batch=batch, **schedule, **changes)
    training.classifier.eval()
    training.objective.means = torch.full((3, 3, 8, 8), 0.5) * torch.eye(3).view(3, 3, 1, 1)
    return training


def take_steps(training: Training, steps: int = 3, batch: int = 21) -> dict:
    """Take some steps on this process's rows of batches that anyone can make; return what has come of it."""
    for number in range(steps):
        source = torch.Generator().manual_seed(number)
        count = batch if number else 2  # a batch that leaves some of several processes without a row
        x = torch.rand(count, 3, 8, 8, generator=source)
        y = torch.randint(0, 3, (count,), generator=source)
        share = training.group.share
        training.step(x[share], y[share], count=count)
    return {"totals": training.totals, **training.classifier.network.state_dict()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_parts_of_a_batch_make_the_step_of_the_whole(objective):
    expected, found = (take_steps(small_training(objective, micro_batch=size)) for size in (0, 6))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_batch_norm_normalises_each_part_by_itself():
    training = small_training("gaussian", micro_batch=12)
    training.classifier.train()
    sizes = []
    training.classifier.network.groups[0].norm1.register_forward_hook(lambda module, x, y: sizes.append(len(y)))
    take_steps(training)
    assert sizes == [2, 12, 9, 12, 9]


def test_out_of_memory_stops_with_one_line_that_names_micro_batch():
    training = small_training("gaussian")

    def fail(network, arguments, result):
        if len(result) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it.")

    training.classifier.network.register_forward_hook(fail)
    with pytest.raises(
        BadInput, match=r"^train: memory .* 21 pictures at once: set a smaller micro_batch[^\n]*GiB.\)$"
    ):
        take_steps(training)


@pytest.mark.parametrize(
    ("sizes", "said"), [({}, "batch is 21"), ({"batch": 20, "micro_batch": 6}, "micro_batch is 6")]
)
def test_what_processes_cannot_share_equally_is_refused(sizes, said):
    with pytest.raises(BadInput, match=rf"^{said}: must be a multiple of 4, the processes that share it$"):
        small_training("gaussian", **sizes, group=Group(1, 4))


def test_a_training_goes_on_from_its_checkpoint_and_a_damaged_one_is_named(tmp_path):
    whole, path = small_training("gaussian"), tmp_path / "checkpoints" / "a.checkpoint"
    whole.restore(path)  # there is none
    take_steps(whole)
    whole.save(path)
    again = small_training("gaussian")
    again.restore(path)
    expected, found = take_steps(whole), take_steps(again)
    assert again.done == 6 and all(torch.equal(found[name], value) for name, value in expected.items())
    content = path.read_bytes()
    for damaged in (content[:-100], b""):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"^the checkpoint .*a\.checkpoint is damaged: remove it to train from scr"):
            again.restore(path)
