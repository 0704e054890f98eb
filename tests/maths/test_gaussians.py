import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.covariance import ledoit_wolf

from pagoda.errors import BadInput
from pagoda.maths.alignment import best_match, contrast, radial_spectrum, share_within, with_spectrum
from pagoda.maths.gaussians import Gaussian, fit_gaussian
from pagoda.maths.noise import Noise
from pagoda.nets.gaussians import ClassGaussians, bayes_cosines


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def covariance(one):
    basis = one.basis.double()
    whole = torch.eye(len(one.mean), dtype=torch.float64) * one.rest
    return (whole + basis.T @ torch.diag(one.variance.double() - one.rest) @ basis).numpy()


@pytest.mark.parametrize("n", [12, 200])  # fewer pictures than values, and more
def test_the_covariance_is_that_of_ledoit_and_wolf(n):
    pictures = drawn(n, 1, 5, 6) @ drawn(6, 6, seed=1) + 0.5
    one = fit_gaussian(pictures, rank=1000)
    expected, shrinkage = ledoit_wolf(pictures.flatten(1).double().numpy())
    assert np.allclose(covariance(one), expected, atol=1e-4) and one.shrinkage == pytest.approx(shrinkage, abs=1e-6)
    assert np.allclose(one.mean, pictures.flatten(1).mean(dim=0), atol=1e-6)


def test_few_components_keep_the_largest_and_the_whole_variance():
    pictures = drawn(500, 1, 4, 4) * torch.tensor([3.0, 1, 1, 0.1])
    whole, few = (fit_gaussian(pictures, rank) for rank in (16, 5))
    assert len(few.variance) == 5 and torch.allclose(few.variance, whole.variance[:5], rtol=1e-4)
    assert np.trace(covariance(few)) == pytest.approx(np.trace(covariance(whole)), rel=1e-5)
    assert few.tangent <= 5 < whole.tangent


def test_pixels_that_never_change_and_one_picture_twice_are_no_fault():
    same = fit_gaussian(torch.full((3, 1, 2, 2), 0.5), 4)
    assert len(same.variance) == 0 and same.rest == 0
    classifier = ClassGaussians.of([same, fit_gaussian(drawn(9, 1, 2, 2), 4)], channels=1, sigma=0.5)
    assert classifier(drawn(3, 1, 2, 2)).isfinite().all()
    with pytest.raises(BadInput, match="a class has 1 of the pictures .* it takes 2 at least"):
        fit_gaussian(drawn(1, 1, 2, 2), 4)


@pytest.fixture(scope="module")
def three():
    """Three classes in 12 values, all their components kept, and their parameters for NumPy."""
    fitted = [fit_gaussian(drawn(40 + 9 * k, 3, 2, 2, seed=k) * (0.2 + 0.1 * k) + 0.2 * k, 12) for k in range(3)]
    return ClassGaussians.of(fitted, channels=3, sigma=0.4), fitted


def test_logits_are_the_log_densities_of_scipy_and_the_inverse_that_of_numpy(three):
    classifier, fitted = three
    z, v = drawn(5, 3, 2, 2, seed=7), drawn(3, 12, seed=8)
    counts = np.array([one.n for one in fitted])
    noisy = [covariance(one) + 0.16 * np.eye(12) for one in fitted]
    logs = np.stack(
        [stats.multivariate_normal(one.mean, s).logpdf(z.flatten(1)) for one, s in zip(fitted, noisy, strict=True)], 1
    ) + np.log(counts / counts.sum())
    found = classifier(z).detach().numpy()
    assert np.allclose(found - found[:, :1], logs - logs[:, :1], atol=1e-3)
    solved = [np.linalg.inv(s) @ u for s, u in zip(noisy, v.double().numpy(), strict=True)]
    assert np.allclose(classifier.solve(v), solved, atol=1e-4)


def test_the_gradient_over_draws_is_the_mean_of_autograds(three):
    classifier, _ = three
    x, noise = drawn(3, 2, 2, seed=9), Noise(0.4, 40, 16, (1,))
    found = classifier.gradients(x, noise, 0)
    z = torch.cat([copies[0] for copies in noise.copies(x[None], 0)]).requires_grad_(True)
    for c in range(3):
        (slopes,) = torch.autograd.grad(classifier(z).log_softmax(dim=1)[:, c].sum(), z)
        assert torch.allclose(found[c], slopes.mean(dim=0), atol=1e-4)


