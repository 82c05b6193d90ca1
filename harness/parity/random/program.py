"""A case as a program: what a framework runs, and what shows a disagreement to its developers."""

from __future__ import annotations

import inspect

from harness.backends.dialect import Dialect
from harness.parity.random import plain
from harness.parity.random.cases import CONVOLUTIONS, Case

PLAIN = {"convolution_channels_last": "convolution"}
"""Operations that have no function of their own name in ``plain``."""


def source(case: Case, dialect: Dialect) -> str:
    """Imports, ``network`` and ``compute`` in the framework's words."""
    mapped = case.kind == "rows"
    words = {**dialect.operations, **(dialect.rows if mapped else {})}
    count = sum(map(len, case.parameters))
    names = ", ".join(["x", *(f"p{n}" for n in range(count))])
    steps, first = [], 0
    for step, shapes in zip(case.steps, case.parameters, strict=True):
        own = {f"p{n}": f"p{first + n}" for n in range(len(shapes))}
        steps.append("    x = " + words[step.operation].format(x="x", **own, **step.named))
        first += len(shapes)
    name = "row" if mapped else "network"
    parts = [
        dialect.prelude,
        dialect.function.format(name=name, names=names, steps="\n".join(steps)),
    ]
    if mapped:
        function = dialect.vectorize.format(function=name, parameters=count)
        parts.append(f"network = {function}")
    return "\n\n".join([*parts, dialect.compute]) + "\n"


def can_write(case: Case, dialect: Dialect) -> bool:
    """Whether the framework has words for all of ``case``."""
    return dialect.operations.keys() >= set(case.operations)


def reproducer(
    case: Case, dialect: Dialect, array: int, where: tuple[int, ...], bound: float
) -> str:
    """A program that fails where the framework deviates: it needs that and NumPy alone.

    Args:
        array: which of the arrays of ``Dialect.compute`` deviates: 0 is the result.
        where: at which place most.
        bound: relative to the largest magnitude of the array.
    """
    used = dict.fromkeys(PLAIN.get(name, name) for name in case.operations)
    functions = "\n\n".join(_without_types(name) for name in used)
    shapes = [shape for each in case.parameters for shape in each]
    names = ["x", *(f"p{n}" for n in range(len(shapes)))]
    steps, first = [], 0
    for step, own in zip(case.steps, case.parameters, strict=True):
        given = ["x", *(f"p{first + n}" for n in range(len(own)))]
        options = {n: v for n, v in step.options if n != "outputs"}
        if step.operation in CONVOLUTIONS:
            del options["window"]
        words = [*given, *(f"{name}={value}" for name, value in options.items())]
        steps.append(f"    x = {PLAIN.get(step.operation, step.operation)}({', '.join(words)})")
        first += len(own)
    network = "\n".join([f"def expected({', '.join(names)}):", *steps, "    return x"])
    draws = "\n".join(
        [
            f"draw = np.random.default_rng({case.seed}).normal",
            f'x = np.asarray(draw(size={case.shape}), "{case.dtype}", order="{case.layout}")',
            f'parameters = [np.asarray(draw(size=shape), "{case.dtype}") for shape in {shapes}]',
            f'cotangent = np.asarray(draw(size={case.shapes[-1]}), "{case.dtype}")',
        ]
    )
    check = _RESULT if array == 0 else _GRADIENT
    return (
        f"# {case}\nimport numpy as np\n{dialect.host.format(source=source(case, dialect))}\n"
        f"# The same in NumPy and float64.\n{functions}\n\n"
        f"{network}\n\n{draws}\n"
        f"{check.format(array=array, where=where, bound=f'{bound:.1e}')}"
    )


_RESULT = """
found = compute(x, parameters, cotangent)[0]
exact = expected(*(array.astype("float64") for array in (x, *parameters)))
where = {where}
print("found", found[where], "expected", exact[where])
assert np.abs(found - exact).max() <= {bound} * max(np.abs(exact).max(), 0.1)
"""
_GRADIENT = """
found = compute(x, parameters, cotangent)[{array}]
where = {where}  # the gradient there, by a central difference
given = [array.astype("float64") for array in (x, *parameters)]
moved = [[array.copy() for array in given] for _ in range(2)]
for arrays, step in zip(moved, (1e-6, -1e-6)):
    arrays[{array} - 1][where] += step
up, down = ((expected(*arrays) * cotangent).sum() for arrays in moved)
exact = (up - down) / 2e-6
print("found", found[where], "expected", exact)
assert abs(found[where] - exact) <= {bound} * max(np.abs(found).max(), 0.1) + 1e-6
"""


def _without_types(name: str) -> str:
    text = inspect.getsource(getattr(plain, name))
    return text.replace("  # type: ignore[no-untyped-def]", "").rstrip()
