"""What a person asks for: an :class:`Experiment`, frozen, from a TOML file and flags."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.cpus import available_cpus as available_cpus
from harness.errors import BenchError
from harness.files import first_line, read_bytes
from harness.plugins import FrameworkName

_MAX_BYTES = 2**20
"""Of an experiment file."""


class Frozen(BaseModel):
    """A settings group: immutable, and a misspelt key is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if cls.model_fields[str(info.field_name)].annotation is not bool:
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, bool):
                    raise ValueError("expected a number or a name, not true or false")
        return value


class Optimizer(Frozen):
    """The update rule; see ``harness.protocol`` for the formulas every framework must follow."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    """Peak learning rate; the schedule scales it step by step."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """SGD only: v <- momentum v + (g + weight_decay p)."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """SGD and Adam: added to the gradient (coupled). AdamW: p <- p - rate * weight_decay * p."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-8


class Augmentation(Frozen):
    """How training images are moved; see ``harness.protocol.augmentation``."""

    flip: bool = False
    """Mirror every other image left to right, at random."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Up to so many pixels in each direction."""


class Training(Frozen):
    """Hyperparameters that every framework shares."""

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 64
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    precision: Literal["float32", "float64"] = "float32"
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    positive_weights: Literal["none", "balanced"] = "none"
    """Multi-label tasks: ``balanced`` weighs the positives of a label by negatives / positives."""
    initial_weights: Path | None = None
    """Weight file to start from; without one the protocol draws them."""


_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TimeLimits(Frozen):
    """Seconds after which a worker that does not answer is ended, phase by phase.

    Given as one number, which then holds for every phase, or as ``start=900,epoch=60``.
    """

    start: _Seconds = 900.0
    """Each of: starting the process, importing the framework, building the network."""
    compile: _Seconds = 3600.0
    """Each of: the first step, the first evaluation, and what is measured besides training."""
    epoch: _Seconds | None = None
    """A pass over a split; None: ten times what the slowest before it suggests, at least 600."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, (str, int, float)):
            return value
        words = str(value).split(",")
        if len(words) == 1 and "=" not in words[0]:
            return dict.fromkeys(cls.model_fields, value)
        return dict(word.partition("=")[::2] for word in words)

    def __str__(self) -> str:
        limits = self.model_dump(exclude_none=True)
        return ",".join(f"{phase}={seconds:g}" for phase, seconds in limits.items())


class Experiment(Frozen):
    """One comparison: every framework trains every model on every data set from every seed."""

    frameworks: tuple[FrameworkName, ...] = ()
    """Backend names; empty means every one that is ready on this machine."""
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("lenet5",)
    datasets: Annotated[tuple[str, ...], Field(min_length=1)] = ("digits",)
    """Names of data sets, or paths of HDF5 files."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1)] = (0,)
    threads: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: len(available_cpus()))
    device: Literal["cpu", "gpu"] = "cpu"
    skip_unavailable: bool = False
    sessions: Annotated[int, Field(ge=1)] = 1
    """Fresh starts of every training: the training itself, and others for the clock alone."""
    rounds: Annotated[int, Field(ge=0)] = 0
    """Timed passes of each training; those beyond its epochs are for the clock alone."""
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    """Validation accuracy, or AUROC, whose time is told; None: what every training reached."""
    inference: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Batch sizes at which answering is timed."""
    profile: bool = False
    """Whether one epoch more is trained under the framework's own profiler."""
    timeout: TimeLimits = TimeLimits()
    """Not a part of what is compared: a run may be resumed with other limits."""
    training: Training = Training()

    @field_validator("frameworks", "models", "datasets", "seeds", "inference")
    @classmethod
    def _no_repeats(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names something twice: " + ", ".join(map(str, value)))
        return value


def load_experiment(path: Path | None, flags: Mapping[str, Any]) -> Experiment:
    """Read ``path`` (TOML, the nesting of :class:`Experiment`) and lay ``flags`` over it.

    ``flags`` is nested the same way; absent keys leave the file's or the default value.

    Raises:
        BenchError: unreadable file, unknown key or impossible value, all named in one line.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            settings = tomllib.loads(read_bytes(path, _MAX_BYTES).decode("utf-8"))
        except OSError as error:
            raise BenchError(f"cannot read the experiment file {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise BenchError(f"{path} is not valid TOML: {first_line(error)}") from error
    return parse_experiment(_overlay(settings, flags), where=str(path) if path else "options")


def parse_experiment(settings: Mapping[str, Any], *, where: str) -> Experiment:
    """Validate plain nested data into an :class:`Experiment`; every fault goes in one line."""
    try:
        experiment = Experiment.model_validate(settings)
    except ValidationError as error:
        raise BenchError(f"{where}: " + "; ".join(map(_sentence, error.errors()))) from error
    cpus = len(available_cpus())
    # Not of the experiment itself: runs made on a larger machine are read on smaller ones.
    if experiment.threads > cpus:
        raise BenchError(
            f"{where}: threads: is {experiment.threads}, but this process may use only {cpus} "
            "processors"
        )
    return experiment


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key, {})
        if not isinstance(value, Mapping):
            merged[key] = value
        elif isinstance(under, Mapping):
            merged[key] = _overlay(under, value)
        # else: a value where a group belongs; it stays, so that validation names it
    return merged


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "experiment"
    if error["type"] == "extra_forbidden":
        return f"unknown setting '{key}'"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (given {given!r:.100})" if isinstance(given, (int, float, str)) else ""
    return f"{key}: {message[0].lower()}{message[1:]}{shown}"
