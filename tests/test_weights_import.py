"""Weights of torchvision's networks: into our weight file, and from there into training."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import re
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness import interchange, plugins
from harness.cli import main
from harness.errors import BenchError
from harness.interchange import import_weights
from harness.plugins import find_model
from harness.protocol.transfer import starting_weights
from harness.protocol.weights import initial_weights, load_weights, read_weights, save_weights

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def densenet_of_torchvision():
    """Laid out as torchvision's, by hand, with nothing of ours; every number moved a little."""
    path = BENCHMARKS / "torchvision_style.py"
    spec = importlib.util.spec_from_file_location("torchvision_style", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network = module.DenseNet121(channels=3, classes=1000).eval()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand_like(tensor))
    return network


@pytest.fixture(scope="module")
def densenet():
    return densenet_of_torchvision()


def our_network(name, shape, classes, weights):

    card = find_model(name)
    network = importlib.import_module(f"{card.package}.torch").NETWORK(card, shape, classes).eval()
    held = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    with torch.no_grad():
        for key, tensor in held.items():
            tensor.copy_(torch.from_numpy(weights[key]))
    return network


@pytest.mark.parametrize("form", ["safetensors", "pth", "nested", "old names"])
def test_densenet_computes_the_same(densenet, tmp_path, form):
    state = densenet.state_dict()
    source = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    match form:
        case "safetensors":
            safetensors.save_file(state, source)
        case "nested":
            wrapped = {f"module.densenet121.{name}": value for name, value in state.items()}
            torch.save({"epoch": 3, "state_dict": wrapped}, source)
        case "old names":
            dotted = {
                name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
                for name, value in state.items()
            }
            assert dotted.keys() != state.keys()
            torch.save(dotted, source)
        case _:
            torch.save(state, source)
    out = tmp_path / "weights.h5"
    found = import_weights(source, "densenet121", out)
    assert (found.channels, found.outputs, found.arrays) == (3, 1000, 606)
    file = read_weights(out)
    assert file.model == "densenet121"
    ours = our_network("densenet121", (3, 64, 64), 1000, file.weights)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, logits = densenet(images), ours(images)
    assert logits.std() > 1e-3
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [64, 224])
def test_resnet_of_either_stem(tmp_path, side):
    parameters = find_model("resnet18").parameters((3, side, side), 1000)
    state = {name: torch.from_numpy(w) for name, w in initial_weights(parameters, 1).items()}
    counters = {"bn1.num_batches_tracked": torch.tensor(7)}
    torch.save(state | counters, tmp_path / "resnet.pth")
    import_weights(tmp_path / "resnet.pth", "resnet18", tmp_path / "resnet.h5")
    weights = load_weights(tmp_path / "resnet.h5", parameters)
    assert all(np.array_equal(weights[name], state[name].numpy()) for name in state)


def test_half_precision_becomes_single(densenet, tmp_path):
    half = {name: tensor.half() for name, tensor in densenet.state_dict().items()
            if tensor.is_floating_point()}  # fmt: skip
    safetensors.save_file(half, tmp_path / "half.safetensors")
    import_weights(tmp_path / "half.safetensors", "densenet121", tmp_path / "half.h5")
    weights = read_weights(tmp_path / "half.h5").weights
    assert weights["conv0.weight"].dtype == np.float32
    assert np.array_equal(weights["conv0.weight"], half["features.conv0.weight"].float().numpy())


def refused(path: Path, model: str = "densenet121") -> str:
    out = path.with_suffix(".out")
    with pytest.raises(BenchError) as error:
        import_weights(path, model, out)
    assert not out.exists()
    return str(error.value)


def test_what_is_refused(densenet, tmp_path):
    state = dict(densenet.state_dict())
    path = tmp_path / "weights.safetensors"
    assert "No such file" in refused(path)
    path.write_bytes(b"nothing of the kind")
    assert "cannot read weights" in refused(path)

    def holding(**changed):
        safetensors.save_file({**state, **changed}, path)
        return refused(path)

    assert "extra.weight is unknown" in holding(**{"features.extra.weight": torch.zeros(3)})
    norm = "features.norm5.weight"
    assert "norm5.weight has shape (3,)" in holding(**{norm: torch.zeros(3)})
    assert "not finite" in holding(**{norm: torch.full((1024,), torch.nan)})
    assert "norm5.weight is int64" in holding(**{norm: torch.zeros(1024, dtype=torch.int64)})
    assert "norm5.weight is F8_E4M3" in holding(**{norm: torch.zeros(1024).to(torch.float8_e4m3fn)})
    del state["features.norm5.running_var"]
    assert "norm5.running_var is missing" in holding()
    assert "is no state dict of ResNet-18" in refused(path, "resnet18")
    assert "resnet18, densenet121" in refused(path, "lenet5")
    assert "unknown model 'vgg'" in refused(path, "vgg")


