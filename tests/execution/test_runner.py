"""What is checked before anything is trained, and the command that makes a run again."""

from __future__ import annotations

import shlex
from dataclasses import replace

import h5py
import pytest

from harness.cli.run import run
from harness.config import Experiment, TimeLimits, load_experiment, parse_experiment
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.execution.runner import command_line, prepare
from harness.files import file_sha256
from harness.paths import data_dir
from harness.report.sections import data
from harness.settings import nested


def test_the_command_names_the_data_folder_and_every_setting(tmp_path):
    experiment = parse_experiment({"frameworks": ["torch"], "datasets": ["x's.h5"]}, where="test")
    command, verb, *words = shlex.split(command_line(experiment, tmp_path))
    assert (command, verb) == ("bench", "run")
    options = run.make_context(verb, words).params
    assert options["data_dir"] == tmp_path
    assert load_experiment(None, nested(Experiment, options)) == experiment


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ("60", (60, 60, 60)),
        (60, (60, 60, 60)),
        ("epoch=5", (900, 3600, 5)),
        ("start=1.5,compile=2", (1.5, 2, None)),
    ],
)
def test_time_limits_are_given_for_all_phases_or_for_some(given, limits):
    found = parse_experiment({"timeout": given}, where="test").timeout
    assert (found.start, found.compile, found.epoch) == limits
    assert TimeLimits.model_validate(str(found)) == found
    assert "--timeout" in command_line(Experiment(timeout=found), data_dir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("soon", "timeout.start: input should be a valid number"),
        ("0", "timeout.start: input should be greater than 0"),
        ("inf", "timeout.start: input should be a finite number"),
        ("epoch=", "timeout.epoch: input should be a valid number"),
        ("training=5", "unknown setting 'timeout.training'"),
    ],
)
def test_faulty_time_limits(given, message):
    with pytest.raises(BenchError, match=message):
        parse_experiment({"timeout": given}, where="test")


def test_usual_time_limits_are_not_spelled_out():
    assert "--timeout" not in command_line(Experiment(), data_dir())


def test_the_usual_data_folder_is_not_spelled_out():
    experiment = parse_experiment({"frameworks": ["torch"]}, where="test")
    assert "--data-dir" not in command_line(experiment, data_dir())


@pytest.fixture
def check(planted, tmp_path):
    """Prepares a run of one planted backend on these files."""

    def check(*paths, batch_size=8):
        settings = {
            "frameworks": ["sound"],
            "datasets": list(map(str, paths)),
            "training": {"batch_size": batch_size},
        }
        experiment = parse_experiment(settings, where="test")
        return prepare(experiment, out=tmp_path / "run", data_dir=tmp_path)

    return check


def test_two_files_of_one_name(check, small_file, small_dataset, tmp_path):
    other = write_dataset(tmp_path / "other.h5", small_dataset(sizes=(30, 9, 9)))
    with pytest.raises(BenchError, match="another data set of this run is called 'small' too"):
        check(small_file, other)
    assert not (tmp_path / "run").exists()


