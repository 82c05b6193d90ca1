"""What drawing leaves on the disk besides the report."""

from __future__ import annotations


def test_nothing_is_left_in_the_home_folder_outside_of_the_cache(
    python, tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)  # set where the report was imported
    home, cache = tmp_path / "home", tmp_path / "home" / ".cache"
    cache.mkdir(parents=True)
    done = python(
        "-c",
        "import harness.report.plotting, matplotlib.font_manager",
        HOME=str(home),
        XDG_CACHE_HOME=str(cache),
        XDG_CONFIG_HOME=str(home / ".config"),
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in home.iterdir()] == [".cache"]
    assert (cache / "pipeline-bench" / "matplotlib").is_dir()
