"""Get a known data set: from the system's own copy, or from its mirrors; then export it."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import importlib
import json
import logging
import time
import zlib
from pathlib import Path

from harness.console import terminal
from harness.data import importers
from harness.data.cards import Card, CardFile, find_card
from harness.data.importers.options import ImportOptions
from harness.data.importing import assemble, import_path, store
from harness.errors import BenchError
from harness.files import file_sha256, write_atomically

LIMIT_S = 7200.0
"""Seconds that the download of one file may take in all."""
ANSWER_S = 30.0
"""Seconds without a byte after which a server is given up."""
_ORIGINS = "origins.json"


def target(card: Card, data_dir: Path) -> Path:
    """Where the exported file of ``card`` lies."""
    return data_dir / f"{card.name}.h5"


def local_files(card: Card, data_dir: Path) -> Path | None:
    """The folder that already holds all files of ``card``, or None.

    The system's own copies come first, then earlier downloads.
    """
    for folder in (*card.system_folders, downloads(card, data_dir)):
        if card.files and all((folder / file.name).is_file() for file in card.files):
            return folder
    return None


def can_export(card: Card, data_dir: Path) -> bool:
    """Whether ``card`` can be exported without a network."""
    return importers.is_embedded(card.kind) or local_files(card, data_dir) is not None


def downloads(card: Card, data_dir: Path) -> Path:
    """Where the downloaded files of ``card`` are kept."""
    return data_dir / ".downloads" / card.name


def export(name: str, data_dir: Path) -> Path:
    """Make ``data_dir/name.h5`` from files that are here already; return it.

    Raises BenchError when there is no such data set, when its files are not here, or when one of
    them is not what its card says.
    """
    card = find_card(name)
    if importers.is_embedded(card.kind):
        return _export(card, Path(), data_dir)
    folder = local_files(card, data_dir)
    if folder is None:
        raise BenchError(f"{name}: its files are not on this machine; `bench data fetch {name}`")
    for file in card.files:
        _check(folder / file.name, file)
    return _export(card, folder, data_dir)


def fetch(name: str, data_dir: Path) -> Path:
    """Get the files of a known data set, export it to ``data_dir/name.h5`` and return that.

    A copy that the system has is taken before any download; downloads are kept and used again.
    Raises BenchError when no mirror gives a file with the right checksum, and when the data set
    cannot be downloaded from here (the steps by hand are then printed).
    """
    card = find_card(name)
    if card.steps:
        return _from_kaggle(card, data_dir)
    if card.files and local_files(card, data_dir) is None:
        folder = downloads(card, data_dir)
        for file in card.files:
            download(card, file, folder)
    return export(name, data_dir)


def download(card: Card, file: CardFile, folder: Path) -> Path:
    """Download one file into ``folder`` from the first mirror that has it intact; return it.

    Raises BenchError that names every mirror with its failure.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    failures: list[str] = []
    before = _state(folder / file.name)
    for mirror in card.mirrors:
        terminal.note(f"{card.name}: {file.name} from {mirror}")
        try:
            path = pooch.retrieve(
                mirror + file.name,
                known_hash=f"sha256:{file.sha256}" if file.sha256 else f"md5:{file.md5}",
                fname=file.name,
                path=folder,
                downloader=_download,
            )
            if _state(Path(path)) != before:  # else it was there already
                _record_origin(folder, file.name, mirror + file.name)
            return Path(path)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "error"
            failures.append(f"{mirror} (HTTP {status})")
        except requests.Timeout:
            failures.append(f"{mirror} (no answer in time)")
        except requests.RequestException as error:
            failures.append(f"{mirror} (no connection: {type(error).__name__})")
        except ValueError:  # pooch's word for a wrong checksum; it keeps no such file
            failures.append(f"{mirror} (wrong {'SHA-256' if file.sha256 else 'MD5'})")
        except OSError as error:
            raise BenchError(f"{folder}: cannot be written: {error.strerror or error}") from error
    raise BenchError(
        f"{card.name}: {file.name} could not be fetched from {'; '.join(failures)}. "
        f"Get the files by other means and run `bench data import FOLDER --name {card.name}`"
    )


def _download(url: str, output: str, _pooch: object) -> None:
    """Pooch's own downloader has no limit of the whole time: a server that sends byte after byte
    would keep it for ever."""
    import requests

    end = time.monotonic() + LIMIT_S
    with requests.get(url, stream=True, timeout=ANSWER_S) as response, open(output, "wb") as file:
        response.raise_for_status()
        while block := response.raw.read1(2**16, decode_content=True):
            file.write(block)
            if time.monotonic() > end:
                raise requests.Timeout(f"more than {LIMIT_S:g} s")