def refused_here(path: Path) -> str:
    """What the process that reads checkpoints says; here, because it takes long to start."""
    from harness.backends.torch.checkpoint import read_checkpoint

    with pytest.raises(BenchError) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_checkpoints_that_hold_no_state_dict(tmp_path):
    path = tmp_path / "weights.pth"
    assert "No such file" in refused(path)
    path.write_bytes(b"nothing of the kind")
    assert "no state dict" in refused_here(path)
    for content in (torch.zeros(3), {"a": 3}, {}, [torch.zeros(3)], {"model": {}}):
        torch.save(content, path)
        assert "holds no state dict" in refused_here(path)


@pytest.fixture
def resnet():
    """A state dict of ResNet-18 for grey images of 64 pixels and three classes."""
    parameters = find_model("resnet18").parameters((1, 64, 64), 3)
    return {name: torch.from_numpy(w) for name, w in initial_weights(parameters, 1).items()}


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "_orig_mod.", "net.module."])
def test_what_training_code_puts_before_names(resnet, tmp_path, prefix):
    path = tmp_path / "weights.safetensors"
    safetensors.save_file({prefix + k: v for k, v in resnet.items()}, path)
    import_weights(path, "resnet18", tmp_path / "w.h5")
    weights = read_weights(tmp_path / "w.h5").weights
    assert all(np.array_equal(weights[name], resnet[name].numpy()) for name in resnet)


def test_two_networks_in_one_file_are_not_mixed(resnet, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.save_file({"model.fc.bias": torch.ones(3), **resnet}, path)
    # In the order of the file, which safetensors chooses.
    assert re.search(
        r"fc\.bias and (model\.)?fc\.bias are both fc\.bias", refused(path, "resnet18")
    )


def test_tensors_that_are_ready_for_training(resnet, tmp_path):
    path = tmp_path / "weights.pth"
    state = {name: torch.nn.Parameter(tensor) for name, tensor in resnet.items()}
    torch.save({"epoch": 3, "model_state_dict": state}, path)
    import_weights(path, "resnet18", tmp_path / "w.h5")
    assert np.array_equal(
        read_weights(tmp_path / "w.h5").weights["fc.weight"], resnet["fc.weight"].numpy()
    )


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_bfloat16(resnet, tmp_path, form):
    path = tmp_path / f"weights.{form}"
    half = {name: tensor.bfloat16() for name, tensor in resnet.items()}
    safetensors.save_file(half, path) if form == "safetensors" else torch.save(half, path)
    import_weights(path, "resnet18", tmp_path / "w.h5")
    weights = read_weights(tmp_path / "w.h5").weights
    assert all(np.array_equal(weights[name], half[name].float().numpy()) for name in half)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (lambda: torch.eye(3).to_sparse(), "fc.bias is sparse"),
        (
            lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            "fc.bias is quantised",
        ),
        (lambda: torch.ones(3, device="meta"), "fc.bias is without values"),
        (lambda: torch.ones(1).expand(30_000, 1_000_000), "expanded from fewer numbers"),
        (lambda: torch.ones(3).to(torch.float8_e4m3fn), "fc.bias is torch.float8_e4m3fn"),
    ],
)
def test_tensors_that_are_no_plain_numbers(resnet, tmp_path, tensor, message):
    path = tmp_path / "weights.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({**resnet, "fc.bias": tensor()}, path)
    assert message in refused_here(path)


def packed(path, state):
    torch.save(state, path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)


def cut(path, state):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])


def overwritten(path, state):
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[100:160] = b"\xff" * 60
    path.write_bytes(content)


def declares_a_tebibyte(path, _state):
    """An old file, whose storage says that it has 2^38 numbers."""
    tensor = torch.ones(12345)
    torch.save({"fc.bias": tensor}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    number = (12345).to_bytes(2, "little")
    assert b"M" + number in content
    content = content.replace(b"M" + number, b"\x8a\x05" + (2**38).to_bytes(5, "little"))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (packed, "a packed archive"),
        (cut, "damaged"),
        (overwritten, "damaged"),
        (lambda path, _: path.write_bytes(b""), "no state dict"),
        (lambda path, _: path.write_bytes(b"PK\x03\x04" + bytes(100)), "damaged archive"),
    ],
)
def test_damaged_files_are_one_line(resnet, tmp_path, write, message):
    path = tmp_path / "weights.pth"
    write(path, resnet)
    assert message in refused_here(path)


def test_one_tensor_under_many_names(tmp_path):
    shared = torch.ones(2**20)
    torch.save({f"layer{index}": shared for index in range(50)}, tmp_path / "weights.pth")
    assert "reading it takes far more memory" in refused_here(tmp_path / "weights.pth")


def test_more_memory_than_the_file_can_need(tmp_path):
    declares_a_tebibyte(tmp_path / "weights.pth", None)
    assert "reading it takes far more memory" in refused(tmp_path / "weights.pth", "resnet18")


