"""What a person may say about the data of an import: declared here, once.

Nothing heavy is imported: the command line is made from these declarations.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_type_hints

from harness.errors import BenchError, unknown
from harness.files import first_line

if TYPE_CHECKING:
    from harness.data.importers.intensity import Intensity
    from harness.data.summary import Account

AskedTask = Literal["multiclass", "multilabel", "binary"]
"""``binary``: multiclass, no finding against any."""


@dataclass(frozen=True)
class Option:
    """How an import option is given on the command line, and what it means.

    An importer declares options of its own in ``OPTIONS``, by name; a person gives them as
    ``--option NAME=VALUE`` and the importer finds them in :attr:`ImportOptions.own`.
    """

    help: str
    _: KW_ONLY
    parse: Callable[[str], Any] = str
    """Makes the value of what was typed; raises ValueError with a message for that person."""
    metavar: str = "TEXT"
    choices: tuple[str, ...] = ()
    default: Any = None
    """Of an importer's own option: its value where it is not given."""
    flag: str = ""
    """The name on the command line where it is not the name of the field."""

    def value(self, text: str) -> Any:
        """The value of what was typed; ValueError where it is none."""
        if self.choices and text not in self.choices:
            raise ValueError(f"{text!r}: expected one of {', '.join(self.choices)}")
        return self.parse(text)


# Each of these makes a value of what was typed, or raises ValueError.


def _size(text: str) -> tuple[int, int]:
    """``64`` or ``64x48`` (height x width) as (height, width)."""
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text)
    if match is None:
        raise ValueError(f"{text!r}: expected pixels as N or HxW, each 1 to 9999")
    return int(match[1]), int(match[2] or match[1])


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise ValueError(f"{text!r}: expected a whole number")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    """``a, b`` as ("a", "b")."""
    found = tuple(part.strip() for part in text.split(","))
    if not any(found):
        raise ValueError("expected names with commas between them")
    return found


