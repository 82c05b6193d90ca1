"""Settings that are declared once, as fields of a model, and appear everywhere from there.

A field that carries a :class:`Setting` in its ``Annotated`` metadata is an option of ``bench run``
and of ``pytest benchmarks/``, a key of an experiment file, a part of the command that reproduces a
run, a row of the report's settings table and a line of docs/settings.md.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def _always(experiment: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field's type and constraints do not say about it."""

    help: str
    """A sentence for the option's help and the documentation."""
    title: str = ""
    """In the report; empty: the name of the field in words."""
    flag: str = ""
    """Of the option; empty: the name of the field."""
    metavar: str = ""
    """Of the option's value; empty: by the type."""
    default: str = ""
    """The default in words; empty: the value itself."""
    alone: str = ""
    """The value when the option is given without one; empty: it needs a value."""
    brief: bool = False
    """Left out of the reproducing command while it has its default."""
    reported: bool = True
    """Whether it is a row of the report's settings table."""
    applies: Callable[[Any], bool] = _always
    """Whether it has an effect in an experiment; otherwise the report leaves it out."""
    words: Mapping[Any, str] | Callable[[Any], str] | None = None
    """Its values in the words of a report."""


@dataclass(frozen=True)
class Declared:
    """A setting and where it is."""

    path: tuple[str, ...]
    """Keys in an experiment file, from the outermost group to the field."""
    field: FieldInfo
    setting: Setting
    is_option: bool
    """False inside of a group that is given as one option."""

    @property
    def key(self) -> str:
        """``training.epochs``."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """``--epochs``."""
        return self.setting.flag or f"--{self.path[-1].replace('_', '-')}"

    @property
    def parameter(self) -> str:
        """What argument parsers call the option."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def title(self) -> str:
        return self.setting.title or self.path[-1].replace("_", " ")

    @property
    def type(self) -> Any:
        """Of its values, None left out."""
        kinds = [kind for kind in _alternatives(self.field.annotation) if kind is not type(None)]
        return kinds[0]

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def is_switch(self) -> bool:
        return self.type is bool

    @property
    def metavar(self) -> str:
        if self.setting.metavar:
            return self.setting.metavar
        if self.is_list:
            return "A,B,..."
        if get_origin(self.type) is Literal:
            return "|".join(map(str, get_args(self.type)))
        return {int: "N", float: "X", Path: "FILE"}.get(self.type, "VALUE")

    @property
    def default(self) -> str:
        """In words; empty where there is none."""
        if self.setting.default or self.is_switch:
            return self.setting.default or _toml(self.default_value())
        return _plain(self.default_value())

    @property
    def summary(self) -> str:
        """The help of its option."""
        shown = f" [default: {self.default}]" if self.default and not self.is_switch else ""
        return f"{self.setting.help.removesuffix('.')}{shown}."

    def value(self, experiment: BaseModel) -> Any:
        """Its value in ``experiment``."""
        found: Any = experiment
        for name in self.path:
            found = getattr(found, name)
        return found

    def arguments(self, value: Any) -> list[str]:
        """Words of a command line that give it ``value``; none where the value is none."""
        if self.is_switch:
            return [self.flag if value else f"--no-{self.flag.removeprefix('--')}"]
        if value is None or value == ():
            return []
        return [self.flag, ",".join(map(str, value)) if self.is_list else str(value)]

    def in_words(self, value: Any) -> str:
        """``value`` in a report."""
        words = self.setting.words
        if isinstance(words, Mapping):
            return words[value]
        if words is not None:
            return words(value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        return _plain(value) or "none"

    def default_value(self) -> Any:
        return self.field.get_default(call_default_factory=True, validated_data={})


def declared(model: type[BaseModel]) -> Iterator[Declared]:
    """The settings of ``model`` in the order of its fields, group by group."""
    return _declared(model, (), is_option=True)


def _declared(
    model: type[BaseModel], path: tuple[str, ...], *, is_option: bool
) -> Iterator[Declared]:
    for name, field in model.model_fields.items():
        setting = next((each for each in field.metadata if isinstance(each, Setting)), None)
        if setting is not None:
            yield Declared((*path, name), field, setting, is_option)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _declared(
                field.annotation, (*path, name), is_option=is_option and setting is None
            )


def options(model: type[BaseModel]) -> list[Declared]:
    """The settings of ``model`` that are options."""
    return [each for each in declared(model) if each.is_option]


def nested(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Option values by parameter name, nested as ``model`` is; None: the option was not given."""
    found: dict[str, Any] = {}
    for each in options(model):
        value = given.get(each.parameter)
        if value is None:
            continue
        inner = found
        for name in each.path[:-1]:
            inner = inner.setdefault(name, {})
        inner[each.path[-1]] = value
    return found


def command_words(experiment: BaseModel) -> list[str]:
    """Options that make exactly ``experiment``, spelled out in full."""
    words: list[str] = []
    for each in options(type(experiment)):
        value = each.value(experiment)
        if not (each.setting.brief and value == each.default_value()):
            words += each.arguments(value)
    return words


def rows(experiment: BaseModel) -> list[tuple[str, str]]:
    """Title and value of every setting that has an effect in ``experiment``, for a report."""
    return [
        (each.title, each.in_words(each.value(experiment)))
        for each in options(type(experiment))
        if each.setting.reported and each.setting.applies(experiment)
    ]


def page(model: type[BaseModel]) -> str:
    """docs/settings.md: every setting of ``model``, group by group, and its default as TOML."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by `python -m harness.config`; a test compares it with the declaration. -->",
        "",
        "An experiment is the defaults, then the file of `--config`, then the options of",
        "`bench run` (those of `pytest benchmarks/` have the same names).",
        "",
    ]
    for group, found in _groups(model):
        lines += [f"## [{group}]" if group else "## At the top of the file", ""]
        lines += [
            "| Key | Option | Values | Default | Meaning |",
            "| --- | --- | --- | --- | --- |",
        ]
        for each in found:
            option = f"`{each.flag}`" if each.is_option else ""
            values = "true or false" if each.is_switch else f"`{each.metavar}`"
            cells = [f"`{each.path[-1]}`", option, values, each.default or "none"]
            cells.append(each.setting.help)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    lines += ["## A file with the defaults", "", "```toml"]
    for group, found in _groups(model):
        lines += ["", f"[{group}]"] if group else []
        for each in found:
            default = each.default_value()
            if isinstance(default, BaseModel):
                continue
            fixed = default is not None and each.field.default_factory is None
            shown = f"{each.path[-1]} = {_toml(default) if fixed else each.metavar}"
            lines.append(shown if fixed else f"# {shown}")
    return "\n".join([*lines, "```", ""])


def _groups(model: type[BaseModel]) -> list[tuple[str, list[Declared]]]:
    found: dict[str, list[Declared]] = {}
    for each in declared(model):
        found.setdefault(".".join(each.path[:-1]), []).append(each)
    return list(found.items())


def _alternatives(annotation: Any) -> Sequence[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [each for kind in get_args(annotation) for each in _alternatives(kind)]
    if hasattr(annotation, "__metadata__"):
        return _alternatives(annotation.__origin__)
    return [annotation]


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)
