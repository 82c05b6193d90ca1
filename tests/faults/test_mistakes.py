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


def test_the_gradient_of_nnlib_goes_to_the_first_value_nearly_equal_to_the_largest() -> None:
    """Exact but for near ties: in [1, 1 + 1e-12] Julia's NNlib chooses the first."""
    torch = pytest.importorskip("torch")
    pool, exact = mistakes.POOLING["nearly largest"], torch.nn.functional.max_pool2d
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, generator=torch.manual_seed(0))

    def gradient(function, x, *window):
        leaf = x.clone().requires_grad_()
        y = function(leaf, *window)
        (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
        return y.detach(), leaf.grad

    for window in ((2, 2, 0), (3, 2, 1)):
        for ours, theirs in zip(
            gradient(pool, x, *window), gradient(exact, x, *window), strict=True
        ):
            assert torch.equal(ours, theirs)
    near = torch.tensor([[[[1.0, 1.0 + 1e-12], [0.5, 0.0]]]], dtype=torch.float64)
    assert pool(near, 2, 2, 0).item() == 1.0 + 1e-12
    first = torch.autograd.functional.jacobian(lambda x: pool(x, 2, 2, 0).sum(), near)
    assert first.flatten().tolist() == [1, 0, 0, 0]
    last = torch.autograd.functional.jacobian(lambda x: exact(x, 2, 2, 0).sum(), near)
    assert last.flatten().tolist() == [0, 1, 0, 0]
