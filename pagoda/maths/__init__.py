"""Pure functions: tensors and a generator in, values out. No files, no config, no global state."""
