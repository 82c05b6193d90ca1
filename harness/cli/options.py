"""Options that several verbs share, and those that the settings of an experiment become."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.settings import Declared


def split_names(
    _: click.Context, parameter: click.Parameter, value: str | None
) -> list[str] | None:
    """The items of a list separated by commas."""
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise click.BadParameter("is a list separated by commas, with nothing empty in it")
    return names


LIST: dict[str, Any] = {"callback": split_names, "metavar": "A,B,..."}
"""Keywords of an option that is a list."""


def experiment_options(model: type[BaseModel]) -> Callable[[Callable[..., Any]], Any]:
    """Adds an option to a command for every setting of ``model``.

    The values stay text, or None where an option is not given: the model checks them.
    """
    from harness.settings import options

    def decorate(function: Callable[..., Any]) -> Any:
        for each in reversed(options(model)):
            function = click.option(*_names(each), **_attributes(each))(function)
        return function

    return decorate


def _names(declared: Declared) -> tuple[str, str]:
    off = f"/--no-{declared.flag.removeprefix('--')}" if declared.is_switch else ""
    return declared.flag + off, declared.parameter


def _attributes(declared: Declared) -> dict[str, Any]:
    found: dict[str, Any] = {"help": declared.summary, "default": None}
    if declared.is_switch:
        return found
    found["metavar"] = declared.metavar
    if declared.is_list:
        found["callback"] = split_names
    if declared.setting.alone:
        found |= {"is_flag": False, "flag_value": declared.setting.alone}
    return found
