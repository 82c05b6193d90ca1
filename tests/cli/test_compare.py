"""``bench compare``: what differs, what may not be compared, and what is noise."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def compared(verb):
    """What ``bench compare --format json`` says, and what it noted."""

    def compare(*words):
        got = verb("compare", *words, "--format", "json")
        assert got.exit_code == 0, got.output
        return json.loads(got.stdout), got.stderr

    return compare


def verdicts(found, place=0):
    return [row["against"][place]["verdict"] for row in found["rows"]]


def test_the_same_thing_twice_shows_no_difference(made_up, compared):
    found, notes = compared(made_up("one"), made_up("other"))
    assert found["normalised"]
    assert verdicts(found) == ["not significant"] * 2
    for row in found["rows"]:
        (against,) = row["against"]
        ratio = against["speed_ratio"]
        assert ratio["low"] < 1 < ratio["high"]
        assert (against["accuracy_difference"], against["accuracy_p"]) == (0, 1)
        assert against["auroc_difference"] is None
    assert notes == ""


def test_faster_and_slower_and_their_mean(made_up, compared):
    slow = made_up("slow", rate={"swift": 1000.0, "tidy": 4000.0})
    found, _ = compared(slow, made_up("fast", rate={"swift": 2000.0, "tidy": 2000.0}))
    assert verdicts(found) == ["faster", "slower"]
    assert found["rows"][0]["images_per_second"][1]["value"] == pytest.approx(2000, rel=0.02)
    assert [row["against"][0]["speed_ratio"]["value"] for row in found["rows"]] == pytest.approx(
        [2, 0.5], rel=0.03
    )
    assert found["geometric_mean"][0]["value"] == pytest.approx(1, rel=0.03)


def test_a_faster_machine_is_no_faster_framework_unless_asked_raw(made_up, compared):
    one, other = made_up("one"), made_up("other", rate=2000.0, gemm=100.0)
    found, _ = compared(one, other)
    assert verdicts(found) == ["not significant"] * 2
    found, _ = compared(one, other, "--raw")
    assert not found["normalised"]
    assert verdicts(found) == ["faster"] * 2


def test_runs_without_matrix_products_are_compared_as_measured(made_up, compared):
    found, notes = compared(made_up("one"), made_up("old", gemm=None))
    assert not found["normalised"]
    assert "speeds are as measured: B did not take" in notes


def test_few_rounds_say_so_and_give_no_mean(made_up, compared):
    found, _ = compared(made_up("one", epochs=5), made_up("other", epochs=5, rate=9000.0))
    assert verdicts(found) == ["too few rounds"] * 2
    ratio = found["rows"][0]["against"][0]["speed_ratio"]
    assert ratio["value"] > 5
    assert (ratio["low"], found["geometric_mean"]) == (None, [None])


def test_accuracy_is_paired_image_by_image(made_up, compared):
    found, _ = compared(made_up("one", seeds=(0, 1)), made_up("other", seeds=(0, 1), quality=1.0))
    against = found["rows"][0]["against"][0]
    assert against["accuracy_difference"] < -0.1
    assert against["accuracy_p"] < 0.001
    assert against["accuracy_significant"]


@pytest.mark.parametrize(("quality", "significant"), [(2.9, False), (0.5, True)])
def test_without_predictions_intervals_are_held_against_each_other(
    made_up, compared, quality, significant
):
    other = made_up("other", quality=quality)
    for arrays in (other / "cells").glob("*.h5"):
        arrays.unlink()
    found, _ = compared(made_up("one"), other)
    against = found["rows"][0]["against"][0]
    assert against["accuracy_p"] is None
    assert against["accuracy_significant"] is significant


def test_two_classes_have_a_difference_of_auroc(made_up, compared, verb):
    runs = [made_up(name, classes=("ill", "well"), quality=q) for name, q in (("a", 2.0), ("b", 1))]
    found, _ = compared(*runs)
    difference = found["rows"][0]["against"][0]["auroc_difference"]
    assert difference["low"] < difference["value"] < difference["high"] < 0
    assert "AUROC B-A" in verb("compare", *runs).stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "gpu"}, "A and B differ in device: cpu, gpu"),
        ({"batch_size": 32}, "A and B differ in batch_size: 64, 32"),
        ({"precision": "float64"}, "A and B differ in precision: float32, float64"),
        (
            {"optimizer": {"learning_rate": 0.1}},
            "A and B differ in optimizer learning_rate: 0.05, 0.1",
        ),
        ({"data": "other"}, "A and B differ in the data of digits"),
        ({"weights": "other"}, "differ in the initial weights of swift/lenet5/digits, seed 0"),
    ],
)
def test_what_was_not_identical_is_refused(made_up, verb, change, message):
    one, other = made_up("one"), made_up("other", **change)
    got = verb("compare", one, other)
    assert (got.exit_code, got.stdout) == (2, "")
    *faults, advice = got.stderr.splitlines()
    assert message in faults[0]
    assert all(line.startswith("error: ") for line in faults)
    assert "--anyway" in advice
    got = verb("compare", one, other, "--anyway")
    assert got.exit_code == 0, got.output
    assert f"warning: {faults[0].removeprefix('error: ')}" in got.stderr
    assert "swift" in got.stdout


def test_machine_and_versions_are_told_and_not_refused(made_up, compared):
    other = made_up("other", cpu="another", versions={"numpy": "3.0.0"})
    _, notes = compared(made_up("one"), other)
    assert "B differs from A in cpu: made up, another" in notes
    assert "B differs from A in numpy: 2.0.0, 3.0.0" in notes


def test_other_seeds_are_told(made_up, compared):
    found, notes = compared(made_up("one", seeds=(0, 1)), made_up("other", seeds=(1, 2)))
    assert "B trained from other seeds than A (0, 1; 1, 2)" in notes
    assert found["rows"][0]["against"][0]["accuracy_p"] == 1
    found, _ = compared(made_up("low", seeds=(0,)), made_up("high", seeds=(1,)))
    assert found["rows"][0]["against"][0]["accuracy_p"] is None


def test_rows(made_up, compared, verb):
    one, other = made_up("one"), made_up("other", failed=["tidy"])
    found, notes = compared(one, other)
    assert [row["framework"] for row in found["rows"]] == ["swift"]
    assert "tidy/lenet5/digits is left out: nothing trained in B" in notes
    found, notes = compared(one, one, "--variants", "t*/lenet5/*")
    assert [row["framework"] for row in found["rows"]] == ["tidy"]
    got = verb("compare", one, one, "--variants", "torch/*/*")
    assert got.exit_code == 2
    assert "nothing is called torch/*/*; there are swift/lenet5/digits, tidy" in got.stderr
    got = verb("compare", one, other, "--variants", "tidy/*/*")
    assert got.exit_code == 2
    assert "no variant, model and data set in common" in got.stderr


def test_tables_for_people(made_up, verb):
    runs = [made_up("one"), made_up("two"), made_up("three", rate=3000.0)]
    got = verb("compare", *runs)
    assert "each round divided by the speed of a matrix product" in got.stdout
    row = next(line for line in got.stdout.splitlines() if line.startswith("swift"))
    assert row.index("not significant") < row.index("faster")
    assert "+0.0 points, p = 1.00" in row
    got = verb("compare", *runs, "--format", "markdown", "--raw")
    assert "as measured" in got.stdout
    rows = [line for line in got.stdout.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in rows}) == 1
    assert rows[-1].startswith("| geometric mean |")
    assert f"- C: `{runs[2]}" in got.stdout


def test_one_run_is_not_enough(made_up, verb):
    assert verb("compare", made_up("one")).exit_code == 2
