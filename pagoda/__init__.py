"""Perceptually-aligned gradients, on demand: smoothing, certification, ascent and alignment (Kaur et al. 2019)."""
