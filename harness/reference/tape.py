"""Reverse-mode differentiation of NumPy arrays (Griewank & Walther, Evaluating Derivatives, 2008).

A :class:`Variable` remembers the variables that it was computed from, and for each a function from
the gradient with respect to itself to the gradient with respect to that input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Pullback = Callable[[Array], Array]
"""From the gradient of the loss with respect to a result to that with respect to an input."""

_numbers = itertools.count()


class Variable:
    """An array of a computation; arithmetic between variables broadcasts as in NumPy.

    ``differentiable`` says that its gradient is wanted. What is computed from variables of which
    none is differentiable is recorded nowhere.
    """

    __slots__ = ("differentiable", "gradient", "inputs", "number", "value")

    def __init__(
        self,
        value: Array,
        inputs: Sequence[tuple[Variable, Pullback]] = (),
        *,
        differentiable: bool = False,
    ) -> None:
        self.value = value
        self.inputs = tuple((one, pullback) for one, pullback in inputs if one.differentiable)
        self.differentiable: bool = differentiable or bool(self.inputs)
        self.gradient: Array | None = None
        self.number = next(_numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __add__(self, other: Variable | float) -> Variable:
        other = self._lifted(other)
        return Variable(
            self.value + other.value,
            [(self, lambda g: reduced(g, self.shape)), (other, lambda g: reduced(g, other.shape))],
        )

    def __mul__(self, other: Variable | float) -> Variable:
        other = self._lifted(other)
        return Variable(
            self.value * other.value,
            [
                (self, lambda g: reduced(g * other.value, self.shape)),
                (other, lambda g: reduced(g * self.value, other.shape)),
            ],
        )

    def __neg__(self) -> Variable:
        return Variable(-self.value, [(self, np.negative)])

    def __sub__(self, other: Variable | float) -> Variable:
        return self + -self._lifted(other)

    def __truediv__(self, other: Variable | float) -> Variable:
        other = self._lifted(other)
        inverse = 1 / other.value
        return Variable(
            self.value * inverse,
            [
                (self, lambda g: reduced(g * inverse, self.shape)),
                (other, lambda g: reduced(-g * self.value * inverse**2, other.shape)),
            ],
        )

    def detached(self) -> Variable:
        """The same numbers, through which no gradient flows."""
        return Variable(self.value)

    def _lifted(self, other: Variable | float) -> Variable:
        return (
            other if isinstance(other, Variable) else Variable(np.asarray(other, self.value.dtype))
        )


def reduced(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient with respect to an array of ``shape`` that was broadcast to ``gradient``'s."""
    extra = gradient.ndim - len(shape)
    if extra:
        gradient = gradient.sum(axis=tuple(range(extra)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient


def backward(result: Variable, disturb: Callable[[Array], Array] = lambda part: part) -> None:
    """Set ``gradient`` of every variable that the number ``result`` was computed from.

    ``disturb`` changes every part of a gradient as it is computed: to see how errors grow.
    """
    result.gradient = np.ones_like(result.value)
    for variable in _computed_first_last(result):
        assert variable.gradient is not None
        for one, pullback in variable.inputs:
            part = disturb(pullback(variable.gradient))
            one.gradient = part if one.gradient is None else one.gradient + part
        if variable.inputs:
            variable.gradient = None  # only those of the parameters are wanted: free the memory


def _computed_first_last(result: Variable) -> list[Variable]:
    """All variables behind ``result``, the last computed first."""
    found = {result.number: result}
    waiting = [result]
    while waiting:
        for one, _ in waiting.pop().inputs:
            if one.number not in found:
                found[one.number] = one
                waiting.append(one)
    return [found[number] for number in sorted(found, reverse=True)]
