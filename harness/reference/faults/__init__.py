"""Fault models: known mistakes made on purpose in the reference.

``catalogue`` names them and says in words what is wrong; ``layers``, ``inputs``, ``losses`` and
``updates`` make them, and ``training`` is the reference with one of them. ``bench parity`` compares
what they compute with what a framework computes, to name what is wrong in it.
"""