def _window(text: str) -> tuple[float, float]:
    """``0:4095`` as (0.0, 4095.0)."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise ValueError(f"{text!r}: expected two numbers as LOW:HIGH") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{text!r}: must be finite")
    return low, high


def _delimiter(text: str) -> str:
    r"""One character; ``\t`` or ``tab`` is a tab."""
    sign = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(sign) != 1 or sign in '"\r\n':
        raise ValueError(f"{text!r}: expected one character, or tab")
    return sign


def _separator(text: str) -> str:
    """What separates labels in a cell; ``none`` for nothing."""
    if not text.strip():
        raise ValueError("expected a sign, or none")
    return "" if text == "none" else text


def _file(text: str) -> Path:
    """The path of a file that exists."""
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text!r}: no such file")
    return path


@dataclass(frozen=True)
class ImportOptions:
    """What a person may say about the data; the default of an option means: find out.

    The command line of ``bench data import`` is made from these fields. ``size`` is (height,
    width), ``window`` (low, high); ``label_separator`` "" divides no cell.
    """

    yes: Annotated[
        bool, Option("Where two readings are possible, take the default that the message names.")
    ] = False
    allow_missing: Annotated[
        bool,
        Option("Leave out images that are missing or broken, and rows without a usable label."),
    ] = False
    ignore: Annotated[
        tuple[str, ...],
        Option(
            "Leave out files, folders, columns or arrays of this name (*, ? and [] allowed).",
            metavar="PATTERN",
        ),
    ] = ()
    size: Annotated[
        tuple[int, int] | None,
        Option("Resize images to HxW (or N for NxN), bilinear.", metavar="HxW", parse=_size),
    ] = None
    channels: Annotated[
        int | None, Option("Default: 1 if all are grey.", choices=("1", "3"), parse=int)
    ] = None
    bit_depth: Annotated[
        int | None,
        Option(
            "Bits in use of values beyond 8 bits, 8 to 16: their upper 8 are kept.",
            metavar="BITS",
            parse=_whole_number,
        ),
    ] = None
    window: Annotated[
        tuple[float, float] | None,
        Option(
            "Values beyond 8 bits, or floats: LOW becomes 0 and HIGH 255, linear.",
            metavar="LOW:HIGH",
            parse=_window,
        ),
    ] = None
    task: Annotated[
        AskedTask | None,
        Option(
            "binary (NIH): any finding or none.", choices=("multiclass", "multilabel", "binary")
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...] | None,
        Option("Names of the classes in the order of the labels.", metavar="A,B,...", parse=_names),
    ] = None
    class_folders: Annotated[
        str | None,
        Option(
            "Which of two levels of folders are the classes (default: outer).",
            choices=("outer", "inner"),
        ),
    ] = None
    first_label: Annotated[
        int | None, Option("The number of the first class.", choices=("0", "1"), parse=int)
    ] = None
    layout: Annotated[
        str | None, Option("The dimension of the channels.", choices=("nchw", "nhwc"))
    ] = None
    transpose: Annotated[
        bool | None, Option("Swap height and width (default: for EMNIST, which stores images so).")
    ] = None
    labels_csv: Annotated[
        Path | None,
        Option("The CSV file, where it is not the only one in PATH.", metavar="FILE", parse=_file),
    ] = None
    delimiter: Annotated[
        str | None, Option("Between columns (default: ,).", metavar="SIGN", parse=_delimiter)
    ] = None
    file_column: Annotated[str | None, Option("Column of file names.")] = None
    loose_names: Annotated[
        bool, Option("Match file names without regard to folder, case and suffix.")
    ] = False
    label_columns: Annotated[
        tuple[str, ...],
        Option(
            "Column of labels (joined by |), or each of several 0/1 columns.", flag="--label-column"
        ),
    ] = ()
    label_separator: Annotated[
        str | None,
        Option(
            "Between labels in one cell (default: |), or none.", metavar="SIGN", parse=_separator
        ),
    ] = None
    group_column: Annotated[
        str | None, Option("Column or array of whoever must stay in one split (patient).")
    ] = None
    no_group: Annotated[bool, Option("Nothing says whom an image is of.")] = False
    split_column: Annotated[str | None, Option("Column of train, val or test.")] = None
    test_list: Annotated[
        Path | None,
        Option(
            "Text file with the names of the test images (default: PATH/test_list.txt).",
            metavar="FILE",
            parse=_file,
        ),
    ] = None
    views: Annotated[
        tuple[str, ...], Option("Only X-rays of these views.", metavar="PA,AP", parse=_names)
    ] = ()
    limit: Annotated[
        int | None,
        Option("Only the first N images of the table.", metavar="N", parse=_whole_number),
    ] = None
    own: Mapping[str, Any] = field(default_factory=dict)
    """Options of the importer's own, by name, each with its value or default."""
    work: Path | None = None
    """A folder beside the file to be written, for what an importer keeps there until then."""

    def __post_init__(self) -> None:
        if self.no_group and self.group_column is not None:
            raise BenchError("--group-column and --no-group: pass one of them")

    def given(self) -> set[str]:
        """The names of the options that differ from their default, but for ``yes``."""
        plain = ImportOptions()
        return {
            name
            for name in declared()
            if getattr(self, name) != getattr(plain, name) and name != "yes"
        }

    def for_importer(self, name: str, uses: Collection[str], own: Mapping[str, Option]) -> Self:
        """These options for the importer ``name``: its own options parsed, and completed.

        Raises:
            BenchError: an option that is not among ``uses``, one that is none of ``own``, or a
                value that it does not take.
        """
        for foreign in sorted(self.given() - set(uses)):
            raise BenchError(f"{flag_of(foreign)}: does not apply to a data set of format {name}")
        values = {key: option.default for key, option in own.items()}
        for key, value in self.own.items():
            if key not in own:
                raise unknown(f"option of format {name}", key, own)
            try:
                values[key] = own[key].value(value)
            except ValueError as error:
                raise BenchError(f"--option {key}: {first_line(error)}") from error
        return dataclasses.replace(self, own=values)

    @property
    def intensity(self) -> Intensity:
        from harness.data.importers.intensity import Intensity

        return Intensity(self.bit_depth, self.window)

    def account(self, path: Path) -> Account:
        from harness.data.summary import Account

        return Account(path, self.yes)


@cache
def declared() -> Mapping[str, Option]:
    """The options that a person can give, by the name of their field."""
    hints = get_type_hints(ImportOptions, include_extras=True)
    found = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: metadata[0] for name, metadata in found.items() if metadata}


def flag_of(name: str) -> str:
    """What an option is called on the command line."""
    return declared()[name].flag or "--" + name.replace("_", "-")
