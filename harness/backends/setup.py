"""The contract of ``bench setup``: how a backend installs what pip cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.backends.spec import BackendSpec, MissingRequirement
from harness.errors import BenchError

CheckLoad = Callable[[BackendSpec], MissingRequirement | None]
"""Loads a backend as a worker does; what keeps it from loading, or None."""


class CannotInstallError(BenchError):
    """This machine does not allow it; the message says what a person can do."""


class DoesNotLoadError(CannotInstallError):
    """It is installed, and a worker cannot load it; installing it again may help."""


@dataclass(frozen=True)
class Action:
    """One step; without ``run`` it merely states a fact."""

    sentence: str
    run: Callable[[], None] | None = None
