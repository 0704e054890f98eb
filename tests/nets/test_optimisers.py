import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pagoda.errors import BadInput
from pagoda.nets.architectures import Airbench
from pagoda.nets.optimisers import Muon, make, orthogonalised
from pagoda.options.models import Muon as MuonOptions


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_orthogonalised_keeps_singular_vectors_and_brings_their_values_near_1(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    made = u.T @ orthogonalised(matrix) @ vh.T
    values = made.diagonal()
    assert s.max() / s.min() > 2 and values.min() > 0.5 and values.max() < 1.3
    assert (made - values.diag()).abs().max() < 1e-4


def test_muon_takes_the_steps_of_pytorch_s_on_a_matrix_whose_norm_it_keeps():
    source = torch.Generator().manual_seed(0)
    start = torch.randn(6, 4, 3, 3, generator=source)
    ours = nn.Parameter(start.clone())
    theirs = nn.Parameter(start.flatten(1))
    how = {"lr": 0.1, "momentum": 0.6}
    muon = Muon([ours], **how)
    reference = torch.optim.Muon([theirs], **how, weight_decay=0, ns_steps=3, adjust_lr_fn="original")
    for _ in range(3):
        with torch.no_grad():
            theirs.mul_(6**0.5 / theirs.norm())
        ours.grad = torch.randn(start.shape, generator=source)
        theirs.grad = ours.grad.flatten(1)
        muon.step()
        reference.step()
        assert torch.allclose(ours.flatten(1), theirs, atol=4e-3)  # theirs are in bfloat16


def test_muon_is_refused_where_there_are_no_matrices_to_step_along():
    with pytest.raises(BadInput, match="none before its head: use sgd"):
        make(MuonOptions(name="muon").values(), nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), steps=1)


def test_the_stem_whitens_pictures_under_noise():
    source, sigma = torch.Generator().manual_seed(0), torch.tensor([0.3, 0.8])
    x = F.avg_pool2d(torch.randn(400, 2, 20, 20, generator=source), 3, stride=1)
    network = Airbench(classes=3, channels=2, widths=[4])
    network.whiten(x, sigma**2)
    noisy = x + sigma.view(-1, 1, 1) * torch.randn(x.shape, generator=source)
    seen = F.conv2d(noisy, network.stem.weight).movedim(1, 0).flatten(1)
    first, negatives = seen.chunk(2)
    assert torch.allclose(first @ first.T / first.shape[1], torch.eye(8), atol=0.05)
    assert torch.equal(first, -negatives)
