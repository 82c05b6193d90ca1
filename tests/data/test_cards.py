from __future__ import annotations

import pytest

from harness.data import importers
from harness.data.cards import find_card, load_cards, read_card
from harness.errors import BenchError
from harness.paths import cards_dir


def test_the_cards_that_travel_with_the_harness():
    cards = load_cards()
    assert set(cards) == {
        "chestmnist", "digits", "fashion-mnist", "mnist", "nih", "pneumoniamnist", "xray-phantom",
    }  # fmt: skip
    for card in cards.values():
        assert card.task in ("multiclass", "multilabel")
        assert card.kind in importers.names()
        if card.files:
            assert len(card.mirrors) >= 2
            assert all(mirror.endswith("/") for mirror in card.mirrors)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(BenchError, match="did you mean 'fashion-mnist'") as caught:
        find_card("fashoin-mnist")
    for name in load_cards():
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "mnist"', 'name = "other"', "expected the file's own name"),
        ("title =", "titel =", "the key 'title' is missing"),
        ('kind = "idx"', "", "the key 'kind' is missing"),
        ('sha256 = "440', 'sha256 = "44', "is not a SHA-256 checksum"),
        ('sha256 = "440', 'md5 = "440', "is not an MD5 checksum"),
        ('sha256 = "440', 'sum = "440', "neither sha256 nor md5 is given"),
        ('metric = "test error"', "", "not a dataset card"),
        ("[source]", "[source", "not valid TOML"),
        ('"https://ossci', '"http://ossci', "mirror .*: must begin with https://"),
        ('name = "train-i', 'name = "../train-i', "is no name of a file"),
    ],
)
def test_bad_cards_are_named(tmp_path, old, new, expected):
    text = (cards_dir() / "mnist.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mnist.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BenchError, match=expected) as caught:
        read_card(path)
    assert str(caught.value).startswith(f"{path}: ")
