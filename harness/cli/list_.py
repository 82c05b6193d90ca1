"""``bench list``: what can be compared, on what, and what has been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.tables import JSON, show


@click.group("list")
def list_() -> None:
    """List frameworks, models, data sets or runs."""


@list_.command()
@JSON
def frameworks(as_json: bool) -> None:
    """The frameworks and their variants; `bench doctor` says more about each."""
    from harness.plugins import backends

    rows = []
    for spec in backends().values():
        missing = spec.missing_requirement()
        role = f"tuned {spec.base}" if spec.base else spec.role
        rows.append(
            {
                "name": spec.name,
                "ready": missing is None,
                "role": role,
                "by default": spec.by_default,
                "precisions": list(spec.precisions),
                "devices": list(spec.devices),
                "summary": spec.summary,
            }
        )
    show(rows, list(rows[0]), as_json=as_json)


@list_.command()
@JSON
def models(as_json: bool) -> None:
    """The networks, their size on 64 x 64 grey images of ten classes, and who has them."""
    from harness.plugins import backends
    from harness.plugins import models as known

    rows = []
    for card in known().values():
        having = [spec.name for spec in backends().values() if spec.find_network(card) is not None]
        rows.append(
            {
                "name": card.name,
                "title": card.title,
                "parameters": card.trainable_size((1, 64, 64), 10),
                "MFLOP an image": round(card.forward_flops((1, 64, 64), 10) / 1e6, 1),
                "frameworks": having,
            }
        )
    show(rows, list(rows[0]), as_json=as_json)


@list_.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the HDF5 files.")
@JSON
def datasets(data_dir: Path | None, as_json: bool) -> None:
    """The known data sets and the imported ones, as `bench data list`."""
    from harness import paths
    from harness.cli.data import listed

    show(*listed(paths.data_dir(data_dir)), as_json=as_json)


@list_.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@JSON
def runs(folder: Path, as_json: bool) -> None:
    """The runs in the subfolders of FOLDER [default: runs], the latest first."""
    found = [row for path in folder.glob("*") if (row := _run(path)) is not None]
    found.sort(key=lambda row: str(row["created"]), reverse=True)
    headings = ["run", "created", "state", "frameworks", "models", "datasets", "seeds", "epochs"]
    show(found, headings, as_json=as_json)


def _run(path: Path) -> dict[str, Any] | None:
    from harness.errors import BenchError
    from harness.results.folder import RunFolder

    if not (path / "experiment.json").is_file():
        return None
    unknown = dict.fromkeys(["frameworks", "models", "datasets", "seeds", "epochs"])
    try:
        folder = RunFolder.open(path)
        results = folder.results()
    except BenchError as error:
        return {"run": path, "created": "", "state": f"damaged: {error}", **unknown}
    manifest = folder.manifest
    ok = sum(result.status == "ok" for result in results)
    state = f"{ok} of {len(manifest.own_cells)} trained"
    if ok < len(results):
        state += f", {len(results) - ok} failed"
    if manifest.shard is not None:
        state += f", shard {manifest.shard}"
    return {
        "run": path,
        "created": manifest.created,
        "state": state,
        "frameworks": list(manifest.experiment.frameworks),
        "models": list(manifest.experiment.models),
        "datasets": list(manifest.datasets),
        "seeds": len(manifest.experiment.seeds),
        "epochs": manifest.experiment.training.epochs,
    }