def _state(path: Path) -> tuple[int, int] | None:
    """What tells a file from an earlier one of its name; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


def _record_origin(folder: Path, name: str, url: str) -> None:
    """Keep beside the downloads where each came from: any mirror may have served it."""
    text = json.dumps(_origins(folder) | {name: url}, indent=1, sort_keys=True)
    write_atomically(folder / _ORIGINS, text + "\n")


def _origins(folder: Path) -> dict[str, str]:
    """The URL of each download; empty where none is recorded."""
    try:
        found = json.loads((folder / _ORIGINS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _origin(card: Card, folder: Path, name: str) -> dict[str, str]:
    """Where the bytes of a file came from, for the record of the data set."""
    if folder in card.system_folders:
        package = f" ({card.system_package})" if card.system_package else ""
        return {"note": f"copy on this system, {folder}{package}; equal by SHA-256"}
    url = _origins(folder).get(name)
    if url is not None:
        return {"url": url}
    return {"note": "from an earlier download; where from is not recorded"}


def _from_kaggle(card: Card, data_dir: Path) -> Path:
    """Download through kagglehub where it is installed and signed in, else tell how to go on."""
    size = str(card.size) if card.size else "N"
    command = f"bench data import FOLDER --format {card.kind} --name {card.name} --size {size}"
    if not _kaggle_is_ready():
        terminal.note(f"{card.title}\n{card.homepage}\n")
        for number, step in enumerate((*card.steps, command), start=1):
            terminal.note(f"  {number}. {step}")
        terminal.note("")
        raise BenchError(
            f"{card.name}: not fetched: kagglehub is not installed, or has no credentials; get it "
            f"by hand as above, or `pip install kagglehub`, sign in to Kaggle, and try again"
        )
    kagglehub = importlib.import_module("kagglehub")  # nobody's dependency, so no type checker's
    terminal.note(f"{card.name}: {card.kaggle} from Kaggle, through kagglehub")
    try:
        folder = Path(kagglehub.dataset_download(card.kaggle))
    except Exception as error:  # kagglehub raises what its layers below raise
        raise BenchError(
            f"{card.name}: kagglehub could not fetch {card.kaggle}: {error}"
        ) from error
    terminal.note(f"{card.name}: is at {folder}; for another size: {command}")
    return import_path(
        folder,
        card.name,
        target(card, data_dir),
        format=card.kind,
        options=ImportOptions(size=(card.size, card.size) if card.size else None),
        license=card.license,
        origin=f"from Kaggle, {card.kaggle}, through kagglehub",
    )


def _kaggle_is_ready() -> bool:
    """Whether kagglehub is installed and would sign in."""
    try:
        config = importlib.import_module("kagglehub.config")
    except ImportError:
        return False
    try:
        return config.get_kaggle_credentials() is not None
    except ValueError:  # its word for an unusable file of credentials
        return False


def _check(path: Path, file: CardFile) -> None:
    """Raise BenchError unless ``path`` is the file of the card, packed by whomever."""
    if file.sha256 is None:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "md5").hexdigest() == file.md5:
                return
        raise BenchError(
            f"{path}: wrong MD5, not the file that the card names; delete it and retry"
        )
    if file_sha256(path) == file.sha256:
        return
    if file.content_sha256 is not None:
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error):
            content = b""
        if hashlib.sha256(content).hexdigest() == file.content_sha256:
            return
    raise BenchError(
        f"{path}: wrong SHA-256, not the file that the card names; delete it and retry"
    )


def _export(card: Card, folder: Path, data_dir: Path) -> Path:
    path = folder / card.files[0].name if len(card.files) == 1 else folder
    raw = importers.get(card.kind).load(path, ImportOptions(classes=card.classes))
    by_name = {file.name.removesuffix(".gz"): file.name for file in card.files}
    source = [
        _with(entry, _origin(card, folder, by_name[entry["file"]])) if by_name else entry
        for entry in raw.source
    ]
    # No summary: what was read is the files that the card lists, whatever lies beside them.
    raw = dataclasses.replace(raw, source=source, summary=None)
    return store(target(card, data_dir), assemble(raw, card.name, license=card.license))


def _with(entry: dict[str, str], origin: dict[str, str]) -> dict[str, str]:
    notes = [each["note"] for each in (entry, origin) if "note" in each]
    return entry | origin | ({"note": "; ".join(notes)} if notes else {})
