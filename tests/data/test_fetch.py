from __future__ import annotations

import contextlib
import gzip
import hashlib
import socket
import struct
import sys
import threading
import time
import types
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from harness.data import fetch
from harness.data.cards import Card, CardFile, find_card
from harness.data.reader import open_dataset
from harness.errors import BenchError


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def server(tmp_path):
    """A web server on this machine for ``tmp_path/web``; ``asked`` lists the requests."""
    (tmp_path / "web").mkdir()
    handler = partial(Handler, directory=str(tmp_path / "web"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def idx(values) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def web(tmp_path, server, monkeypatch):
    """A card whose files lie on the good mirror; the first mirror has none of them."""
    rng = np.random.default_rng(0)
    files = []
    for kind, values in (
        ("images-idx3", rng.integers(0, 256, (40, 6, 6), dtype=np.uint8)),
        ("labels-idx1", (np.arange(40) % 4).astype(np.uint8)),
    ):
        for stem in ("train", "t10k"):
            name, content = f"{stem}-{kind}-ubyte.gz", gzip.compress(idx(values), mtime=0)
            good = tmp_path / "web" / "good"
            good.mkdir(exist_ok=True)
            (good / name).write_bytes(content)
            files.append(
                CardFile(
                    name,
                    hashlib.sha256(content).hexdigest(),
                    hashlib.sha256(idx(values)).hexdigest(),
                )
            )
    base = f"http://127.0.0.1:{server.server_port}"
    card = Card(
        name="tiny",
        title="Tiny",
        task="multiclass",
        classes=("a", "b", "c", "d"),
        images="",
        homepage="",
        license="CC0",
        citation="",
        kind="idx",
        mirrors=(f"{base}/empty/", f"{base}/good/"),
        files=tuple(files),
    )
    monkeypatch.setattr(fetch, "find_card", lambda name: {"tiny": card}[name])
    return card


def use(monkeypatch, card):
    monkeypatch.setattr(fetch, "find_card", lambda _name: card)


def test_the_second_mirror_is_tried(web, server, tmp_path):
    path = fetch.fetch("tiny", tmp_path / "data")
    assert path == tmp_path / "data" / "tiny.h5"
    with open_dataset(path) as file:
        assert file.sizes == {"train": 36, "val": 4, "test": 40}
        assert file.classes == web.classes
        assert file.license == "CC0"
        assert [entry["url"] for entry in file.source] == [
            f"{web.mirrors[1]}{stem}-{kind}-ubyte.gz"  # the mirror that served them
            for stem in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        ]
    names = [file.name for file in web.files]
    assert server.asked == [f"/{mirror}/{name}" for name in names for mirror in ("empty", "good")]


def test_downloads_are_kept(web, server, tmp_path):
    first = fetch.fetch("tiny", tmp_path / "data").read_bytes()
    kept = tmp_path / "data" / ".downloads" / "tiny"
    assert {file.name for file in kept.glob("*.gz")} == {file.name for file in web.files}
    server.asked.clear()
    (tmp_path / "data" / "tiny.h5").unlink()
    assert fetch.fetch("tiny", tmp_path / "data").read_bytes() == first
    assert server.asked == []


def test_an_interrupted_fetch_goes_on(web, server, tmp_path):
    kept = tmp_path / "data" / ".downloads" / "tiny"
    fetch.download(web, web.files[0], kept)
    server.asked.clear()
    with open_dataset(fetch.fetch("tiny", tmp_path / "data")) as file:
        assert all(entry["url"].startswith(web.mirrors[1]) for entry in file.source)
    assert not any(web.files[0].name in path for path in server.asked)


def test_files_of_unknown_origin_have_no_url(web, tmp_path):
    kept = tmp_path / "data" / ".downloads" / "tiny"
    kept.mkdir(parents=True)
    for file in web.files:
        (kept / file.name).write_bytes((tmp_path / "web" / "good" / file.name).read_bytes())
    with open_dataset(fetch.export("tiny", tmp_path / "data")) as file:
        for entry in file.source:
            assert entry["note"] == "from an earlier download; where from is not recorded"
            assert "url" not in entry


def test_a_server_that_never_ends_is_given_up(web, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "LIMIT_S", 0.3)
    stop = threading.Event()

    class Dribble(SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    self.wfile.write(b"x")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dribble)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        use(monkeypatch, replace(web, mirrors=(f"http://127.0.0.1:{server.server_port}/",)))
        start = time.monotonic()
        with pytest.raises(BenchError, match="no answer in time"):
            fetch.fetch("tiny", tmp_path / "data")
        assert time.monotonic() - start < 5
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert not list((tmp_path / "data").rglob("*.gz"))


def test_a_wrong_checksum_is_refused(web, tmp_path):
    (tmp_path / "web" / "empty").mkdir()
    bad = tmp_path / "web" / "empty" / web.files[0].name
    bad.write_bytes(b"something else")
    good = tmp_path / "web" / "good" / web.files[0].name
    path = fetch.download(web, web.files[0], tmp_path / "kept")
    assert path.read_bytes() == good.read_bytes()
    good.write_bytes(b"also something else")
    path.unlink()
    with pytest.raises(BenchError) as caught:
        fetch.fetch("tiny", tmp_path / "data")
    message = str(caught.value)
    for mirror in web.mirrors:
        assert f"{mirror} (wrong SHA-256)" in message
    assert not list((tmp_path / "data").rglob("*.h5"))
    assert not list((tmp_path / "data").rglob("*.gz"))


def test_md5_where_nothing_else_is_published(web, tmp_path, monkeypatch):
    """One file, as MedMNIST's: the source gets that file, not its folder."""
    arrays = {}
    rng = np.random.default_rng(2)
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (6, 4, 4), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [1]] * 3)
    good = tmp_path / "web" / "good" / "pneumoniamnist.npz"
    np.savez(good, **arrays)
    md5 = hashlib.md5(good.read_bytes()).hexdigest()
    card = replace(
        web,
        kind="medmnist",
        classes=("normal", "pneumonia"),
        files=(CardFile("pneumoniamnist.npz", md5=md5),),
    )
    use(monkeypatch, card)
    with open_dataset(fetch.fetch("tiny", tmp_path / "data")) as file:
        assert file.sizes == {"train": 6, "val": 6, "test": 6}
        assert file.source[0]["url"].endswith("/pneumoniamnist.npz")
    kept = tmp_path / "data" / ".downloads" / "tiny" / "pneumoniamnist.npz"
    kept.write_bytes(b"other")
    with pytest.raises(BenchError, match="wrong MD5, not the file that the card names"):
        fetch.export("tiny", tmp_path / "data")
    kept.unlink()
    good.write_bytes(b"other")
    with pytest.raises(BenchError, match=r"good/ \(wrong MD5\)"):
        fetch.fetch("tiny", tmp_path / "data")


