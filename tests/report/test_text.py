"""Numbers and foreign text as Markdown; the paired test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.report import text
from harness.stats.statistics import Estimate, mcnemar


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345.6, "12,346"),
        (123.4, "123"),
        (1.234, "1.23"),
        (0.0123, "0.0123"),
        (0.00001234, "1.23e-05"),
        (0.0, "0"),
        (math.nan, "—"),
        (None, "—"),
        (math.inf, "infinite"),
    ],
)
def test_number(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


def test_ratio_intervals_are_rounded_outwards() -> None:
    assert text.ratio(Estimate(1.0012, 1.0004, 1.0019)) == "1.001 (1.000 to 1.002)"
    assert text.ratio(Estimate(1.5, 1.2049, 1.801)) == "1.50 (1.20 to 1.81)"
    assert text.ratio(Estimate(1.5, math.nan, math.nan)) == "1.50"


def test_code_survives_backticks() -> None:
    assert text.code("a`b") == "``a`b``"
    assert text.fence("```\nx\n```", "md").startswith("````md\n")


def test_table_refuses_a_ragged_row() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under a header of 2"):
        text.table(["a", "b"], [["c"]])


def test_mcnemar_counts_only_where_one_is_right() -> None:
    first = np.array([True] * 12 + [False] * 3)
    second = np.array([True] * 4 + [False] * 9 + [True] * 2)
    paired = mcnemar(first, second)
    assert (paired.only_first, paired.only_second) == (8, 2)
    # 2 (C(10,0) + C(10,1) + C(10,2)) / 2^10
    assert paired.p == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(first, first).p == 1.0
    with pytest.raises(ValueError, match="do not pair"):
        mcnemar(first, first[:2])
