"""Datasets: where the pictures come from, their splits and class names, and batches of them."""
