"""What a person asks for: an :class:`Experiment`, frozen, from a TOML file and flags.

A setting is declared here and nowhere else; ``harness.settings`` makes the rest of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

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
from harness.settings import Setting, page

_MAX_BYTES = 2**20
"""Of an experiment file."""
INFERENCE_BATCHES = (1, 4, 16, 64, 256, 512)
"""Timed where inference is asked for without sizes."""


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


def _adam(experiment: Any) -> bool:
    return bool(experiment.training.optimizer.name != "sgd")


def _sgd(experiment: Any) -> bool:
    return not _adam(experiment)


class Optimizer(Frozen):
    """The update rule; see ``harness.protocol`` for the formulas every framework must follow."""

    name: Annotated[
        Literal["sgd", "adam", "adamw"],
        Setting(
            help="Update rule.",
            title="optimiser",
            flag="--optimizer",
            words={"sgd": "SGD with momentum", "adam": "Adam", "adamw": "AdamW"},
        ),
    ] = "sgd"
    learning_rate: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        Setting(
            help="Peak learning rate; the schedule scales it step by step.",
            title="peak learning rate",
            flag="--lr",
        ),
    ] = 0.05
    momentum: Annotated[
        float,
        Field(ge=0, lt=1),
        Setting(help="SGD: v <- momentum v + (g + weight_decay p).", applies=_sgd),
    ] = 0.9
    weight_decay: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Setting(
            help="SGD and Adam: added to the gradient (coupled); AdamW: p <- p - rate decay p.",
        ),
    ] = 0.0
    beta1: Annotated[
        float,
        Field(ge=0, lt=1),
        Setting(help="Adam: decay of the first moment.", title="beta 1", applies=_adam),
    ] = 0.9
    beta2: Annotated[
        float,
        Field(ge=0, lt=1),
        Setting(help="Adam: decay of the second moment.", title="beta 2", applies=_adam),
    ] = 0.999
    epsilon: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        Setting(help="Adam: added outside the square root.", applies=_adam),
    ] = 1e-8


class Augmentation(Frozen):
    """Augmentation of the training images; see ``harness.protocol.augmentation``."""

    flip: Annotated[
        bool,
        Setting(
            help="Mirror half of the training images left to right, at random.",
            title="augmentation: horizontal flip",
            words={True: "half of the images, at random", False: "none"},
        ),
    ] = False
    shift: Annotated[
        int,
        Field(ge=0),
        Setting(
            help="Shift training images by up to so many pixels in each direction.",
            title="augmentation: shift",
            metavar="PIXELS",
            words=lambda pixels: f"up to {pixels} px in each direction" if pixels else "none",
        ),
    ] = 0


class Training(Frozen):
    """Hyperparameters that every framework shares."""

    epochs: Annotated[int, Field(ge=1), Setting(help="Passes over the training split.")] = 20
    batch_size: Annotated[int, Field(ge=1), Setting(help="Images in a training step.")] = 64
    schedule: Annotated[
        Literal["constant", "cosine", "one-cycle"],
        Setting(help="Schedule of the learning rate.", title="learning-rate schedule"),
    ] = "one-cycle"
    precision: Annotated[
        Literal["float32", "float64"], Setting(help="Precision of the computation.")
    ] = "float32"
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    positive_weights: Annotated[
        Literal["none", "balanced"],
        Setting(
            help="Class weights of multi-label tasks: `balanced` multiplies the loss of the "
            "positives of a label by its negatives / positives in the training split.",
            title="class weights",
            words={"none": "none", "balanced": "balanced: negatives / positives of each label"},
        ),
    ] = "none"
    initial_weights: Annotated[
        Path | None,
        Setting(
            help="Weight file to start from.",
            default="drawn by the protocol from the seed",
            words=lambda path: "drawn by the protocol from the seed" if path is None else path.name,
        ),
    ] = None


_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TimeLimits(Frozen):
    """Seconds after which a worker that does not answer is ended, phase by phase.

    Given as one number, which then holds for every phase, or as ``start=900,epoch=60``.
    """

    start: Annotated[
        _Seconds,
        Setting(
            help="Each of: starting the process, importing the framework, building the network.",
            metavar="SECONDS",
        ),
    ] = 900.0
    compile: Annotated[
        _Seconds,
        Setting(
            help="Each of: first step, first evaluation, and what is measured besides training.",
            metavar="SECONDS",
        ),
    ] = 3600.0
    epoch: Annotated[
        _Seconds | None,
        Setting(
            help="A pass over a split.",
            metavar="SECONDS",
            default="ten times what the slowest pass before suggests, at least 600",
        ),
    ] = None

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
        return ",".join(
            f"{phase}={repr(seconds).removesuffix('.0')}" for phase, seconds in limits.items()
        )


class Experiment(Frozen):
    """One comparison: every framework trains every model on every data set from every seed."""

    frameworks: Annotated[
        tuple[FrameworkName, ...],
        Setting(
            help="Frameworks, or variants of them, to compare; see `bench list frameworks`.",
            default="all that are ready, without tuned variants that run only when named",
            reported=False,
        ),
    ] = ()
    models: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        Setting(help="Networks; see `bench list models`.", reported=False),
    ] = ("lenet5",)
    datasets: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        Setting(
            help="Names of data sets, or paths of HDF5 files; see `bench list datasets`.",
            reported=False,
        ),
    ] = ("digits",)
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**63)], ...],
        Field(min_length=1),
        Setting(help="One training for each."),
    ] = (0,)
    threads: Annotated[
        int,
        Field(ge=1),
        Setting(
            help="CPU threads of each framework.", title="threads of each framework", default="all"
        ),
    ] = Field(default_factory=lambda: len(available_cpus()))
    device: Annotated[
        Literal["cpu", "gpu"],
        Setting(help="Where to train.", words={"cpu": "CPU", "gpu": "GPU"}),
    ] = "cpu"
    skip_unavailable: Annotated[
        bool,
        Setting(help="Leave out frameworks that are not ready.", brief=True, reported=False),
    ] = False
    sessions: Annotated[
        int,
        Field(ge=1),
        Setting(
            help="Fresh starts of every framework: the training itself, and others for timing "
            "alone, so that intervals cover other starts.",
            title="sessions (fresh starts of each training)",
            brief=True,
        ),
    ] = 1
    rounds: Annotated[
        int,
        Field(ge=0),
        Setting(
            help="Timed passes of each training, interleaved; those beyond its epochs are for "
            "timing alone.",
            title="timed rounds",
            default="as many as epochs",
            brief=True,
            words=lambda count: str(count) if count else "as many as epochs",
        ),
    ] = 0
    target: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None,
        Setting(
            help="Validation accuracy, or AUROC, whose time is reported.",
            title="target of the time to accuracy",
            default="what every training reached",
            words=lambda score: "what every training reached" if score is None else f"{score:g}",
        ),
    ] = None
    inference: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Setting(
            help="Time inference too, in batches of these sizes; without sizes: "
            f"{INFERENCE_BATCHES[0]} to {INFERENCE_BATCHES[-1]}.",
            title="batch sizes of inference",
            metavar="1,2,...",
            default="not timed",
            alone=",".join(map(str, INFERENCE_BATCHES)),
            words=lambda sizes: ", ".join(map(str, sizes)) or "not timed",
        ),
    ] = ()
    profile: Annotated[
        bool,
        Setting(
            help="Train some steps more under the framework's own profiler: seconds by operation.",
            title="profiled by operation",
            brief=True,
        ),
    ] = False
    warm_start: Annotated[
        bool,
        Setting(
            help="Start every framework a second time, with the compile caches that its first "
            "start has filled, and time that too; of the first seed.",
            title="warm start timed",
            brief=True,
        ),
    ] = True
    timeout: Annotated[
        TimeLimits,
        Setting(
            help="End a worker whose phase takes longer: seconds for every phase, or "
            "start=S,compile=S,epoch=S. A run may be resumed with other limits.",
            metavar="SECONDS",
            default="see [timeout]",
            brief=True,
            reported=False,
        ),
    ] = TimeLimits()
    checkpoint_seconds: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Setting(
            help="Save checkpoints, from which --resume continues, after epochs that take so many "
            "seconds or more (those of the slowest framework); 0: after every epoch. A run may be "
            "resumed with another number.",
            metavar="SECONDS",
            brief=True,
            reported=False,
        ),
    ] = 10.0
    accuracy_only: Annotated[
        bool,
        Setting(
            help="Train as many cells side by side as the CPUs have room for, and report "
            "accuracies alone, no speed.",
            title="for accuracies only",
            brief=True,
        ),
    ] = False
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _one_thread_each(cls, given: Any) -> Any:
        """Of cells that train side by side, unless a number is given: as many as fit."""
        if isinstance(given, Mapping) and given.get("accuracy_only") and "threads" not in given:
            return {**given, "threads": 1}
        return given

    @model_validator(mode="after")
    def _measures_what_it_may(self) -> Self:
        asked = {
            "inference": bool(self.inference),
            "profile": self.profile,
            "rounds": self.rounds > 0,
            "sessions": self.sessions > 1,
        }
        wrong = [name for name, wanted in asked.items() if wanted and self.accuracy_only]
        if wrong:
            raise ValueError(f"accuracy_only measures no speed: leave out {' and '.join(wrong)}")
        return self

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


if __name__ == "__main__":
    print(page(Experiment), end="")