def test_a_file_that_crashes_or_stops_the_reader(resnet, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    torch.save(resnet, path)
    monkeypatch.setattr(interchange, "_START_S", 0.1)
    assert "reading it does not end (stopped after 0.1" in refused(path, "resnet18")


def test_a_backend_of_another_package_brings_its_reader(resnet, tmp_path, monkeypatch):
    reader = {".npz": "harness.data.npz_archive:read_arrays"}
    theirs = replace(plugins.backends()["torch"], name="theirs", weight_readers=reader)
    path = tmp_path / "weights.npz"
    np.savez(path, **{name: tensor.numpy() for name, tensor in resnet.items()})
    assert "weights are read from .bin, .ckpt, .pt, .pth, .safetensors, .tar" in refused(
        path, "resnet18"
    )
    found = {**plugins.backends(), "theirs": theirs}
    monkeypatch.setattr(interchange, "backends", lambda: found)
    import_weights(path, "resnet18", tmp_path / "w.h5")
    assert read_weights(tmp_path / "w.h5").weights["fc.bias"].shape == (3,)
    absent = replace(theirs, packages=("no_such_package",))
    monkeypatch.setattr(interchange, "backends", lambda: {"theirs": absent})
    assert "only PyTorch reads" in refused(path, "resnet18")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    os.mkfifo(path)
    assert "is a pipe or device" in refused(path, "resnet18")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_file_does_not_run(tmp_path, protocol):
    trace = tmp_path / "trace"
    code = pickle.dumps({"state_dict": Malicious(trace)}, protocol)
    (tmp_path / "weights.pth").write_bytes(code)
    assert "without running the code in it" in refused(tmp_path / "weights.pth")
    assert not trace.exists()
    pickle.loads(code)
    assert trace.exists(), "the file was harmless: this test shows nothing"


def test_the_command(densenet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    safetensors.save_file(densenet.state_dict(), "imagenet.safetensors")
    words = ["weights", "import", "imagenet.safetensors", "--model", "densenet121"]
    got = CliRunner().invoke(main, words)
    assert (got.exit_code, got.stdout) == (0, "imagenet.weights.h5\n"), got.output
    assert "606 arrays" in got.stderr
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert CliRunner().invoke(main, [*words, "--force"]).exit_code == 0


@pytest.fixture
def colour_file(tmp_path):
    """ResNet-18 for colours and 1,000 classes, as a weight file."""
    parameters = find_model("resnet18").parameters((3, 64, 64), 1000)
    weights = initial_weights(parameters, seed=9)
    save_weights(tmp_path / "colour.h5", weights, model="resnet18")
    return read_weights(tmp_path / "colour.h5")


def test_a_start_from_other_colours_and_classes(colour_file):
    card = find_model("resnet18")
    drawn = initial_weights(card.parameters((1, 64, 64), 14), seed=3)
    start = starting_weights(colour_file, card, (1, 64, 64), 14, seed=3)
    assert list(start) == list(drawn)
    assert all(start[name].shape == drawn[name].shape for name in drawn)
    # The head is the protocol's; everything else the file's, colours summed.
    assert np.array_equal(start["fc.weight"], drawn["fc.weight"])
    kernels = colour_file.weights["conv1.weight"]
    assert np.array_equal(start["conv1.weight"], kernels.sum(axis=1, keepdims=True))
    deep = "layer4.1.conv2.weight"
    assert np.array_equal(start[deep], colour_file.weights[deep])
    other = starting_weights(colour_file, card, (1, 64, 64), 14, seed=4)
    assert not np.array_equal(other["fc.weight"], start["fc.weight"])


def test_a_grey_image_gives_what_its_three_equal_colours_give(colour_file):
    card = find_model("resnet18")
    grey = starting_weights(colour_file, card, (1, 64, 64), 1000, seed=0)
    assert np.array_equal(grey["fc.weight"], colour_file.weights["fc.weight"])
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        of_grey = our_network("resnet18", (1, 64, 64), 1000, grey)(image)
        of_colours = our_network("resnet18", (3, 64, 64), 1000, colour_file.weights)(
            image.expand(1, 3, 64, 64)
        )
    assert torch.allclose(of_grey, of_colours, rtol=1e-4, atol=1e-4)


def test_grey_kernels_spread_over_colours(tmp_path):
    card = find_model("xraynet")
    weights = initial_weights(card.parameters((1, 64, 64), 2), seed=0)
    save_weights(tmp_path / "grey.h5", weights, model="xraynet")
    start = starting_weights(read_weights(tmp_path / "grey.h5"), card, (3, 64, 64), 2, seed=0)
    assert np.allclose(start["conv1.weight"].sum(axis=1, keepdims=True), weights["conv1.weight"])


def test_a_start_that_does_not_fit(colour_file):
    with pytest.raises(BenchError, match="weights of 'resnet18', not of 'xraynet'"):
        starting_weights(colour_file, find_model("xraynet"), (1, 64, 64), 14, seed=0)
    # Above 64 pixels the stem is another one.
    with pytest.raises(BenchError, match=r"conv1\.weight has shape .* wants \(64, 1, 7, 7\)"):
        starting_weights(colour_file, find_model("resnet18"), (1, 96, 96), 14, seed=0)
