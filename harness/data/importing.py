"""From a source to a data set file: recognise, load, split, write."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from harness.data import sources
from harness.data.hdf5 import ImageDataset, name_fault, write
from harness.data.sources._base import ImportOptions, RawDataset
from harness.data.split import Fractions, complete
from harness.errors import BenchError


def assemble(
    raw: RawDataset, name: str, fractions: Fractions | None = None, license: str = ""
) -> ImageDataset:
    """Give ``raw`` its missing splits and its name; ``license`` wins over that of the source."""
    fractions = fractions or Fractions()
    if fractions.val is None and "val" not in raw.splits:
        fractions = dataclasses.replace(fractions, val=raw.val_fraction)
    splits, rule = complete(raw.splits, raw.task, fractions, raw.split_note)
    return ImageDataset(
        name=name,
        task=raw.task,
        classes=raw.classes,
        splits=splits,
        source=raw.source,
        split_rule=rule,
        license=license or raw.license or "unknown",
    )


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
) -> Path:
    """Read the images and labels under ``path`` and write them to ``out``; return ``out``.

    ``format`` names the source; None means: recognise it. Replaces ``out`` where it exists.
    Raises BenchError for whatever a person can mend; ``out`` is then left as it was.
    """
    if fault := name_fault(name):
        raise BenchError(fault)
    source = sources.recognise(path) if format is None else sources.get(format)
    if not path.exists():
        raise BenchError(f"{path}: no such file or folder")
    options = options or ImportOptions()
    if foreign := sorted(options.given() - source.USES):
        flag = "--" + foreign[0].replace("_", "-").replace("columns", "column")
        raise BenchError(f"{flag}: does not apply to a data set of format {source.NAME}")
    work = work_folder(out)
    try:
        raw = source.load(path, dataclasses.replace(options, work=work))
        write(out, assemble(raw, name, fractions, license))
        shutil.rmtree(work, ignore_errors=True)
        return out
    except MemoryError as error:
        raise BenchError(
            f"{path}: the images do not fit into memory; import them smaller (--size)"
        ) from error
    except OSError as error:
        where = error.filename or path
        raise BenchError(f"{where}: cannot be read: {error.strerror or error}") from error