@pytest.fixture
def kaggle(monkeypatch):
    """A kagglehub that is installed; ``ready(credentials, folder)`` says what it does."""

    def ready(credentials, folder=None):
        def credentials_of_user():
            if credentials == "unusable":
                raise ValueError("Invalid Kaggle credentials file")
            return credentials

        def download(handle):
            if folder is None:
                raise RuntimeError("403 Client Error")
            assert handle == "nih-chest-xrays/data"
            return str(folder)

        hub = types.ModuleType("kagglehub")
        hub.dataset_download = download
        config = types.ModuleType("kagglehub.config")
        config.get_kaggle_credentials = credentials_of_user
        monkeypatch.setitem(sys.modules, "kagglehub", hub)
        monkeypatch.setitem(sys.modules, "kagglehub.config", config)

    return ready


@pytest.mark.parametrize("credentials", ["not installed", None, "unusable"])
def test_nih_is_explained_where_kaggle_cannot_be_asked(
    kaggle, credentials, tmp_path, capsys, monkeypatch
):
    if credentials == "not installed":
        monkeypatch.setitem(sys.modules, "kagglehub.config", None)
    else:
        kaggle(credentials)
    with pytest.raises(BenchError, match="nih: not fetched: kagglehub is not installed, or has"):
        fetch.fetch("nih", tmp_path)
    told = capsys.readouterr().err
    assert "https://nihcc.app.box.com/v/ChestXray-NIHCC" in told
    assert "bench data import FOLDER --format nih --name nih --size 224" in told
    assert not list(tmp_path.iterdir())


