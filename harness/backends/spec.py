"""What the harness knows of a backend before its framework is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Literal, Protocol

from harness.models.card import ModelCard

Role = Literal["plain", "tuned", "bound", "idiom"]
"""What a variant is in a comparison.

plain: the framework as a user writes it; these alone are ranked and head the report.
tuned: a plain variant (its base) with stated deviations, reported as a gain over its base.
bound: a hand-written reference, reported apart as what the processor allows.
idiom: a framework as its own tutorial writes it, under a protocol of its own; in no certificate
and in no ranking.
"""


@dataclass(frozen=True)
class MissingRequirement:
    """What keeps a backend from running, and what fixes it."""

    why: str
    fix: str
    """A command, or what to do in words."""

    def __str__(self) -> str:
        return f"{self.why}; to fix: {self.fix}"


class RandomStep(Protocol):
    """What is asked of a :class:`harness.parity.random.cases.Step`."""

    @property
    def operation(self) -> str: ...
    @property
    def named(self) -> Mapping[str, int]: ...


class RandomCase(Protocol):
    """What is asked of a :class:`harness.parity.random.cases.Case`."""

    @property
    def kind(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def steps(self) -> Sequence[RandomStep]: ...
    @property
    def operations(self) -> tuple[str, ...]: ...
    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]: ...
    @property
    def parameters(self) -> tuple[tuple[tuple[int, ...], ...], ...]: ...
    def parameter(self, array: int) -> tuple[int, int] | None: ...


@dataclass(frozen=True)
class KnownProblem:
    """What is wrong with certain versions of a package."""

    package: str
    versions: tuple[str, ...]
    what: str
    """What goes wrong, where it is reported, and which version to take instead."""
    shown_by: Callable[[RandomCase, int], bool] | None = None
    """Whether a case of ``bench parity --random`` shows this where the array of this number
    disagrees: 0 is the result, 1 the gradient in the input, then come those in the parameters."""

    def __str__(self) -> str:
        return f"{self.package} {self.what}"


def no_requirement() -> MissingRequirement | None:
    """Nothing is missing."""
    return None


@dataclass(frozen=True, kw_only=True)
class Practice:
    """How a framework does each piece of the work, for the table at the head of ``code.md``."""

    model: str
    """How a network is written, in a phrase; so the next two."""
    training: str
    data: str
    requires: tuple[str, ...]
    """Concepts that its user must know to read that code."""
    by_hand: tuple[str, ...] = ()
    """What the protocol asks for and the framework does not bring."""
    links: tuple[tuple[str, str], ...] = ()
    """Public documentation: title and address."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """Environment variables that decide how something computes, by the start of their names."""

    removed: tuple[str, ...] = ()
    """No worker inherits these."""
    places: tuple[str, ...] = ()
    """Of those, what says where things lie; passed on."""
    passed: tuple[str, ...] = ()
    """Of those, what some machines cannot do without; passed on, and named in the report."""

    def removes(self, name: str) -> bool:
        """Whether a worker does not inherit the variable ``name``."""
        return name.startswith(self.removed) and not name.startswith(self.places + self.passed)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A framework, whose variants share their code; the report shows and counts that code.

    Files are patterns whose first component is an importable package, or a key of ``roots``. Left
    out is what only ties files together, such as an ``__init__.py``, and what finds or installs a
    framework.
    """

    name: str
    """Of the module that holds its network in the package of a model."""
    training: tuple[str, ...]
    data: tuple[str, ...]
    network: tuple[str, ...] = ()
    """What its networks have in common, besides the file of each."""
    versions: tuple[str, ...]
    """Facts of a cell that say on what it ran."""
    variables: Variables = Variables()
    roots: Callable[[], Mapping[str, Path]] = dict
    """Folders of files that are in no Python package, by the first component of their pattern."""
    style: str = ""
    """Stands before the titles of the variants, where these alone do not say what the code is."""
    style_note: str = ""
    """A sentence below the comparison of the code."""
    color: str = ""
    """Of its variants in figures, ``#RRGGBB``; empty: one that no other family has."""
    practice: Practice | None = None
    """How it does the work; None: the table leaves it out."""
    import_note: str = ""
    """A sentence on what importing is, where it is more than that."""


@dataclass(frozen=True, kw_only=True)
class ExtraCode:
    """What a variant has besides the files of its family, whatever the model."""

    title: str
    files: tuple[str, ...]
    shown: bool = True
    """False: too much to read in a report, which then only lists the files."""


