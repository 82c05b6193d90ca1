"""Finds backends, models, importers and metrics by entry point; the built-in ones like any other.

An entry point of one of the groups below names an object or a tuple of objects:
``harness.backends`` :class:`harness.backends.spec.BackendSpec`, ``harness.models``
:class:`harness.models.card.ModelCard`, ``harness.importers`` a module or object as
:class:`harness.data.importers.Importer` describes it, ``harness.metrics``
:class:`harness.metrics.Metric`. Loading them imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from harness.backends.spec import BackendSpec, Family, Role
from harness.errors import BenchError, unknown
from harness.models.card import ModelCard

if TYPE_CHECKING:
    from harness.metrics import Metric  # NumPy and SciPy come with it

BROKEN: dict[str, str] = {}
"""Plug-ins that do not load: name of the entry point -> one line that says why."""


def _load(group: str) -> list[Any]:
    """Every object of the entry points of ``group``; those that fail go to :data:`BROKEN`."""
    found: list[Any] = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            loaded = point.load()
        except Exception as error:  # a plug-in may do anything
            BROKEN[f"{group}: {point.name}"] = _cause(point, error)
            continue
        found += loaded if isinstance(loaded, tuple | list) else [loaded]
    return found


def _cause(point: EntryPoint, error: Exception) -> str:
    package = point.dist.name if point.dist else point.value
    return f"{package}: {type(error).__name__}: {error}".splitlines()[0]


def _by_name(kind: str, items: Iterable[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for item in items:
        if item.name in named and named[item.name] is not item:
            raise BenchError(f"two plug-ins bring a {kind} '{item.name}': uninstall one of them")
        named[item.name] = item
    return named


@cache
def backends() -> dict[str, BackendSpec]:
    """Every backend that is installed, by name, in the order of lists."""
    found = sorted(_load("harness.backends"), key=lambda spec: (spec.order, spec.name))
    return _by_name("framework", found)


def families() -> list[Family]:
    """The family of every backend, each once."""
    return list({spec.family.name: spec.family for spec in backends().values()}.values())


@cache
def models() -> dict[str, ModelCard]:
    """The card of every model that is installed, by name."""
    found = sorted(_load("harness.models"), key=lambda card: (card.order, card.name))
    return _by_name("model", found)


@cache
def importers() -> dict[str, Any]:
    """Every importer that is installed (:class:`harness.data.importers.Importer`), by name."""
    return {item.NAME: item for item in sorted(_load("harness.importers"), key=lambda i: i.NAME)}


@cache
def metrics() -> dict[str, Metric]:
    """Every metric that is installed, by name, in the order of columns."""
    found = sorted(_load("harness.metrics"), key=lambda metric: (metric.order, metric.name))
    return _by_name("metric", found)


def find_model(name: str) -> ModelCard:
    """The card called ``name``.

    Raises:
        BenchError: no such model; the message lists those there are.
    """
    try:
        return models()[name]
    except KeyError:
        raise unknown("model", name, models()) from None


def aliases() -> dict[str, str]:
    """Names that may still be typed, and stand in runs of earlier versions -> present names."""
    return {alias: spec.name for spec in backends().values() for alias in spec.aliases}


def canonical(name: str) -> str:
    """The present name of a backend, whatever it was called when it was typed or stored."""
    return aliases().get(name, name)


FrameworkName = Annotated[str, AfterValidator(canonical)]
"""A field of a record that holds a backend's name."""


def role_of(name: str) -> Role:
    """Role of the backend called ``name``; one that is not installed is plain."""
    spec = backends().get(canonical(name))
    return spec.role if spec else "plain"


def find_backend(name: str) -> BackendSpec:
    """The backend called ``name``.

    Raises:
        BenchError: no such backend; the message lists those there are.
    """
    try:
        return backends()[canonical(name)]
    except KeyError:
        raise unknown("framework", name, [*backends(), *aliases()]) from None


def choose_backends(
    names: Sequence[str],
    *,
    skip_unavailable: bool,
    refusal: Callable[[BackendSpec], str | None] = lambda spec: None,
) -> tuple[tuple[BackendSpec, ...], dict[str, str]]:
    """Those of ``names`` that can run, and for the others why not.

    Without names: every backend that is ready and runs by default. ``refusal`` says why one that
    is installed cannot do what is asked.

    Raises:
        BenchError: an unknown name; one that cannot run, unless ``skip_unavailable``; none at all.
    """
    # A name and its alias are one backend.
    specs = list(dict.fromkeys(map(find_backend, names))) or [
        spec for spec in backends().values() if spec.by_default
    ]
    reasons = {spec.name: r for spec in specs if (r := spec.missing() or refusal(spec)) is not None}
    if reasons and names and not skip_unavailable:
        listed = "; ".join(f"'{name}' {reason}" for name, reason in reasons.items())
        raise BenchError(
            f"framework {listed} (or pass --skip-unavailable to go on without; "
            f"known: {', '.join(backends())})"
        )
    ready = tuple(spec for spec in specs if spec.name not in reasons)
    if not ready:
        listed = "; ".join(f"'{name}' {reason}" for name, reason in reasons.items())
        raise BenchError(f"no framework is ready: {listed}")
    return ready, reasons
