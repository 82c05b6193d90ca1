"""``bench data``: make, get, check and describe the data sets that every framework reads."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness import paths
from harness.console import terminal
from harness.data import importers
from harness.errors import BenchError

if TYPE_CHECKING:
    from rich.table import Table

    from harness.data.cards import Card
    from harness.data.reader import DatasetFile
    from harness.data.validate import Problem

Function = TypeVar("Function", bound=Callable[..., Any])

_OWN_DATA = """
    \b
    Your own images, one folder per class, for every framework at once:
      bench data import flowers/ --name flowers --size 64
      bench run --datasets flowers
    """


def _own_data(function: Function) -> Function:
    """End the help of a verb with how to bring one's own data."""
    function.__doc__ = f"{function.__doc__}\n{_OWN_DATA}"
    return function


def _data_dir(function: Function) -> Function:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        callback=lambda _context, _parameter, value: paths.data_dir(value),
        help="Folder of the HDF5 files (else $BENCH_DATA_DIR, else datasets/).",
    )(function)


def _size(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """``64`` or ``64x48`` (height x width) as (height, width)."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", value)
    if match is None:
        raise click.BadParameter(f"{value!r}: expected pixels as N or HxW, each 1 to 9999")
    return int(match[1]), int(match[2] or match[1])


def _names(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    """``a, b`` as ("a", "b")."""
    return tuple(part.strip() for part in value.split(",")) if value else ()


def _window(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    """``0:4095`` as (0.0, 4095.0)."""
    if value is None:
        return None
    try:
        low, high = map(float, value.split(":"))
    except ValueError:
        raise click.BadParameter(f"{value!r}: expected two numbers as LOW:HIGH") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise click.BadParameter(f"{value!r}: must be finite")
    return low, high


def _delimiter(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    r"""One character; ``\t`` or ``tab`` is a tab."""
    value = {"\\t": "\t", "tab": "\t"}.get(value or "", value)
    if value is not None and (len(value) != 1 or value in '"\r\n'):
        raise click.BadParameter(f"{value!r}: expected one character, or tab")
    return value


def _separator(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """What separates labels in a cell; ``none`` for nothing."""
    if value is not None and not value.strip():
        raise click.BadParameter("expected a sign, or none")
    return "" if value == "none" else value


@click.group()
@_own_data
def data() -> None:
    """Export, import, fetch, validate and describe data sets.

    All frameworks read the same HDF5 file; these commands make it.
    """


@data.command("list")
@_data_dir
@_own_data
def list_(data_dir: Path) -> None:
    """List the known data sets and the files that are ready."""
    from rich.markup import escape
    from rich.table import Table

    from harness.data.cards import load_cards
    from harness.data.locate import exported

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "title", "task", "state", "train/val/test"):
        table.add_column(heading, overflow="fold")
    cards, files = load_cards(), exported(data_dir)
    for name in [*cards, *(name for name in files if name not in cards)]:
        card = cards.get(name)
        title = card.title if card else "imported"
        table.add_row(*map(escape, (name, title, *_state(name, card, files.get(name), data_dir))))
    terminal.print(table)


def _state(name: str, card: Card | None, path: Path | None, data_dir: Path) -> tuple[str, str, str]:
    """The task of a data set, what can be done with it, and the sizes of its splits."""
    from harness.data.fetch import can_export
    from harness.data.reader import open_dataset

    if path is not None:
        try:
            with open_dataset(path, memory_budget=0) as dataset:
                task = f"{dataset.task} ({len(dataset.classes)})"
                return task, f"ready: {path}", "/".join(map(str, dataset.sizes.values()))
        except BenchError as error:
            return "", f"unusable: {error}", ""
    assert card is not None
    verb = "export" if can_export(card, data_dir) else "fetch"
    return f"{card.task} ({len(card.classes)})", f"bench data {verb} {name}", card.images


@data.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Export again where the file exists.")
@_data_dir
@_own_data
def export(name: str, force: bool, data_dir: Path) -> None:
    """Write the known data set NAME to HDF5, without a network.

    Example: bench data export digits
    """
    from harness.data.fetch import export as make

    _make(make, name, force, data_dir)


@data.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Export again where the file exists.")
@_data_dir
@_own_data
def fetch(name: str, force: bool, data_dir: Path) -> None:
    """Download the known data set NAME (its checksum is checked) and write it to HDF5.

    A copy that the system has is used first. What cannot be downloaded is explained step by step.
    Example: bench data fetch mnist
    """
    from harness.data.fetch import fetch as make

    _make(make, name, force, data_dir)


def _make(make: Callable[[str, Path], Path], name: str, force: bool, data_dir: Path) -> None:
    path = data_dir / f"{name}.h5"
    if path.is_file() and not force:
        terminal.note(f"{path} is there already; --force makes it again")
    else:
        path = make(name, data_dir)
    click.echo(path)


@data.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", required=True, help="Name of the data set, as in `bench run --datasets`.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write (default: NAME.h5 in the data folder).",
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
@click.option(
    "--yes",
    is_flag=True,
    help="Where two readings are possible, take the default that the message names.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(importers.importable()),
    help="What PATH is (default: recognised by the names in it).",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave out images that are missing or broken, and rows without a usable label.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    help="Leave out files, folders, columns or arrays of this name (*, ? and [] allowed).",
)
@click.option("--keep-invalid", is_flag=True, help="Write the file although validation fails.")
@click.option(
    "--size", callback=_size, metavar="HxW", help="Resize images to HxW (or N for NxN), bilinear."
)
@click.option("--channels", type=click.Choice(["1", "3"]), help="Default: 1 if all are grey.")
@click.option(
    "--bit-depth",
    type=int,
    metavar="BITS",
    help="Bits in use of values beyond 8 bits, 8 to 16: their upper 8 are kept.",
)
@click.option(
    "--window",
    callback=_window,
    metavar="LOW:HIGH",
    help="Values beyond 8 bits, or floats: LOW becomes 0 and HIGH 255, linear.",
)
@click.option(
    "--task",
    type=click.Choice(["multiclass", "multilabel", "binary"]),
    help="binary (NIH): any finding or none.",
)
@click.option(
    "--classes",
    callback=_names,
    metavar="A,B,...",
    help="Names of the classes in the order of the labels.",
)
@click.option(
    "--class-folders",
    type=click.Choice(["outer", "inner"]),
    help="Folder: which of two levels of folders are the classes (default: outer).",
)
@click.option(
    "--first-label", type=click.IntRange(0, 1), help="NPZ, IDX: the number of the first class."
)
@click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="NPZ: where channels stand.")
@click.option(
    "--transpose/--no-transpose",
    default=None,
    help="IDX: swap height and width (default: for EMNIST, which stores images so).",
)
@click.option(
    "--labels-csv",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table: the CSV file, where it is not the only one in PATH.",
)
@click.option(
    "--delimiter", callback=_delimiter, metavar="SIGN", help="Table: between columns (default: ,)."
)
@click.option("--file-column", help="Table: column of file names.")
@click.option(
    "--loose-names",
    is_flag=True,
    help="Table: match file names without regard to folder, case and suffix.",
)
@click.option(
    "--label-column",
    "label_columns",
    multiple=True,
    help="Table: column of labels (joined by |), or each of several 0/1 columns.",
)
@click.option(
    "--label-separator",
    callback=_separator,
    metavar="SIGN",
    help="Table: between labels in one cell (default: |), or none.",
)
@click.option(
    "--group-column",
    help="Table, NPZ: column or array of whoever must stay in one split (patient).",
)
@click.option("--no-group", is_flag=True, help="Table, NPZ: nothing says whom an image is of.")
@click.option("--split-column", help="Table: column of train, val or test.")
@click.option(
    "--test-list",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table, NIH: text file with the names of the test images (default: PATH/test_list.txt).",
)
@click.option("--views", callback=_names, metavar="PA,AP", help="NIH: only X-rays of these views.")
@click.option("--limit", type=int, metavar="N", help="NIH: only the first N images of the table.")
@click.option(
    "--val-fraction",
    type=float,
    help="Share of /train for /val (default 0.1, or 0.05 beside an official test split; NIH 0.1).",
)
@click.option("--test-fraction", type=float, help="Share of /train for /test (default 0.2).")
@click.option("--split-seed", type=int, default=0, show_default=True)
@click.option("--license", "license_", default="", help="Default: that of the source, if known.")
@_data_dir
@_own_data
def import_(
    path: Path,
    name: str,
    out: Path | None,
    force: bool,
    format_: str | None,
    keep_invalid: bool,
    channels: str | None,
    classes: tuple[str, ...],
    val_fraction: float | None,
    test_fraction: float | None,
    split_seed: int,
    license_: str,
    data_dir: Path,
    **given: Any,
) -> None:
    """Write your own images and labels under PATH to HDF5.

    PATH is a folder with one folder per class, a CSV file (or the folder that holds it and its
    images), NIH's ChestX-ray14, a .npz file, or a folder of IDX files. Missing test and validation
    splits are taken from the training images. An interrupted import of NIH's X-rays resumes where
    it was.

    A summary says what was found, used and left out, and by which rules. Where two readings are
    possible the import stops with exit code 2 and names the option that decides. Exit code 1: the
    data set is invalid (`bench data validate`), and no file was written.
    """
    from harness.data.importers.base import ImportOptions
    from harness.data.importing import InvalidDatasetError, import_path
    from harness.data.reader import open_dataset
    from harness.data.split import Fractions

    out = out or data_dir / f"{name}.h5"
    if out.exists() and not force:
        raise BenchError(f"{out}: exists already; pass --force to replace it, or another --name")
    problems: list[Problem] = []
    try:
        import_path(
            path,
            name,
            out,
            format=format_,
            options=ImportOptions(
                channels=int(channels) if channels else None,
                classes=classes or None,
                **given,
            ),
            fractions=Fractions(val_fraction, test_fraction, split_seed),
            license=license_,
            keep_invalid=keep_invalid,
            report=problems.append,
        )
    except InvalidDatasetError as error:
        _tell(out, error.problems)
        terminal.error(str(error))
        raise click.exceptions.Exit(1) from error
    with open_dataset(out, memory_budget=0) as dataset:
        for heading, text in _account(dataset):
            terminal.note(f"{heading}: {text}")
    _tell(out, problems)
    click.echo(out)


@data.command()
@click.argument("file")
@_data_dir
@_own_data
def validate(file: str, data_dir: Path) -> None:
    """Check FILE (a path or a name) thoroughly; exit code 1 when it has errors.

    Derives again: the range of the labels, mean and standard deviation, classes without examples,
    images in two splits, groups (patients) in two splits.
    """
    from harness.data.locate import resolve

    path = resolve(file, data_dir)
    if _report(path):
        raise click.exceptions.Exit(1)
    click.echo(f"{path}: valid")


def _report(path: Path) -> int:
    """Print every problem of a file; return the number of errors."""
    from harness.data.validate import validate as examine

    problems = examine(path)
    _tell(path, problems)
    return sum(problem.severity == "error" for problem in problems)


def _tell(path: Path, problems: Iterable[Problem]) -> None:
    for problem in problems:
        tell = terminal.error if problem.severity == "error" else terminal.warn
        tell(f"{path}: {problem.message}")


def _account(dataset: DatasetFile) -> list[tuple[str, str]]:
    """What the import found, used and left out, and the rule of the splits."""
    rows = dataset.summary.lines() if dataset.summary is not None else []
    sizes = ", ".join(f"{count} {name}" for name, count in dataset.sizes.items())
    return [*rows, ("split", f"{sizes}: {dataset.split_rule}")]


@data.command()
@click.argument("file")
@_data_dir
@_own_data
def info(file: str, data_dir: Path) -> None:
    """Describe FILE (a path or a name): shapes, classes, counts, source, split, licence.

    For several labels an image: the positives of each, as a number and as a share of the split.
    """
    from harness.data.locate import resolve
    from harness.data.reader import open_dataset

    with open_dataset(resolve(file, data_dir), memory_budget=0) as dataset:
        _describe(dataset)


def _describe(dataset: DatasetFile) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.data.validate import shared_groups

    channels, height, width = dataset.image_shape
    facts = {
        "name": dataset.name,
        "file": str(dataset.path),
        "sha256": dataset.sha256(),
        "task": f"{dataset.task}, {len(dataset.classes)} classes",
        "images": f"uint8, {channels} x {height} x {width} (C x H x W)",
        "mean": ", ".join(f"{value:.6f}" for value in dataset.mean),
        "std": ", ".join(f"{value:.6f}" for value in dataset.std),
        "license": dataset.license,
    }
    about = Table(box=None, pad_edge=False, show_header=False)
    for key, value in facts.items():
        about.add_row(key, escape(value))
    for heading, text in _account(dataset):
        about.add_row(heading, escape(text))
    for entry in dataset.source:
        text = f"{entry.get('file', '?')}  sha256 {entry.get('sha256', '?')}"
        extra = [entry[key] for key in ("url", "note") if key in entry]
        about.add_row("source", escape("  ".join([text, *extra])))
    terminal.print(about)
    terminal.print()
    terminal.print(_counts(dataset))
    groups = {name: dataset.split(name).group for name in dataset.sizes}
    for fault in shared_groups({k: v for k, v in groups.items() if v is not None}):
        terminal.error(f"{dataset.path}: {fault}")


def _counts(dataset: DatasetFile) -> Table:
    """How often each class occurs in each split, as a number and (multilabel) as a share."""
    from rich.markup import escape
    from rich.table import Table

    multilabel = dataset.task == "multilabel"
    table = Table(box=None, pad_edge=False)
    table.add_column("positives of" if multilabel else "class")
    for name in dataset.sizes:
        table.add_column(name, justify="right")
    readers = {name: dataset.split(name) for name in dataset.sizes}

    def add(what: str, numbers: Iterable[int], share: bool = multilabel) -> None:
        texts = (
            f"{number} ({number / total:5.1%})" if share else str(number)
            for number, total in zip(numbers, dataset.sizes.values(), strict=True)
        )
        table.add_row(escape(what), *texts)

    per_split = [dataset.class_counts(name).tolist() for name in dataset.sizes]
    for name, numbers in zip(dataset.classes, zip(*per_split, strict=True), strict=True):
        add(name, numbers)
    table.add_section()
    if multilabel:
        add("none of them", (int((~r.labels.any(axis=1)).sum()) for r in readers.values()))
    add("images", dataset.sizes.values(), share=False)
    groups = [reader.group for reader in readers.values()]
    if all(group is not None for group in groups):
        add("groups (patients)", (len(set(g.tolist())) for g in groups if g is not None), False)
    return table
