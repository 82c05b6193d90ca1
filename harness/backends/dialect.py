"""How a framework writes small computations down, as text: for ``bench parity --random``.

Text, because the program that shows a disagreement to the framework's developers must be the one
that was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Source code of operations by name; see ``harness.parity.random.cases``.

    An expression has ``{x}`` for its input, ``{p0}`` and ``{p1}`` for its parameters, and its
    options by name, such as ``{stride}``.
    """

    prelude: str
    """Imports and settings."""
    operations: Mapping[str, str]
    """Of batches: images (N, C, H, W) and vectors (N, K). Cases with others are left out."""
    rows: Mapping[str, str] = field(default_factory=dict)
    """Of a single vector (K,), where it is written differently."""
    vectorize: str
    """An expression of a function of a row ``{function}`` and ``{parameters}``, their number, that
    gives the function of all rows; the parameters are the same for all."""
    compute: str
    """A function ``compute(x, parameters, cotangent)`` that calls ``network(x, *parameters)`` and
    returns as NumPy arrays the result y, and the gradients of the sum of y times ``cotangent``
    with respect to x and each parameter."""
    function: str = "def {name}({names}):\n{steps}\n    return x"
    """How a function is defined; a step assigns an expression to x."""
    host: str = "{source}"
    """A program in Python whose ``compute`` runs ``{source}``, where that is in another language:
    for the framework's developers, while :meth:`Backend.execute` runs the source itself."""
