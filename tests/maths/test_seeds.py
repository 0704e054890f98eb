import numpy as np
import torch

from pagoda.maths.seeds import RIDGE, class_seeds


def test_seeds_have_the_mean_and_the_covariance_of_their_class():
    """Against NumPy's own covariance of correlated pictures that no clamping touches."""
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(9, 9, generator=random) * 0.02
    pictures = (0.5 + torch.randn(60, 9, generator=random) @ mixing).view(60, 1, 3, 3)
    seeds = class_seeds([pictures[:7], pictures[7:]], 40_000, (0,)).flatten(1).numpy()
    expected = np.cov(pictures.flatten(1).numpy(), rowvar=False) + RIDGE * np.eye(9)
    assert np.allclose(seeds.mean(axis=0), pictures.flatten(1).mean(dim=0), atol=1e-3)
    assert np.abs(np.cov(seeds, rowvar=False) - expected).max() < 0.03 * expected.max()


def test_seeds_of_large_pictures_are_fitted_at_a_quarter_of_the_side():
    pictures = torch.rand(5, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    seeds = class_seeds([pictures], 2, (0,))
    assert torch.allclose(class_seeds(pictures.split(2), 1, (0,)), seeds[:1], atol=1e-6)
    blocks = seeds.view(2, 3, 32, 4, 32, 4)
    assert (blocks == blocks[:, :, :, :1, :, :1]).all() and seeds.min() >= 0 and seeds.max() <= 1
