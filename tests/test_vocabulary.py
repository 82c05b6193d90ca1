"""One word for one thing, and the field's: words that gave way to it do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GONE = {
    r"mend(s|ed|ing)?": "fix",
    r"tak(e|es|ing) turns|took turns|in turns": "interleaved",
    r"paid once": "start-up cost",
    r"answered (rightly|right)": "correct",
    r"hits and misses": "example predictions",
    r"closeness": "hardware utilisation, or numerical agreement",
    r"showcase": "example selection",
    r"gauge": "machine probe",
    r"cells to go": "remaining",
    r"RoundClock": "replay timer",
    r"by lot": "at random",
    r"shaken": "perturbed",
    r"films?": "radiographs, X-rays",
    r"carriers?": "group support",
    r"rehearse": "precompile workload",
    r"make it again": "reproduce",
    r"fewer digits": "lower precision",
    r"meets!|gather!": "barrier, allreduce",
    r"time to be told": "time to accuracy",
    r"false alarms?": "false positives",
}
FOLDERS = ("harness", "julia", "benchmarks", "datasets", "docs", "examples", "README.md")
LISTED = subprocess.run(
    ["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
FILES = [path for path in LISTED if path.endswith((".py", ".jl", ".md", ".toml", ".j2"))]


@pytest.mark.parametrize("word", GONE)
def test_words_that_gave_way(word: str) -> None:
    pattern = re.compile(rf"\b({word})(?!\w)", re.IGNORECASE)
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == [], f"say: {GONE[word]}"
