"""Base classifiers: architectures, training objectives, and the files that hold trained ones."""
