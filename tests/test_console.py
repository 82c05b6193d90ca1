from __future__ import annotations

import io

from rich.console import Console

from harness.console import Terminal, progress_bar, terminal


def test_nothing_is_shown_where_nobody_watches(capsys):
    with progress_bar("decoding", 10) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_person_sees_how_far_it_is(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(Terminal, "is_interactive", True)
    monkeypatch.setitem(
        terminal.__dict__, "err", Console(file=stream, force_terminal=True, width=100)
    )
    with progress_bar("decoding", 10, done=4) as advance:
        advance(3)
    assert "decoding" in stream.getvalue()
    assert "7/10" in stream.getvalue()