def test_nih_through_kagglehub(kaggle, tmp_path, monkeypatch, nih1000):
    kaggle("someone", nih1000)
    use(monkeypatch, replace(find_card("nih"), size=16))
    with open_dataset(fetch.fetch("nih", tmp_path)) as file:
        assert file.image_shape == (1, 16, 16)
        assert sum(file.sizes.values()) == 1000
        assert "from Kaggle, nih-chest-xrays/data" in file.source[-1]["note"]
    kaggle("someone")
    with pytest.raises(BenchError, match="kagglehub could not fetch nih-chest-xrays/data: 403"):
        fetch.fetch("nih", tmp_path)


def test_nih_is_not_exported_from_nothing(tmp_path):
    with pytest.raises(BenchError, match="`bench data fetch nih`"):
        fetch.export("nih", tmp_path)


def test_when_every_mirror_fails_each_is_named(web, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        use(monkeypatch, replace(web, mirrors=(web.mirrors[0], dead)))
        with pytest.raises(BenchError) as caught:
            fetch.fetch("tiny", tmp_path / "data")
    message = str(caught.value)
    assert f"{web.mirrors[0]} (HTTP 404)" in message
    assert f"{dead} (no connection: ConnectionError)" in message
    assert "bench data import FOLDER --name tiny" in message
    assert "\n" not in message


def test_the_copy_of_the_system_is_used(web, server, tmp_path, monkeypatch):
    """Packed anew, so the checksums of the gzip files differ, as Debian's do."""
    folder = tmp_path / "share"
    folder.mkdir()
    for file in web.files:
        content = gzip.decompress((tmp_path / "web" / "good" / file.name).read_bytes())
        (folder / file.name).write_bytes(gzip.compress(content, mtime=7))
    downloaded = fetch.fetch("tiny", tmp_path / "one")
    server.asked.clear()
    package = {"system_package": "package tiny-data"}
    use(monkeypatch, replace(web, system_folders=(tmp_path / "nowhere", folder), **package))
    with (
        open_dataset(fetch.fetch("tiny", tmp_path / "two")) as ours,
        open_dataset(downloaded) as theirs,
    ):
        for split in ours.sizes:
            np.testing.assert_array_equal(
                ours.split(split).all_images(), theirs.split(split).all_images()
            )
        assert [entry["sha256"] for entry in ours.source] == [
            entry["sha256"] for entry in theirs.source
        ]
        for entry in ours.source:
            assert "url" not in entry
            assert entry["note"].startswith(f"copy on this system, {folder} (package tiny-data)")
    assert server.asked == []
    (folder / web.files[2].name).write_bytes(gzip.compress(b"other numbers"))
    with pytest.raises(BenchError, match="wrong SHA-256, not the file that the card names"):
        fetch.fetch("tiny", tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_export_never_downloads(web, server, tmp_path):
    with pytest.raises(BenchError, match="`bench data fetch tiny`"):
        fetch.export("tiny", tmp_path / "data")
    assert server.asked == []


def test_a_folder_that_cannot_be_made(web, tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(BenchError, match="cannot be written"):
        fetch.fetch("tiny", tmp_path / "data")


def test_debians_fashion_mnist(tmp_path):
    card = find_card("fashion-mnist")
    if not any(folder.is_dir() for folder in card.system_folders):
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    with open_dataset(fetch.export("fashion-mnist", tmp_path), memory_budget=0) as file:
        assert file.sizes == {"train": 57_000, "val": 3_000, "test": 10_000}
        assert file.class_counts("test").tolist() == [1000] * 10
        assert file.class_counts("train").tolist() == [5700] * 10
        assert file.classes[9] == "Ankle boot"
        assert not any("url" in entry for entry in file.source)
        assert all("Debian package" in entry["note"] for entry in file.source)
        # The figures that everyone uses for all 60,000 images are 0.2860 and 0.3530.
        np.testing.assert_allclose([file.mean[0], file.std[0]], [0.2860, 0.3530], atol=2e-4)


def test_real_mnist_test_files_are_those_of_the_card(mnist10k):
    for file in find_card("mnist").files:
        if file.name.startswith("t10k"):
            digest = hashlib.sha256((mnist10k / file.name).read_bytes()).hexdigest()
            assert digest == file.sha256
