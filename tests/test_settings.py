"""A setting is declared once: from there it reaches options, files, commands, reports and docs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import click
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import Field

from harness import config, settings
from harness.cli.options import experiment_options
from harness.config import Augmentation, Experiment, Optimizer, TimeLimits, Training
from harness.cpus import available_cpus
from harness.paths import benchmarks_dir
from harness.settings import Setting, command_words, nested, options, page, rows


class LongerTraining(Training):
    smoothing: Annotated[
        float, Field(ge=0), Setting(help="Label smoothing.", title="label smoothing")
    ] = 0.0
    """A setting that a later version might have."""


class LongerExperiment(Experiment):
    training: LongerTraining = LongerTraining()


def parsed(model: type[Experiment], words: list[str]) -> Experiment:
    """What ``bench run WORDS`` would make of them."""
    command = click.command("run")(experiment_options(model)(lambda **_: None))
    given = command.make_context("run", list(words)).params
    return model.model_validate(nested(model, given))


def test_one_declaration_reaches_every_place() -> None:
    before = {each.key for each in options(Experiment)}
    (new,) = [each for each in options(LongerExperiment) if each.key not in before]
    assert (new.key, new.flag) == ("training.smoothing", "--smoothing")
    changed = parsed(LongerExperiment, ["--smoothing", "0.25"])
    assert changed.training.smoothing == 0.25  # type: ignore[attr-defined]
    assert parsed(LongerExperiment, command_words(changed)) == changed
    assert ("label smoothing", "0.25") in rows(changed)
    text = page(LongerExperiment)
    assert "| `smoothing` | `--smoothing` | `X` | 0 | Label smoothing. |" in text
    assert tomllib.loads(text.split("```toml")[1].split("```")[0])["training"]["smoothing"] == 0


def test_every_field_is_declared() -> None:
    """A group needs no declaration of its own."""
    found = {each.key for each in settings.declared(Experiment)}
    fields = set(Experiment.model_fields) - {"training"}
    fields |= {f"timeout.{name}" for name in TimeLimits.model_fields}
    fields |= {f"training.{name}" for name in Training.model_fields}
    fields -= {"training.optimizer", "training.augmentation"}
    fields |= {f"training.optimizer.{name}" for name in Optimizer.model_fields}
    fields |= {f"training.augmentation.{name}" for name in Augmentation.model_fields}
    assert found == fields
    flags = [each.flag for each in options(Experiment)]
    assert len({*flags}) == len(flags)


def test_the_documentation_is_the_declaration() -> None:
    stored = Path(__file__).parents[1] / "docs" / "settings.md"
    assert stored.read_text(encoding="utf-8") == page(Experiment), (
        "write it again: python -m harness.config > docs/settings.md"
    )


def test_the_documented_file_is_the_default() -> None:
    text = page(Experiment).split("```toml")[1].split("```")[0]
    assert config.parse_experiment(tomllib.loads(text), where="docs") == Experiment()


def test_the_suite_has_the_same_options(python) -> None:
    done = python("-m", "pytest", benchmarks_dir(), "--help", "-p", "no:cacheprovider")
    for each in options(Experiment):
        assert f"  {each.flag}" in done.stdout, each.flag


names = st.lists(
    st.text("abcdefghij-_/.'é ", min_size=1).map(str.strip).filter(bool),
    min_size=1, max_size=3, unique=True,
).map(tuple)  # fmt: skip
shares = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-300, 1e300)
experiments = st.builds(
    Experiment,
    frameworks=st.lists(st.sampled_from(["torch", "jax", "knet"]), unique=True).map(tuple),
    models=names,
    datasets=names,
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True).map(tuple),
    threads=st.integers(1, len(available_cpus())),
    sessions=st.integers(1, 9),
    rounds=st.integers(0, 99),
    target=st.none() | st.floats(0, 1, exclude_min=True),
    inference=st.lists(st.integers(1, 4096), unique=True).map(tuple),
    profile=st.booleans(),
    skip_unavailable=st.booleans(),
    device=st.sampled_from(["cpu", "gpu"]),
    timeout=st.builds(
        TimeLimits, start=positive, compile=positive, epoch=st.none() | positive
    ),
    training=st.builds(
        Training,
        epochs=st.integers(1, 10**6),
        batch_size=st.integers(1, 10**6),
        schedule=st.sampled_from(["constant", "cosine", "one-cycle"]),
        precision=st.sampled_from(["float32", "float64"]),
        positive_weights=st.sampled_from(["none", "balanced"]),
        initial_weights=st.none() | st.sampled_from([Path("w.h5"), Path("/a b/c,d.h5")]),
        augmentation=st.builds(Augmentation, flip=st.booleans(), shift=st.integers(0, 99)),
        optimizer=st.builds(
            Optimizer,
            name=st.sampled_from(["sgd", "adam", "adamw"]),
            learning_rate=positive,
            momentum=shares,
            weight_decay=st.floats(0, 1e300),
            beta1=shares,
            beta2=shares,
            epsilon=positive,
        ),
    ),
)  # fmt: skip


@effort(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(experiments)
def test_the_command_makes_the_same_experiment(experiment: Experiment) -> None:
    assert parsed(Experiment, command_words(experiment)) == experiment


def test_what_only_measures_is_left_out_of_the_command_while_it_is_usual() -> None:
    usual = command_words(Experiment())
    for flag in ("--timeout", "--sessions", "--rounds", "--no-profile", "--target", "--inference"):
        assert flag not in usual
    assert "--lr" in usual
    assert "--timeout" in command_words(Experiment(timeout=TimeLimits(epoch=5)))


@pytest.mark.parametrize(
    ("optimizer", "shown", "hidden"),
    [("sgd", {"momentum"}, {"beta 1", "beta 2", "epsilon"}),
     ("adamw", {"beta 1", "beta 2", "epsilon"}, {"momentum"})],
)  # fmt: skip
def test_a_report_shows_what_has_an_effect(optimizer, shown, hidden) -> None:
    experiment = Experiment(training=Training(optimizer=Optimizer(name=optimizer)))
    titles = {title for title, _ in rows(experiment)}
    assert shown <= titles
    assert not hidden & titles


def test_inference_alone_has_its_usual_sizes() -> None:
    assert parsed(Experiment, ["--inference"]).inference == config.INFERENCE_BATCHES
