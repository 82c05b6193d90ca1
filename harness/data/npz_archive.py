"""Arrays out of a NumPy archive that nobody vouches for."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import psutil
from numpy.lib import format as npy

from harness.errors import BenchError
from harness.files import check_regular, first_line

_ENCRYPTED = 0x1
_SUFFIX = ".npy"


def read_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda _: True
) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of the archive ``path`` whose names are ``wanted``, by name.

    What a header declares is compared with what the archive holds before any memory is taken.
    Members that are no ``.npy`` files are left out.

    Raises:
        BenchError: no archive, or a damaged, encrypted or foreign one; pickled objects (they
            could run code); or arrays that do not fit in memory.
    """
    try:
        check_regular(path)
        # Opened here: otherwise the file stays open when it turns out to be damaged.
        with path.open("rb") as stream:
            _check_kind(path, stream)
            with zipfile.ZipFile(stream) as archive:
                chosen = [
                    member
                    for member in archive.infolist()
                    if member.filename.endswith(_SUFFIX)
                    and wanted(member.filename.removesuffix(_SUFFIX))
                ]
                _check_memory(path, chosen)
                return {
                    member.filename.removesuffix(_SUFFIX): _array(path, archive, member)
                    for member in chosen
                }
    except OSError as error:
        if error.errno is None:  # bz2's word for damage
            raise BenchError(f"{path}: damaged .npz file ({first_line(error)})") from error
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from error
    except MemoryError:
        raise BenchError(f"{path}: does not fit in memory") from None
    except BenchError:
        raise
    except NotImplementedError as error:  # a method of compression that zipfile does not know
        raise BenchError(
            f"{path}: cannot be unpacked ({first_line(error)}); "
            "save the arrays with numpy.savez_compressed"
        ) from error
    except Exception as error:  # each decompressor has an exception of its own
        raise BenchError(f"{path}: damaged or truncated .npz file ({first_line(error)})") from error


def _check_kind(path: Path, stream: IO[bytes]) -> None:
    head = stream.read(6)
    stream.seek(0)
    if head == npy.MAGIC_PREFIX:
        raise BenchError(f"{path}: a single array, not an .npz archive of several")
    if head[:1] == b"\x80":
        raise BenchError(
            f"{path}: holds pickled Python objects, which are not read; "
            "save plain numeric arrays with numpy.savez"
        )


def _check_memory(path: Path, members: list[zipfile.ZipInfo]) -> None:
    needed, free = sum(each.file_size for each in members), psutil.virtual_memory().available
    if needed > free:
        raise BenchError(
            f"{path}: its arrays take {needed / 2**30:.1f} GiB of memory, "
            f"{free / 2**30:.1f} GiB are free"
        )


def _array(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> npt.NDArray[np.generic]:
    where = f"{path}: {member.filename}"
    if member.flag_bits & _ENCRYPTED:
        raise BenchError(f"{where}: is encrypted; save it without a password")
    with archive.open(member) as stream:
        try:
            version = npy.read_magic(stream)
            if version == (1, 0):
                shape, _, dtype = npy.read_array_header_1_0(stream)
            else:
                shape, _, dtype = npy.read_array_header_2_0(stream)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise BenchError(f"{where}: is no NumPy array ({first_line(error)})") from error
        if dtype.hasobject:
            raise BenchError(
                f"{where}: holds pickled Python objects, which are not read; "
                "save plain numeric arrays with numpy.savez"
            )
        held = member.file_size - stream.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
            declared = " x ".join(map(str, shape)) or "1"
            raise BenchError(
                f"{where}: declares {declared} values of {dtype}, but holds {held} bytes"
            )
    with archive.open(member) as stream:
        array: npt.NDArray[np.generic] = npy.read_array(stream, allow_pickle=False)
        stream.read()  # to the end, where the checksum is compared
    return array
