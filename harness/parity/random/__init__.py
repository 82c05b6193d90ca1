"""Differential testing: random small computations in every framework and in NumPy.

``cases`` draws them, ``expected`` computes them with the reference's operations in float64,
``program`` writes them out in a framework's words (``harness.backends.dialect``), and ``search``
compares, reduces what disagrees to a small case and gives the program that shows it.
"""
