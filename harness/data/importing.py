"""From a source to a data set file: recognise, load, split, write."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.console import printable
from harness.data import importers
from harness.data.importers.base import RawDataset
from harness.data.importers.options import ImportOptions
from harness.data.schema import ImageDataset, name_fault
from harness.data.split import Fractions, complete
from harness.data.validate import Problem, examine
from harness.data.writer import write_dataset
from harness.errors import BenchError

Report = Callable[[Problem], None]
_MOST_WARNINGS = 5  # of the libraries, of any kind


def assemble(
    raw: RawDataset, name: str, fractions: Fractions | None = None, license: str = ""
) -> ImageDataset:
    """Give ``raw`` its missing splits and its name; ``license`` wins over that of the source."""
    fractions = fractions or Fractions()
    if fractions.val is None and "val" not in raw.splits:
        fractions = dataclasses.replace(fractions, val=raw.val_fraction)
    splits, rule = complete(raw.splits, raw.task, fractions, raw.split_note)
    # Names of files and folders need not be UTF-8, but what HDF5 stores must be.
    return ImageDataset(
        name=name,
        task=raw.task,
        classes=tuple(map(printable, raw.classes)),
        splits=splits,
        source=[{key: printable(text) for key, text in entry.items()} for entry in raw.source],
        split_rule=printable(rule),
        license=license or raw.license or "unknown",
        summary=raw.summary,
    )


class InvalidDatasetError(BenchError):
    """A data set with errors, not written; ``problems`` lists everything found in it."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.problems = problems
        errors = [problem.message for problem in problems if problem.severity == "error"]
        super().__init__(
            f"{path}: not written: {errors[0]}{f' ({len(errors)} errors)' * (len(errors) > 1)}; "
            "correct the source, or pass --keep-invalid"
        )


def store(
    out: Path, dataset: ImageDataset, *, keep_invalid: bool = False, report: Report | None = None
) -> Path:
    """Write ``dataset`` to ``out``, validated before it gets that name; return ``out``.

    ``report`` is called with each problem found in a file that is written.

    Raises:
        InvalidDatasetError: the data set has errors, and ``keep_invalid`` is not set.
    """

    def check(file: Any) -> None:
        problems = examine(file)
        if not keep_invalid and any(problem.severity == "error" for problem in problems):
            raise InvalidDatasetError(out, problems)
        for problem in problems:
            if report is not None:
                report(problem)

    return write_dataset(out, dataset, check)


def work_folder(out: Path) -> Path:
    """Where a source may keep what it has done while ``out`` is not written yet."""
    return out.with_name(f".{out.name}.partial")


def import_path(
    path: Path,
    name: str,
    out: Path,
    *,
    format: str | None = None,
    options: ImportOptions | None = None,
    fractions: Fractions | None = None,
    license: str = "",
    origin: str = "",
    keep_invalid: bool = False,
    report: Report | None = None,
) -> Path:
    """Read the images and labels under ``path`` and write them to ``out``; return ``out``.

    ``format`` names the source; None means: recognise it. Replaces ``out`` where it exists.
    ``origin`` says where the files came from, for the record. See :func:`store` for the rest.
    Raises BenchError for whatever a person can fix; ``out`` is then left as it was.
    """
    if fault := name_fault(name):
        raise BenchError(fault)
    source = importers.recognise(path) if format is None else importers.get(format)
    if not path.exists():
        raise BenchError(f"{path}: no such file or folder")
    options = (options or ImportOptions()).for_importer(
        source.NAME, source.USES, importers.own_options(source)
    )
    work = work_folder(out)
    try:
        raw = _load(source, path, dataclasses.replace(options, work=work))
        if origin:
            raw = dataclasses.replace(raw, source=[_from(entry, origin) for entry in raw.source])
        dataset = assemble(raw, name, fractions, license)
        store(out, dataset, keep_invalid=keep_invalid, report=report)
        shutil.rmtree(work, ignore_errors=True)
        return out
    except MemoryError as error:
        raise BenchError(
            f"{path}: the images do not fit into memory; import them smaller (--size)"
        ) from error
    except OSError as error:
        where = error.filename or path
        raise BenchError(f"{where}: cannot be read: {error.strerror or error}") from error


def _load(source: importers.Importer, path: Path, options: ImportOptions) -> RawDataset:
    """What a source reads; warnings of the libraries become part of its summary."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        raw = source.load(path, options)
    if raw.summary is None or not caught:
        return raw
    caught_texts = dict.fromkeys(" ".join(str(warning.message).split())[:200] for warning in caught)
    texts = [*raw.summary.warnings, *list(caught_texts)[:_MOST_WARNINGS]]
    return dataclasses.replace(
        raw, summary=raw.summary.model_copy(update={"warnings": tuple(texts)})
    )


def _from(entry: dict[str, str], origin: str) -> dict[str, str]:
    return entry | {"note": "; ".join(filter(None, (entry.get("note"), origin)))}
