"""What figures are made of: text that is measured, pictures in a grid, captions, verdicts of the judges."""
