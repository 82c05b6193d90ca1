"""From what a person types to a data set file."""

from __future__ import annotations

from pathlib import Path

from harness.console import terminal
from harness.data.cards import load_cards, unknown_dataset
from harness.errors import BenchError

_SUFFIXES = (".h5", ".hdf5")


def exported(data_dir: Path) -> dict[str, Path]:
    """The files in ``data_dir``, by name."""
    return {path.stem: path for path in sorted(data_dir.glob("*.h5"))}


def resolve(name_or_path: str, data_dir: Path) -> Path:
    """The file that ``name_or_path`` means: a path, or a name in ``data_dir``.

    A known data set that needs no network is exported first. Several processes may do so at once:
    each writes the same bytes, and the last rename wins. The content of the file is not checked.

    Raises BenchError that lists what is known, or says which command gets the data set.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        if not path.exists():
            raise BenchError(f"{path}: no such file; `bench data list` shows what there is")
        if path.is_dir():
            raise BenchError(
                f"{path}: is a folder, not an HDF5 file; `bench data import {path} --name NAME` "
                "makes one of it"
            )
        return path
    name = name_or_path
    found = data_dir / f"{name}.h5"
    if found.is_file():
        return found
    cards = load_cards()
    if name not in cards:
        raise unknown_dataset(name, {*cards, *exported(data_dir)})
    from harness.data.fetch import can_export, export  # h5py comes with it

    if can_export(cards[name], data_dir):
        terminal.note(f"{name}: exporting to {found}")
        return export(name, data_dir)
    raise BenchError(
        f"{name}: not on this machine yet; get it with `bench data fetch {name}`, or import its "
        f"files with `bench data import FOLDER --name {name}`"
    )