@dataclass(frozen=True, kw_only=True)
class BackendSpec:
    """A variant of a framework; see ``docs/extending.md``."""

    name: str
    """What a person types."""
    title: str
    """What a report prints."""
    family: Family
    """The framework, shared by its variants."""
    factory: str
    """``module:class`` of the :class:`harness.backends.base.Backend`."""
    summary: str
    packages: tuple[str, ...] = ()
    """Python distributions whose versions count, the framework itself first."""
    install: str
    """The command that installs it."""
    further_requirement: Callable[[], MissingRequirement | None] = no_requirement
    """Says what else is missing."""
    further_versions: Callable[[], dict[str, str]] = dict
    """Versions of what is no Python distribution."""
    found_at: Callable[[], str] | None = None
    """Where a framework of another language was found; empty: nowhere."""
    setup: str = ""
    """``module:function`` that installs what pip cannot, for ``bench setup``; empty: there is none.

    The function takes a :data:`harness.backends.setup.CheckLoad` and ``repair`` (install again what
    does not load), and returns the actions in order.
    """
    environment: Callable[[int], dict[str, str]] = lambda threads: {}
    """What its process needs in its environment to use so many threads."""
    caches: Callable[[Path], Mapping[str, str]] = lambda folder: {}
    """The environment in which its process keeps what it compiles in subfolders of ``folder``, one
    for each kind of cache, and reads compiled code from nowhere else. The first start of a cell
    gets an empty folder, its second start what the first has left there."""
    known_problems: tuple[KnownProblem, ...] = ()
    """Of versions of its packages; `bench doctor` names those that are installed."""
    by_default: bool = True
    """Whether it runs when no framework is named; variants of a row run only when asked for."""
    devices: tuple[str, ...] = ("cpu", "gpu")
    """What it can train on, if the machine has it."""
    precisions: tuple[str, ...] = ("float32", "float64")
    find_network: Callable[[ModelCard], str | None]
    """Where its network for a card is, or None where it has none; see :func:`in_package`."""
    lower_precision: str = ""
    """What it computes in a lower precision than the task asks for; empty: nothing."""
    weight_readers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Files of weights that its users have, by suffix: ``module:function`` of what reads one, from
    its path to arrays by name; it raises BenchError. For ``bench weights import``."""
    aliases: tuple[str, ...] = ()
    """Names that may be typed too, and stand in runs of earlier versions."""
    operations: str = ""
    """``module:NAME`` of its :class:`~harness.backends.dialect.Dialect`, for ``bench parity
    --random``; importing the module imports no framework. Empty: it takes no part."""
    order: int = 100
    """Position in lists; those of equal position by name."""
    extra_code: tuple[ExtraCode, ...] = ()
    network_code: tuple[str, ...] = ()
    """Files that its own networks need and those of its base do not."""
    note: str = ""
    """How a sentence that begins with its title goes on, below the comparison of the code."""
    role: Role = "plain"
    base: str = ""
    """The plain variant that a tuned one is a form of; empty for the other roles."""
    deviation: str = ""
    """How a tuned variant differs from its base, or why an idiom is not comparable: a phrase for
    a table. Empty for plain variants."""

    def __post_init__(self) -> None:
        if (self.role == "tuned") != bool(self.base):
            raise ValueError(f"{self.name}: a tuned variant, and no other, names its base")
        if (self.role == "plain") == bool(self.deviation):
            raise ValueError(f"{self.name}: every variant that is not plain states its deviation")

    @property
    def certified(self) -> bool:
        """Whether it follows the protocol, so that parity with the others can be checked."""
        return self.role != "idiom"

    def missing_requirement(self) -> MissingRequirement | None:
        """Why it cannot run here, or None when it can."""
        absent = [name for name in self.packages if util.find_spec(name) is None]
        if absent:
            return MissingRequirement(f"not installed: {', '.join(absent)}", self.install)
        return self.further_requirement()

    def missing(self) -> str | None:
        """:meth:`missing_requirement` in one sentence."""
        requirement = self.missing_requirement()
        return None if requirement is None else str(requirement)

    def versions(self) -> dict[str, str]:
        """Versions of what is installed of it."""
        found = {name: metadata.version(name) for name in self.packages if util.find_spec(name)}
        return found | self.further_versions()

    def present_problems(self) -> tuple[KnownProblem, ...]:
        """The known problems of the versions that are installed."""
        found = self.versions()
        return tuple(p for p in self.known_problems if found.get(p.package) in p.versions)

    def location(self) -> str:
        """Where it was found, or nothing."""
        if self.found_at is not None:
            return self.found_at()
        spec = util.find_spec(self.packages[0]) if self.packages else None
        return str(Path(spec.origin).parent) if spec is not None and spec.origin else ""

    def unsupported(self, card: ModelCard, precision: str) -> str | None:
        """Why it cannot train the network ``card`` in ``precision``; None: it can."""
        if precision not in self.precisions:
            return f"has no precision {precision} (it has {', '.join(self.precisions)})"
        if self.find_network(card) is None:
            return f"has no network for the model {card.name}"
        return None


def in_package(
    *names: str, own: Mapping[str, str] | None = None
) -> Callable[[ModelCard], str | None]:
    """Finds the module with a backend's network: the first of ``names`` in the model's package.

    ``own``: modules that the backend brings itself, by the package of the model. A module defines
    ``NETWORK``, the network in the form that its family expects.
    """

    def find(card: ModelCard) -> str | None:
        if own and card.package in own:
            return own[card.package]
        modules = (f"{card.package}.{name}" for name in names)
        return next((module for module in modules if util.find_spec(module)), None)

    return find