def test_a_data_set_whose_name_is_a_path(check, small_dataset, tmp_path):
    path = write_dataset(tmp_path / "x.h5", small_dataset())
    with h5py.File(path, "a") as file:
        file.attrs["name"] = "../../x"
    with pytest.raises(BenchError, match=r"name '../../x': must be of letters"):
        check(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("batch_size", [40, 41])
def test_a_batch_as_large_as_the_training_split_is_the_largest(check, small_file, batch_size):
    if batch_size == 40:
        assert len(check(small_file, batch_size=batch_size).cells) == 1
    else:
        with pytest.raises(BenchError, match="batch size 41 is larger than the 40 training images"):
            check(small_file, batch_size=batch_size)


def test_the_manifest_says_what_will_run(check, small_file):
    comparison = check(small_file)
    manifest = comparison.folder.manifest
    assert list(manifest.cells) == comparison.cells
    assert manifest.experiment.frameworks == ("sound",)
    entry = manifest.datasets["small"]
    assert (entry.train, entry.val, entry.test) == (40, 9, 12)
    assert entry.sha256 == file_sha256(small_file)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--device", "gpu"], "framework 'torch' cannot run with --device gpu: "),
        (
            ["--device", "gpu", "--frameworks", "julia-reference"],
            "cannot run with --device gpu (or",
        ),
        (
            ["--precision", "float64"],
            "'torch-bf16' has no precision float64 (it has",
        ),
    ],
)
def test_what_a_backend_cannot_do_is_refused_before_there_is_a_folder(
    settings, message, small_file, tmp_path, ready, monkeypatch
):
    """The frameworks are asked, and not imported here."""
    frameworks = "torch-bf16" if "--precision" in settings else "torch"
    ready("julia-reference" if "julia-reference" in settings else frameworks)
    words = ["--frameworks", frameworks, "--datasets", str(small_file), "--batch-size", "8"]
    options = run.make_context("run", [*words, *settings]).params
    experiment = load_experiment(None, nested(Experiment, options))
    with pytest.raises(BenchError) as caught:
        prepare(experiment, out=tmp_path / "run", data_dir=tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "settings", "message"),
    [
        ({"devices": ("cpu",)}, {"device": "gpu"}, "cannot run with --device gpu"),
        ({"factory": "planted:NoDevice"}, {"device": "gpu"}, "gpu: no such device: plug it in"),
        ({}, {"device": "gpu"}, None),
        ({"find_network": lambda card: None}, {}, "has no network for the model lenet5"),
        ({"precisions": ("float64",)}, {}, "has no precision float32"),
    ],
)
def test_each_backend_is_asked(
    fields, settings, message, planted, small_file, tmp_path, monkeypatch
):
    monkeypatch.setitem(planted, "limited", replace(planted["sound"], name="limited", **fields))
    settings = {"datasets": [str(small_file)], "training": {"batch_size": 8}} | settings
    for skip in (False, True):
        experiment = parse_experiment(
            {"frameworks": ["limited", "sound"], "skip_unavailable": skip} | settings, where="test"
        )
        out = tmp_path / f"run{skip}"
        if message is None or skip:
            skipped = prepare(experiment, out=out, data_dir=tmp_path).folder.manifest.skipped
            assert list(skipped) == ([] if message is None else ["limited"])
            continue
        with pytest.raises(BenchError, match=f"framework 'limited' .*{message}"):
            prepare(experiment, out=out, data_dir=tmp_path)
        assert not out.exists()


def test_a_model_that_a_backend_lacks_is_left_out_of_its_groups_with_the_reason(
    planted, small_file, tmp_path, monkeypatch
):
    limited = replace(
        planted["sound"],
        name="limited",
        find_network=lambda card: "planted" if card.name == "lenet5" else None,
    )
    monkeypatch.setitem(planted, "limited", limited)
    settings = {
        "frameworks": ["limited", "sound"],
        "models": ["lenet5", "lenet5-relu"],
        "datasets": [str(small_file)],
        "training": {"batch_size": 8},
    }
    experiment = parse_experiment(settings, where="test")
    comparison = prepare(experiment, out=tmp_path / "run", data_dir=tmp_path)
    assert [[cell.framework for cell in group] for group in comparison.groups] == [
        ["limited", "sound"],
        ["sound"],
    ]
    assert comparison.folder.manifest.skipped == {
        "limited lenet5-relu": "has no network for the model lenet5-relu"
    }


def test_warnings_of_the_data_reach_the_report(check, small_file):
    """``small_file`` has 9 validation and 12 test images, and says nothing of its origin."""
    comparison = check(small_file)
    manifest = comparison.folder.manifest
    assert manifest.data_warnings["small"] == (
        "attribute 'source' lists no files: the origin is unknown",
        "/val: only 9 images; a score there is a guess",
        "/test: only 12 images; a score there is a guess",
    )
    told = data.dataset("small", manifest.datasets["small"], manifest.data_warnings["small"])
    assert "| **warning** | /val: only 9 images; a score there is a guess |" in told


def test_invalid_data_are_refused(check, small_dataset, tmp_path):
    source = [{"file": "x", "sha256": "none"}]
    path = write_dataset(tmp_path / "small.h5", small_dataset(source=source))
    with pytest.raises(BenchError, match=r"small\.h5: invalid: attribute 'source': 'x' has"):
        check(path)
    assert not (tmp_path / "run").exists()