def test_gradients_are_finite_differences_of_the_log_posterior(three):
    classifier, _ = three
    x, step = drawn(3, 2, 2, seed=11), 1e-2
    moved = step * torch.eye(x.numel()).view(-1, *x.shape)
    ahead, behind = (classifier(x + by).log_softmax(dim=1) for by in (moved, -moved))
    found = classifier.gradients(x, Noise(0, 1, 1, (0,)), 0).flatten(1)
    assert torch.allclose(found, ((ahead - behind) / (2 * step)).T, atol=2e-3 * float(found.abs().max()))


def test_two_gaussians_in_two_dimensions_by_quadrature():
    """Averaged over the noise, against the derivative of an integral over a grid."""
    basis, sigma, x = torch.eye(2), 0.5, np.array([0.3, 0.1])
    parts = [([0.0, 0.0], [0.3, 0.05]), ([0.8, 0.2], [0.1, 0.2])]
    fitted = [Gaussian(torch.tensor(mean), basis, torch.tensor(variance), 0.0, 0.0, 1, 10) for mean, variance in parts]
    classifier = ClassGaussians.of(fitted, channels=1, sigma=sigma)
    densities = [stats.multivariate_normal(mean, np.diag(variance) + sigma**2 * np.eye(2)) for mean, variance in parts]

    def log_p(at):
        logs = np.stack([density.logpdf(at) for density in densities])
        return logs[1] - np.logaddexp(*logs)

    def smoothed(at):
        grid = np.linspace(-6 * sigma, 6 * sigma, 401)
        u, v = np.meshgrid(grid, grid, indexing="ij")
        values = (
            log_p(np.stack([at[0] + u, at[1] + v], axis=-1)) * stats.norm(0, sigma).pdf(u) * stats.norm(0, sigma).pdf(v)
        )
        return integrate.simpson(integrate.simpson(values, x=grid), x=grid)

    step = 1e-4
    slope = [(smoothed(x + e) - smoothed(x - e)) / (2 * step) for e in step * np.eye(2)]
    noise = Noise(sigma, 200_000, 100_000, (0,))
    found = classifier.gradients(torch.tensor(x, dtype=torch.float32).view(1, 1, 2), noise, 0)[1].flatten()
    assert np.allclose(found, slope, atol=0.02)


def test_under_much_noise_it_points_to_the_class_mean_and_away_from_the_others(three):
    _, fitted = three
    sigma, x = 100.0, drawn(3, 2, 2, seed=3)
    wide = ClassGaussians.of(fitted, channels=3, sigma=sigma)
    found = wide.gradients(x, Noise(sigma, 64, 64, (0,)), 0).flatten(1)
    means = torch.stack([one.mean for one in fitted])
    shares = torch.tensor([one.n for one in fitted]).float()
    towards = means - (shares / shares.sum()) @ means
    assert torch.cosine_similarity(found, towards).min() > 0.98


def test_a_gradient_of_the_reference_matches_best_and_one_of_length_0_says_nothing(three):
    classifier, _ = three
    x, noise = drawn(4, 3, 2, 2, seed=5), Noise(0.4, 32, 32, (2,))
    target = torch.tensor([0, 1, 2, 1])
    gradient = torch.stack([classifier.gradients(picture, noise, k)[target[k]] for k, picture in enumerate(x)])
    cosines = bayes_cosines(classifier, gradient, x, noise)
    assert torch.allclose(cosines[range(4), target], torch.ones(4), atol=1e-5)
    assert best_match(cosines, target).tolist() == [1] * 4 and (contrast(cosines, target) > 0).all()
    none = bayes_cosines(classifier, 0 * gradient, x, noise)
    assert contrast(none, target).isnan().all() and best_match(none, target).isnan().all()


def test_a_gradient_with_another_spectrum_keeps_its_phases():
    gradient, other = drawn(3, 2, 12, 12), torch.nn.functional.avg_pool2d(drawn(50, 2, 14, 14, seed=1), 3, 1)
    _, wanted = radial_spectrum(other)
    found = with_spectrum(gradient, wanted.mean(dim=0))
    _, power = radial_spectrum(found)
    assert torch.allclose(power / power[:, :1], (wanted.mean(dim=0) / wanted.mean(dim=0)[0]).to(power), rtol=1e-3)
    turned = torch.fft.fft2(found.double()) * torch.fft.fft2(gradient.double()).conj()
    assert turned.imag.abs().max() < 1e-6 * turned.real.abs().max() and turned.real.min() > -1e-4


def test_the_share_within_a_tangent_space():
    basis = torch.linalg.qr(drawn(20, 20))[0]
    gradient = (3 * basis[0] + 4 * basis[7]).view(1, 1, 4, 5).repeat(2, 1, 1, 1)
    assert torch.allclose(share_within(gradient, [basis[:5], basis[7:9]]), torch.tensor([9 / 25, 16 / 25]), atol=1e-5)
