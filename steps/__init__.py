"""Pagoda's steps: one module per rule, each runnable by itself as ``python -m steps.NAME --help``.

Everything that computes is in the library, ``pagoda``.
"""

import gc

# Importing torch makes objects by the hundred thousand, all of which stay. With Python's default of a collection
# every 700 of them, looking through them costs a quarter of the import: 0.5 s of each of many short jobs.
gc.set_threshold(50_000, 20, 100)

from pagoda.run.warm import hand_over  # noqa: E402 - it costs what it imports

hand_over()
