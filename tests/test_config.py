from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.config import Experiment, available_cpus, load_experiment, parse_experiment
from harness.errors import BenchError


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"epochs": -3}}, "training.epochs"),
        ({"training": {"epochs": "many"}}, "training.epochs"),
        ({"training": {"epochs": 1.5}}, "training.epochs"),
        ({"training": {"batch_size": 0}}, "training.batch_size"),
        ({"training": {"schedule": "linear"}}, "training.schedule"),
        ({"training": {"precision": "float16"}}, "training.precision"),
        ({"training": {"epoch": 3}}, "unknown setting 'training.epoch'"),
        ({"training": 3}, "training"),
        ({"training": {"optimizer": "adam"}}, "training.optimizer"),
        ({"training": {"optimizer": {"name": "rmsprop"}}}, "training.optimizer.name"),
        ({"training": {"optimizer": {"learning_rate": 0}}}, "training.optimizer.learning_rate"),
        ({"training": {"optimizer": {"learning_rate": "nan"}}}, "training.optimizer.learning_rate"),
        ({"training": {"optimizer": {"learning_rate": "inf"}}}, "training.optimizer.learning_rate"),
        ({"training": {"optimizer": {"momentum": 1}}}, "training.optimizer.momentum"),
        ({"training": {"optimizer": {"momentum": "nan"}}}, "training.optimizer.momentum"),
        ({"training": {"optimizer": {"weight_decay": -1}}}, "training.optimizer.weight_decay"),
        ({"training": {"optimizer": {"beta2": 1.0}}}, "training.optimizer.beta2"),
        ({"training": {"optimizer": {"epsilon": "inf"}}}, "training.optimizer.epsilon"),
        ({"frameworks": ["torch", "jax", "torch"]}, "frameworks: names something twice"),
        ({"frameworks": "torch"}, "frameworks"),
        ({"models": []}, "models"),
        ({"datasets": []}, "datasets"),
        ({"datasets": [3]}, "datasets.0"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": ["1", "01"]}, "seeds: names something twice"),
        ({"threads": 0}, "threads"),
        ({"device": "tpu"}, "device"),
        ({"training": {"augmentation": {"shift": -1}}}, "training.augmentation.shift"),
        ({"training": {"augmentation": {"rotate": 3}}}, "unknown setting"),
        ({"training": {"positive_weights": "heavy"}}, "training.positive_weights"),
        ({"threads": 10**6}, "threads: is 1000000, but this process may use only"),
        ({"unheard_of": 1}, "unknown setting 'unheard_of'"),
    ],
)
def test_a_bad_value_is_named_in_one_line(settings, named):
    with pytest.raises(BenchError) as caught:
        parse_experiment(settings, where="here")
    message = str(caught.value)
    assert message.startswith(f"here: {named}")
    assert "\n" not in message


def test_every_fault_is_told_at_once():
    with pytest.raises(BenchError, match=r"seeds.*; training\.epochs"):
        parse_experiment({"seeds": [], "training": {"epochs": 0}}, where="here")


def test_an_experiment_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Experiment().threads = 1  # type: ignore[misc]


def test_threads_default_to_the_processors_of_this_process():
    assert Experiment().threads == len(available_cpus())


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(
        'models = ["lenet5-relu"]\nseeds = [4, 5]\n'
        "[training]\nepochs = 7\nbatch_size = 32\n"
        '[training.optimizer]\nname = "adam"\nlearning_rate = 0.001\n'
    )
    flags = {"seeds": ["6"], "training": {"epochs": "9", "optimizer": {"learning_rate": "0.01"}}}
    got = load_experiment(path, flags)
    assert got.models == ("lenet5-relu",)
    assert got.seeds == (6,)
    assert (got.training.epochs, got.training.batch_size) == (9, 32)
    assert (got.training.optimizer.name, got.training.optimizer.learning_rate) == ("adam", 0.01)
    assert got.training.schedule == Experiment().training.schedule


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs =", "is not valid TOML"),
        (b"name = '\xff'", "is not valid TOML"),
        (b"[training]\nepoks = 3", "unknown setting 'training.epoks'"),
        (b"training = 3", "training: "),
        (b"[training]\noptimizer = 'adam'", "training.optimizer: "),
        (b"[training]\nepochs = true", "training.epochs: expected a number"),
        (b"threads = true", "threads: expected a number"),
        (b"seeds = [0, true]", "seeds: expected a number"),
        (b"[training.optimizer]\nlearning_rate = true", "learning_rate: expected a number"),
        (b"[training.augmentation]\nshift = false", "shift: expected a number"),
        (
            b"seeds = [9223372036854775808]",
            "seeds.0: input should be less than",
        ),
        (b"seeds = [" + b"9" * 5000 + b"]", "is not valid TOML"),
        (b"models = " + b"[" * 50_000, "is not valid TOML"),
        (b"#" * 2**21, "longer than 1 MiB"),
        (b"device = '" + b"x" * 300 + b"'", "device: "),
    ],
)
def test_a_faulty_file(tmp_path, content, message):
    path = tmp_path / "experiment.toml"
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        load_experiment(path, {"training": {"optimizer": {}}})
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_true_and_false_where_they_belong(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text("profile = true\nskip_unavailable = true\n[training.augmentation]\nflip = true")
    got = load_experiment(path, {})
    assert (got.profile, got.skip_unavailable, got.training.augmentation.flip) == (True, True, True)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_file_that_cannot_be_read(tmp_path, make):
    path = tmp_path / "experiment.toml"
    make(path)
    with pytest.raises(BenchError, match=f"cannot read the experiment file {path}: "):
        load_experiment(path, {})
