"""The certificate of parity in a report."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.summary import RunSummary
from harness.errors import BenchError
from harness.parity.certificate import (
    FILE,
    Certificate,
    FrameworkComparison,
    MaximumDeviation,
    PairDeviation,
    Section,
    read_certificate,
)
from harness.report.sections import parity
from harness.report.sections.answer import certificate_verdict

REFERENCE = tuple(np.linspace(2.0, 0.5, 20).tolist())


def made(value: float = 1e-14, **fields) -> Certificate:
    """Of two frameworks, the second of which is ``value`` away."""
    maximum = MaximumDeviation(
        stage="gradients", where="conv1.weight[0, 1]", value=value, tolerance=1e-9
    )
    unbounded = MaximumDeviation(stage="step 100", where="fc.bias[0]", value=1e-6, tolerance=None)
    near = tuple(loss * (1 + 1e-7) for loss in REFERENCE)
    second = {"framework": "jax", "stages": (maximum, unbounded), "single_losses": near,
              "double_losses": tuple(loss * (1 + 1e-15) for loss in REFERENCE)}  # fmt: skip
    section = Section(
        model="lenet5",
        dataset="digits",
        optimizer="sgd",
        batch_size=32,
        steps=20,
        seed=0,
        reference_losses=REFERENCE,
        comparisons=(
            FrameworkComparison(framework="torch", single_losses=near, double_losses=REFERENCE),
            FrameworkComparison(**(second | fields)),
        ),
        pairs=(PairDeviation(frameworks=("torch", "jax"), maximum=maximum),),
    )
    return Certificate(harness_version="0", created="2001-02-03", sections=(section,))


@pytest.fixture
def body(make_run):
    """The section's Markdown in a run that has the certificate."""

    def rendered(proof: Certificate | None) -> str:
        folder = make_run("mine", frameworks=("torch", "jax"), seeds=(0,))
        if proof is not None:
            (folder.path / FILE).write_text(proof.model_dump_json())
        return parity.body(RunSummary.read(folder))

    return rendered


def test_without_a_certificate_the_command_that_makes_it_is_named(body) -> None:
    assert "`bench parity --run mine`" in body(None)


def test_all_agree(body) -> None:
    told = body(made())
    assert "all frameworks compute the same: the largest relative deviation" in told
    assert "1.0e-14" in told
    row = "| JAX (Flax NNX) | lenet5 | digits | gradients | 1.0e-14 "
    assert row + r"| conv1.weight\[0, 1\] | 1e-09 | agrees |" in told
    assert "| step 100 | 1.0e-06 | fc.bias\\[0\\] | — |  |" in told
    assert "| lenet5 | digits | PyTorch and JAX (Flax NNX) | 1.0e-14 | gradients |" in told
    assert "figures/digits-lenet5-parity.svg" in told
    assert "deviates" not in told


def test_what_deviates_is_named(body) -> None:
    told = body(made(0.5, diagnosis="conv1: kernel flipped"))
    assert "**Not all compute the same:** JAX (Flax NNX)." in told
    assert "- JAX (Flax NNX), lenet5 on digits: conv1: kernel flipped" in told
    assert "| **deviates** |" in told


def test_a_framework_that_failed_is_named(body) -> None:
    told = body(made(stages=(), failure="out of memory"))
    assert "**Not all compute the same:** JAX (Flax NNX)." in told
    assert "failed: out of memory" in told


def test_one_framework_alone_proves_nothing() -> None:
    assert "nothing to compare it with" in certificate_verdict(made(stages=()))


def test_variants_of_lower_precision_are_named(body) -> None:
    assert "Compared with nothing in float64: JAX (Flax NNX) (in bfloat16)." in body(
        made(stages=(), double_losses=(), lower_precision="in bfloat16")
    )


def test_the_figure_shows_every_framework() -> None:
    (axes,) = parity.loss_distance(made().sections[0]).axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert set(lines) == {"PyTorch", "JAX (Flax NNX)", "all in float64: the farthest"}
    assert lines["JAX (Flax NNX)"] == pytest.approx(1e-7, rel=1e-4)
    assert max(lines["all in float64: the farthest"]) < 1e-14
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_the_file_comes_back_and_a_damaged_one_is_refused(tmp_path) -> None:
    proof = made(float("inf"))
    assert read_certificate(tmp_path) is None
    (tmp_path / FILE).write_text(proof.model_dump_json())
    assert read_certificate(tmp_path) == proof
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(BenchError, match="write it anew with bench parity --run"):
        read_certificate(tmp_path)


def test_certificates_of_earlier_versions_are_read(tmp_path) -> None:
    proof = made(lower_precision="in bfloat16")
    text = proof.model_dump_json()
    former = {"comparisons": "held", "maximum": "worst", "lower_precision": "reduced"}
    for name, old in former.items():
        assert f'"{name}":' in text
        text = text.replace(f'"{name}":', f'"{old}":')
    (tmp_path / FILE).write_text(text)
    assert read_certificate(tmp_path) == proof
