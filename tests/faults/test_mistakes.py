"""The catalogue of mistakes and the code that makes them are of one list."""

from __future__ import annotations

import pytest

from harness.parity.mistakes import FITTED, KINDS, OPERATIONS, Mistake, describe

mistakes = pytest.importorskip("harness.backends.torch.mistakes")


def kinds(operation: str) -> set[str]:
    return {name for name, kind in KINDS.items() if kind.operation == operation}


@pytest.mark.parametrize(
    ("operation", "made"),
    [
        ("pixels", mistakes.PIXELS),
        ("rows", mistakes.ROWS),
        ("labels", mistakes.LABELS),
        ("convolution", mistakes.CONVOLUTION),
        ("normalisation", mistakes.NORMALISATION),
        ("activation", mistakes.ACTIVATION),
        ("pooling", {*mistakes.POOLING, "pooling SAME"}),
        ("average", mistakes.AVERAGE),
        ("flatten", mistakes.FLATTEN),
        ("dense", mistakes.DENSE),
        ("head", mistakes.HEAD),
        ("update", {*mistakes.SETTINGS, *mistakes.FORMULAS}),
        ("rates", {*mistakes.RATES, "rate scaled"}),
        ("order", mistakes.ORDER),
        ("moves", {*mistakes.MOVES, *mistakes.MOVED, "grey for black"}),
    ],
)
def test_every_mistake_is_made(operation: str, made: object) -> None:
    assert kinds(operation) == set(made)


def test_every_mistake_has_words() -> None:
    told = [describe(Mistake(name, amount=0.125)) for name in KINDS]
    assert len(set(told)) == len(told)
    assert all("{" not in words for words in told)
    assert {kind.operation for kind in KINDS.values()} == set(OPERATIONS)
    assert set(KINDS) > FITTED


def test_a_mistake_is_told_with_its_layer() -> None:
    assert describe(Mistake("no activation", ("conv1",))) == "activation after conv1: missing"
    assert describe(Mistake("no activation")) == "every activation: missing"
    assert describe(Mistake("no dense bias", ("fc",))) == "fc: bias missing"
    four = ("a", "b", "c", "d")
    assert describe(Mistake("no dense bias", four)) == "a, b, c and 1 more: bias missing"
