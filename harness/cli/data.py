"""``bench data``: make, get, check and describe the data sets that every framework reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness import paths
from harness.cli.tables import JSON, show
from harness.console import terminal
from harness.data import importers
from harness.data.importers.options import ImportOptions, Option, declared, flag_of
from harness.errors import BenchError

if TYPE_CHECKING:
    from rich.table import Table

    from harness.data.cards import Card
    from harness.data.reader import DatasetFile
    from harness.data.validate import Problem

FORMATS = ["name", "description", "options", "own options"]
PROBLEMS = ["severity", "message"]
INFO = ["name", "file", "sha256", "content sha256", "task", "classes", "image shape", "mean", "std",
        "license", "split rule", "splits", "source", "faults"]  # fmt: skip
"""Of ``--json``."""

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


class _Value(click.ParamType):  # type: ignore[type-arg]
    """What an import option takes, as its declaration says."""

    def __init__(self, option: Option) -> None:
        self.name = option.metavar
        self._option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._option.value(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Format(click.ParamType):  # type: ignore[type-arg]
    """An importer of whatever package; they are looked for when somebody asks."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(importers.importable())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return importers.get(str(value)).NAME


class _ImportOption(click.Option):
    """Its help ends in the formats that it is for, unless that is all of them."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        name, every = str(self.name), importers.importable()
        formats = [each for each in every if name in importers.get(each).USES]
        if record is None or name == "yes" or len(formats) == len(every):
            return record
        return record[0], f"{record[1]} [{', '.join(formats)}]"


def _import_options(function: Function) -> Function:
    """One option of the command line for each that an import may be given."""
    for name, option in reversed(list(declared().items())):
        default, flag = getattr(ImportOptions, name), flag_of(name)
        further: dict[str, Any] = {"type": _Value(option), "metavar": option.metavar}
        if isinstance(default, tuple) and option.parse is str:
            further["multiple"] = True
        elif default is False:
            further = {"is_flag": True}
        elif name == "transpose":
            flag = f"{flag}/--no-{name}"
            further = {}
        elif option.choices:
            further["metavar"] = f"[{'|'.join(option.choices)}]"
        function = click.option(
            flag, name, cls=_ImportOption, default=default, help=option.help, **further
        )(function)
    return function


def _own_options(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """``("a=1", "b=2")`` as {"a": "1", "b": "2"}."""
    found: dict[str, str] = {}
    for text in values:
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise click.BadParameter(f"{text!r}: expected NAME=VALUE")
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice")
        found[key] = value
    return found


@click.group()
@_own_data
def data() -> None:
    """Export, import, fetch, validate and describe data sets.

    All frameworks read the same HDF5 file; these commands make it.
    """


@data.command("list")
@_data_dir
@_own_data
@JSON
def list_(data_dir: Path, as_json: bool) -> None:
    """List the known data sets and the files that are ready."""
    show(*listed(data_dir), as_json=as_json)
    terminal.note(f"`bench data import` reads: {', '.join(importers.importable())}")


def listed(data_dir: Path) -> tuple[list[dict[str, str]], list[str]]:
    """A row for each known data set and each file in ``data_dir``, and the headings."""
    from harness.data.cards import load_cards
    from harness.data.locate import exported

    headings = ["name", "title", "task", "state", "train/val/test"]
    cards, files = load_cards(), exported(data_dir)
    rows = []
    for name in [*cards, *(name for name in files if name not in cards)]:
        card = cards.get(name)
        title = card.title if card else "imported"
        cells = (name, title, *_state(name, card, files.get(name), data_dir))
        rows.append(dict(zip(headings, cells, strict=True)))
    return rows, headings


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
@_own_data
@JSON
def formats(as_json: bool) -> None:
    """List the formats that can be imported, and the options of each."""
    if as_json:
        show([_format(name) for name in importers.importable()], FORMATS, as_json=True)
        return
    for name in importers.importable():
        importer = importers.get(name)
        click.echo(f"{name}: {importer.DESCRIPTION}")
        if flags := sorted(map(flag_of, importer.USES & declared().keys())):
            click.echo(f"  {' '.join(flags)}")
        for key, option in importers.own_options(importer).items():
            choices = f" ({', '.join(option.choices)})" if option.choices else ""
            click.echo(f"  --option {key}={option.metavar}: {option.help}{choices}")


def _format(name: str) -> dict[str, Any]:
    importer = importers.get(name)
    return {
        "name": name,
        "description": importer.DESCRIPTION,
        "options": sorted(map(flag_of, importer.USES & declared().keys())),
        "own options": {k: option.help for k, option in importers.own_options(importer).items()},
    }


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
        terminal.note(f"{path} is there already; --force writes it again")
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
    "--format",
    "format_",
    type=_Format(),
    help="What PATH is (default: recognised by the names in it).",
)
@click.option(
    "--option",
    "own",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_own_options,
    help="An option of the importer's own; `bench data formats` lists them.",
)
@click.option("--keep-invalid", is_flag=True, help="Write the file although validation fails.")
@_import_options
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
    own: dict[str, str],
    keep_invalid: bool,
    val_fraction: float | None,
    test_fraction: float | None,
    split_seed: int,
    license_: str,
    data_dir: Path,
    **given: Any,
) -> None:
    """Write your own images and labels under PATH to HDF5.

    PATH is a folder with one folder per class, a CSV file (or the folder that holds it and its
    images), NIH's ChestX-ray14, a .npz file, a folder of IDX files, or what an importer of another
    package reads (`bench data formats`). Missing test and validation splits are taken from the
    training images. An interrupted import of NIH's X-rays resumes where it was.

    A summary says what was found, used and left out, and by which rules. Where two readings are
    possible the import stops with exit code 2 and names the option that decides. Exit code 1: the
    data set is invalid (`bench data validate`), and no file was written.
    """
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
            options=ImportOptions(**given, own=own),
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
@JSON
def validate(file: str, data_dir: Path, as_json: bool) -> None:
    """Check FILE (a path or a name) thoroughly; exit code 1 when it has errors.

    Derives again: the range of the labels, mean and standard deviation, classes without examples,
    images in two splits, groups (patients) in two splits.
    """
    from harness.data.locate import resolve
    from harness.data.validate import validate as examine

    path = resolve(file, data_dir)
    problems = examine(path)
    if as_json:
        show([asdict(problem) for problem in problems], PROBLEMS, as_json=True)
    else:
        _tell(path, problems)
    if any(problem.severity == "error" for problem in problems):
        raise click.exceptions.Exit(1)
    if not as_json:
        click.echo(f"{path}: valid")


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
@JSON
def info(file: str, data_dir: Path, as_json: bool) -> None:
    """Describe FILE (a path or a name): shapes, classes, counts, source, split, licence.

    For several labels an image: the positives of each, as a number and as a share of the split.
    """
    from harness.data.locate import resolve
    from harness.data.reader import open_dataset

    with open_dataset(resolve(file, data_dir), memory_budget=0) as dataset:
        if as_json:
            show([_facts(dataset)], INFO, as_json=True)
        else:
            _describe(dataset)


def _facts(dataset: DatasetFile) -> dict[str, Any]:
    """What ``info`` says, as data."""
    splits = {}
    for name, size in dataset.sizes.items():
        groups = dataset.split(name).group
        counts = dataset.class_counts(name).tolist()
        splits[name] = {
            "images": size,
            "counts": dict(zip(dataset.classes, counts, strict=True)),
            "groups": None if groups is None else len(set(groups.tolist())),
        }
    return {
        "name": dataset.name,
        "file": str(dataset.path),
        "sha256": dataset.sha256(),
        "content sha256": dataset.content_sha256(),
        "task": dataset.task,
        "classes": list(dataset.classes),
        "image shape": list(dataset.image_shape),
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        "license": dataset.license,
        "split rule": dataset.split_rule,
        "splits": splits,
        "source": list(dataset.source),
        "faults": _shared(dataset),
    }


def _shared(dataset: DatasetFile) -> list[str]:
    """Groups (patients) that are in two splits."""
    from harness.data.validate import shared_groups

    groups = {name: dataset.split(name).group for name in dataset.sizes}
    return list(shared_groups({k: v for k, v in groups.items() if v is not None}))


def _describe(dataset: DatasetFile) -> None:
    from rich.markup import escape
    from rich.table import Table

    channels, height, width = dataset.image_shape
    facts = {
        "name": dataset.name,
        "file": str(dataset.path),
        "sha256": dataset.sha256(),
        "content": f"sha256 {dataset.content_sha256()} (images, labels, groups, classes)",
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
    for fault in _shared(dataset):
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
