"""Fuzzing of every reader with atheris (libFuzzer), for ``make fuzz``.

``python tests/fuzz/fuzz.py [RUNS] [READER...]`` starts one process for each reader, which together
try RUNS inputs (default: 100,000). An input that crashes, hangs or takes more than 4 GiB ends
with exit code 1; it is kept in ``.fuzz/``.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
HDF5, HDF5_SHARE = ("data-set", "weights"), 0.2
"""Readers that get fewer inputs: libhdf5 loops on many of those that libFuzzer finds, and each of
them takes the second after which its process is ended."""
LIMITS = ("-rss_limit_mb=4096", "-verbosity=0", "-print_final_stats=0")


def fuzz(name: str, flags: list[str]) -> None:
    """Fuzz one reader in this process; does not return."""
    import atheris

    sys.path.insert(0, str(HERE.parent))
    with atheris.instrument_imports(include=["harness"]):
        from readers import READERS

        from harness import untrusted

    untrusted.CPU_S = 1  # damage makes libhdf5 loop often enough that ten seconds each are too long
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        path, content = reader.prepare(Path(folder, name))
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        (corpus / "valid").write_bytes(content)
        atheris.Setup(
            [sys.argv[0], *flags, f"-max_len={4 * len(content) + 4096}", str(corpus)],
            lambda data: reader.run(path, data),
        )
        atheris.Fuzz()


def shared(runs: int, names: list[str]) -> dict[str, int]:
    """How many of ``runs`` inputs each reader gets."""
    weights = {name: HDF5_SHARE if name in HDF5 else 1.0 for name in names}
    return {name: math.ceil(runs * w / sum(weights.values())) for name, w in weights.items()}


def main(runs: int, names: list[str]) -> int:
    sys.path.insert(0, str(HERE.parent))
    from readers import READERS

    names = names or list(READERS)
    inputs = shared(runs, names)
    kept = Path(".fuzz")
    kept.mkdir(exist_ok=True)
    failed = []
    for name in names:
        start = time.monotonic()
        flags = [
            f"-runs={inputs[name]}",
            f"-timeout={READERS[name].seconds}",
            f"-artifact_prefix={kept}/{name}-",
            *LIMITS,
        ]
        done = subprocess.run(
            [sys.executable, str(HERE), "--one", name, *flags],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        found = "ok" if done.returncode == 0 else "FAILED"
        seconds = time.monotonic() - start
        print(f"{name}: {found}, {inputs[name]:,} inputs, {seconds:.0f} s", flush=True)
        if done.returncode != 0:
            failed.append(name)
            print(
                f"exit code {done.returncode}", done.stdout[-2000:], done.stderr[-4000:], sep="\n"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        words = sys.argv[1:]
        raise SystemExit(main(int(words[0]) if words else 100_000, words[1:]))
