"""Comparison of deep-learning pipelines: same numbers, same steps, measured apart."""

__version__ = "0.1.0"
