"""Comparison of deep-learning pipelines: same numbers, same steps, measured apart.

The functions below do from Python what the command ``bench`` does; see ``harness.api``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import compare, evaluate, import_dataset, load_run

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "evaluate", "import_dataset", "load_run"]


def __getattr__(name: str) -> Any:
    """The API is imported when it is used, so that ``import harness`` stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    from harness import api

    return getattr(api, name)
