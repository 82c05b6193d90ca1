"""Keras 3 as a backend of pipeline-bench."""
