"""Pagoda's steps: one module per rule, each runnable by itself as ``python -m steps.NAME --help``.

Imports go down only: ``steps/*.py`` -> ``data``, ``nets``, ``run`` -> ``maths``.
"""
