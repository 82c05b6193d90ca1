"""From a source to a data set file: recognise, load, split, write."""

from __future__ import annotations

from pathlib import Path

from harness.data import sources
from harness.data.hdf5 import ImageDataset, name_fault, write
from harness.data.sources._base import ImportOptions, RawDataset
from harness.data.split import Fractions, complete
from harness.errors import BenchError


def assemble(
    raw: RawDataset, name: str, fractions: Fractions | None = None, license: str = "unknown"
) -> ImageDataset:
    """Give ``raw`` its missing splits and its name."""
    splits, rule = complete(raw.splits, raw.task, fractions or Fractions(), raw.split_note)
    return ImageDataset(
        name=name,
        task=raw.task,
        classes=raw.classes,
        splits=splits,
        source=raw.source,
        split_rule=rule,
        license=license,
    )


def import_path(
    path: Path,
    name: str,
    out: Path,
    *,
    format: str | None = None,
    options: ImportOptions | None = None,
    fractions: Fractions | None = None,
    license: str = "unknown",
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
    try:
        raw = source.load(path, options)
        return write(out, assemble(raw, name, fractions, license))
    except MemoryError as error:
        raise BenchError(
            f"{path}: the images do not fit into memory; import them smaller (--size)"
        ) from error
    except OSError as error:
        where = error.filename or path
        raise BenchError(f"{where}: cannot be read: {error.strerror or error}") from error
