"""What figures are made of: text that is measured, pictures in a grid, captions, tables of results."""
