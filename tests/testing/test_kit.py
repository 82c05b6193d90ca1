"""The conformance kit finds planted faults, and says what is wrong with its options."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PLANTED = Path(__file__).parent / "planted"
KIT = ("-m", "pytest", "-p", "harness.testing.plugin", "-p", "no:cacheprovider", "--pyargs")
MODEL = "lenet5-relu"
FOUND_BY = {
    "KeepsVelocity": "loading_weights_forgets_the_state_of_the_optimizer",
    "ReturnsEarly": "a_training_has_ended_when_its_call_returns",
    "IgnoresAugmentation": "agrees_with_the_reference",
    "DropsLastBatch": "predicts_every_image_of_a_split",
    "Drifts": "is_deterministic_on_one_thread",
    "WritesIntoTheOrder": "receives_what_it_was_sent",
    "TestsOnValidation": "holds_the_images_of_the_file",
    "LearnsWhileLooking": "gradients_leave_the_weights_as_they_are",
    "SingleInDouble": "agrees_with_the_reference",
    "CompilesLate": "nothing_is_compiled_while_it_is_timed",
    "OneLossForAll": "returns_the_loss_of_every_step",
    "InfersOtherwise": "inference_agrees_with_prediction",
    "DecoupledDecay": "update_rules_agree_with_the_reference",
}
"""Fault -> the test that fails, by what its name says."""
PARAMETERS = {
    "agrees_with_the_reference": "-float64",
    "update_rules_agree_with_the_reference": "-adam",
    "predicts_every_image_of_a_split": "-test",
    "inference_agrees_with_prediction": "-7",
}


@pytest.fixture(scope="module")
def outcome(clean_environment: dict[str, str]) -> str:
    """What pytest says of the test that should find each fault, all in one run."""
    options, nodes = [], []
    for fault, test in FOUND_BY.items():
        options += ["--backend", f"faulty-{fault}"]
        case = f"[faulty-{fault}-{MODEL}{PARAMETERS.get(test, '')}]"
        nodes.append(f"harness.testing.test_backend::TestBackend::test_{test}{case}")
    return kit(*options, "--model", MODEL, "-q", "-rA", *nodes, environment=clean_environment)


def kit(*arguments: str, environment: dict[str, str]) -> str:
    """The output of pytest with the planted backends installed."""
    path = f"{PLANTED}:{environment['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, *KIT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=environment | {"PYTHONPATH": path},
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("fault", FOUND_BY)
def test_a_planted_fault_is_found(outcome: str, fault: str, ready) -> None:
    ready("torch")
    assert re.search(rf"^FAILED .*{FOUND_BY[fault]}\[faulty-{fault}-", outcome, re.MULTILINE), (
        outcome[-3000:]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --backend NAME, --model NAME or --importer NAME"),
        (("--backend", "torhc"), "unknown framework 'torhc'; did you mean 'torch'?"),
        (("--model", "lenet"), "unknown model 'lenet'; did you mean 'lenet5'?"),
        (("--importer", "idxx"), "unknown format 'idxx'; did you mean 'idx'?"),
    ],
)
def test_options_that_name_nothing(
    clean_environment: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in kit("harness.testing", *arguments, environment=clean_environment)
