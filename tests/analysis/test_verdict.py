"""What a run is said to show, and no more than it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.summary import RunSummary
from harness.plugins import backends


def only(folder):
    (each,) = RunSummary.read(folder).workloads
    return each


def names(pairs):
    return [outcome.framework for outcome, *_ in pairs]


def test_faster_is_found_only_when_shown(make_run):
    speeds = only(make_run(seeds=(0, 1, 2))).verdict.speeds
    assert (speeds.leader.framework, names(speeds.slower), speeds.clear) == ("jax", ["torch"], True)
    assert speeds.starts == (3,)
    even = {"torch": 0.5, "jax": 0.5}
    speeds = only(make_run("even", frameworks=("torch", "jax"), seconds=even)).verdict.speeds
    assert not speeds.slower
    assert len(speeds.undecided) == 1


def test_few_epochs_claim_nothing(make_run):
    each = only(make_run(seeds=(0,), epochs=3))
    speeds = each.verdict.speeds
    assert (names(speeds.too_few), speeds.slower, speeds.undecided) == (["torch"], (), ())
    assert not each.speeds["jax"].estimate.has_interval


def test_accuracies_that_differ_are_found(make_run):
    each = only(make_run(frameworks=("torch", "jax"), wrong={"torch": 2, "jax": 20}))
    ((pair, p),) = each.verdict.accuracies.different
    assert (pair.first.framework, pair.second.framework) == ("torch", "jax")
    assert p == pytest.approx(2 * 2 * 0.5**18)
    assert [test.differing for test in pair.tests] == [18, 18]


def test_equal_predictions_are_found(make_run):
    same = {"torch": 2, "jax": 2, "knet": 2}
    each = only(make_run(frameworks=tuple(same), wrong=same))
    assert each.verdict.accuracies.same_predictions
    assert [pair.identical for pair in each.tests.pairs] == [True] * 3
    other = {**same, "julia-reference": 4}
    each = only(make_run("one", frameworks=tuple(other), wrong=other))
    assert sum(pair.identical for pair in each.tests.pairs) == 3


def test_one_framework_and_none_that_finished(make_run):
    verdict = only(make_run(frameworks=("torch",), seeds=(0,), epochs=1)).verdict
    assert (verdict.speeds.others, verdict.planned, verdict.identity) == (0, 1, "not compared")
    failed = {("torch", 0): "no", ("jax", 0): "no"}
    verdict = only(make_run("x", frameworks=("torch", "jax"), seeds=(0,), failed=failed)).verdict
    assert (verdict.finished, verdict.speeds, verdict.accuracies) == (False, None, None)


def test_identity(make_run):
    assert only(make_run()).verdict.identity == "identical"
    each = only(make_run("x", identity={("jax", 1): {"initial_weights": "f" * 64}}))
    assert each.verdict.identity == "different"
    weights = next(item for item in each.items if item.item == "initial_weights")
    assert (weights.status, weights.identical, weights.compared) == ("different", 1, 2)
    assert each.items[-1].status == "not used"


def test_cells_resumed_later_are_not_paired(make_run):
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    result = folder.results()[1]
    folder.write_result(result.model_copy(update={"started": "2001-02-03T09:00:00+00:00"}))
    speeds = only(folder).verdict.speeds
    assert names([(o,) for o in speeds.unpaired]) == ["torch"]


def test_aurocs(make_run):
    settings = {"frameworks": ("torch", "jax"), "task": "multilabel", "classes": ("a", "b")}
    verdict = only(make_run(**settings)).verdict
    assert (verdict.aurocs.tested, verdict.aurocs.different) == (True, ())
    quality = {"torch": 3.0, "jax": 0.0}
    each = only(make_run("apart", **settings, quality=quality, seeds=(0,)))
    ((pair, seed, difference),) = each.verdict.aurocs.different
    assert (pair.first.framework, seed) == ("torch", 0)
    assert difference.low > 0
    assert [o.framework for o in each.verdict.aurocs.guessing] == ["jax"]
    (test,) = pair.rank_tests
    assert test.difference(100).low < test.difference(1).low
    assert test.difference(1).value == pytest.approx(test.first - test.second)


def test_roles(make_run, monkeypatch):
    frameworks = ("julia-reference", "torch", "torch-compile", "jax", "jax-s2d", "knet")
    seconds = dict(zip(frameworks, (0.1, 0.5, 0.3, 0.4, 0.2, 0.6), strict=True))
    each = only(make_run(frameworks=frameworks, seconds=seconds, seeds=(0,), epochs=12))
    assert [o.framework for o in each.workload.ranked] == ["torch", "jax", "knet"]
    assert [o.framework for o in each.workload.by_role] == [
        "torch", "jax", "knet", "torch-compile", "jax-s2d", "julia-reference",
    ]  # fmt: skip
    assert each.verdict.speeds.leader.framework == "jax"
    of = {name: each.speeds[name] for name in frameworks}
    assert of["torch-compile"].to.framework == "torch"
    assert of["jax-s2d"].to.framework == "jax"
    assert of["jax-s2d"].estimate.value == pytest.approx(2, rel=0.05)
    assert of["julia-reference"].estimate.value == pytest.approx(5, rel=0.05)

    tuned = only(make_run("tuned", frameworks=("torch-compile", "jax-s2d"), seeds=(0,)))
    assert len(tuned.workload.ranked) == 2


def test_an_idiom_is_in_no_ranking_pair_or_check(make_run, monkeypatch):
    idiom = replace(
        backends()["knet"], name="idiom", title="The idiom", role="idiom", deviation="own batches"
    )
    monkeypatch.setitem(backends(), "idiom", idiom)
    each = only(
        make_run(
            frameworks=("torch", "jax", "idiom"),
            seconds={"idiom": 0.01},
            identity={("idiom", 0): {"batch_order": "f" * 64}},
            seeds=(0,),
        )
    )
    assert each.verdict.identity == "identical"
    assert each.speeds["idiom"].to is None
    assert [p.second.framework for p in each.tests.pairs] == ["jax"]
    assert "idiom" not in {outcome.framework for outcome in each.workload.ranked}
