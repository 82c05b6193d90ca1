from __future__ import annotations

import pytest

from harness.plan import plan


def test_groups_differ_only_in_the_framework_and_rotate_with_the_seed():
    groups = list(
        plan(frameworks=("a", "b", "c"), models=("m", "n"), datasets=("d",), seeds=(7, 8, 9, 10))
    )
    assert [(group[0].model, group[0].seed) for group in groups] == [
        (model, seed) for model in ("m", "n") for seed in (7, 8, 9, 10)
    ]
    orders = ["".join(cell.framework for cell in group) for group in groups]
    assert orders == ["abc", "bca", "cab", "abc"] * 2
    for group in groups:
        assert len({(cell.model, cell.dataset, cell.seed) for cell in group}) == 1


def test_ids_are_unique_and_safe_in_file_names():
    groups = plan(frameworks=("a", "b"), models=("m", "n"), datasets=("d", "e"), seeds=(0, 1))
    ids = [cell.id for group in groups for cell in group]
    assert len(set(ids)) == len(ids) == 16
    assert ids[0] == "a-m-d-s0"
    assert not any(set(id_) & set("/\\ :") for id_ in ids)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nobody_is_always_first(count):
    frameworks = tuple("abcde"[:count])
    groups = plan(frameworks=frameworks, models=("m",), datasets=("d",), seeds=tuple(range(count)))
    assert {group[0].framework for group in groups} == set(frameworks)
