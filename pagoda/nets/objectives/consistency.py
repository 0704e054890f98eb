"""consistency: training under Gaussian noise, with draws that agree.

Source: Jeong & Shin 2020, "Consistency Regularization for Certified Robustness of Smoothed Classifiers" (arXiv
2006.04062), equation 8.

Checked against jh-jeong/smoothing-consistency (commit a11954a): the same loss and gradients of the weights on the same
batch and noise, with batch norms and without, to 1e-12 in double precision.
"""

from pagoda.nets.objectives.gaussian import Gaussian


class Consistency(Gaussian):
    """The cross-entropy + lambda E[KL(mean || draw)] + eta H(mean), of a picture's class probabilities over draws."""

    def loss(self, logits, y, seen, drawn, label_smoothing=0.0):
        logs = logits.view(-1, self.draws, logits.shape[1]).log_softmax(dim=2)
        mean = logs.exp().mean(dim=1)
        entropy = -mean.xlogy(mean).sum(dim=1)
        divergence = -entropy - (mean * logs.mean(dim=1)).sum(dim=1)
        penalty = (self.agreement * divergence + self.entropy * entropy).mean()
        return super().loss(logits, y, seen, drawn, label_smoothing) + penalty
