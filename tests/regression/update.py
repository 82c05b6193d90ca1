"""Take finished runs into ``baselines.json``; what they do not cover stays as it is.

python tests/regression/update.py RUN_FOLDER...
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.results.baseline import (
    Baseline,
    baselines_of,
    read_baselines,
    write_baselines,
)
from harness.results.folder import RunFolder


def merge(baselines: list[Baseline]) -> list[Baseline]:
    """One baseline a framework, model and data set, with the seeds of all; the last one counts."""
    merged: dict[tuple[str, str, str], Baseline] = {}
    for new in baselines:
        key = (new.framework, new.model, new.dataset)
        old = merged.get(key, new)
        if (old.training, old.examples) != (new.training, new.examples):
            raise SystemExit(f"{' '.join(key)}: the runs trained differently")
        merged[key] = new.model_copy(
            update={"correct": old.correct | new.correct, "auroc": old.auroc | new.auroc}
        )
    return list(merged.values())


if __name__ == "__main__":
    path = Path(__file__).with_name("baselines.json")
    runs = [RunFolder.open(Path(name)) for name in sys.argv[1:]]
    new = [baseline for run in runs for baseline in baselines_of(run)]
    write_baselines(path, merge([*read_baselines(path), *new]))
