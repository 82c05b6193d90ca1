"""Archives that are damaged, locked, foreign, or declare more than they hold."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from harness.data.importers import npz
from harness.data.importers.options import ImportOptions
from harness.data.npz_archive import read_arrays
from harness.errors import BenchError

IMAGES = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(shape: str, dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.fixture
def archive(tmp_path):
    """Writes members as they are, by method of compression."""

    def write(method=zipfile.ZIP_STORED, **members: bytes):
        path = tmp_path / "a.npz"
        whole = {"images.npy": saved(IMAGES), "labels.npy": saved(LABELS)}
        given = {f"{name}.npy": content for name, content in members.items()}
        with zipfile.ZipFile(path, "w", method) as file:
            for name, content in (whole | given).items():
                file.writestr(name, content)
        return path

    return write


def patched(path, offset_of: bytes, at: int, value: bytes):
    """Overwrite bytes at ``at`` from every place where ``offset_of`` is."""
    content = bytearray(path.read_bytes())
    place = -1
    while (place := content.find(offset_of, place + 1)) >= 0:
        content[place + at : place + at + len(value)] = value
    path.write_bytes(content)
    return path


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def refused(path) -> str:
    with pytest.raises(BenchError) as caught:
        npz.load(path, ImportOptions())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_python_knows_are_read(archive, method):
    path = archive(method)
    np.testing.assert_array_equal(npz.load(path, ImportOptions()).splits["train"].labels, LABELS)
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    assert "damaged" in refused(path)


def test_methods_that_it_does_not_know(archive):
    for number in (9, 93, 98):  # Deflate64, Zstandard, PPMd
        path = patched(archive(), LOCAL, 8, number.to_bytes(2, "little"))
        path = patched(path, CENTRAL, 10, number.to_bytes(2, "little"))
        assert "cannot be unpacked" in refused(path)


def test_encrypted(archive):
    path = patched(patched(archive(), LOCAL, 6, b"\x01\x00"), CENTRAL, 8, b"\x01\x00")
    assert "is encrypted; save it without a password" in refused(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"just text", "is no NumPy array"),
        (b"", "is no NumPy array"),
        (saved(LABELS)[:-8], "but holds 40 bytes"),
        (saved(LABELS) + bytes(8), "but holds 56 bytes"),
        (header("(18446744073709551616,)"), "declares 18446744073709551616 values"),
        (header("(4294967296, 4294967296)"), "declares 4294967296 x 4294967296 values"),
        (header("(-6,)") + bytes(6), "declares -6 values"),
        (header("(6.5,)") + bytes(6), "is no NumPy array"),
        (header("(" * 3000 + ")" * 3000), "is no NumPy array"),
        (header("(6,)", dtype="|O") + bytes(6), "pickled Python objects"),
        (saved(np.int64(3)), "labels: a single value"),
    ],
    ids=range(11),
)
def test_members_that_are_not_what_they_say(archive, labels, message):
    assert message in refused(archive(labels=labels))


def test_a_bomb_is_not_unpacked(archive):
    """Its directory declares 2^40 bytes."""
    path = archive(zipfile.ZIP_DEFLATED)
    path = patched(path, CENTRAL, 24, (2**32 - 2).to_bytes(4, "little"))
    message = refused(path)
    assert "take" in message or "declares" in message


def test_what_is_not_wanted_is_not_read(archive):
    path = archive(extra=b"just text")
    assert set(read_arrays(path, {"images", "labels"}.__contains__)) == {"images", "labels"}


def test_no_archive(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"\x80\x04N.")
    assert "pickled Python objects" in refused(path)
    assert "not a file" in refused(tmp_path)
