"""Model cards: what each network is, without any framework."""

from __future__ import annotations

from difflib import get_close_matches

from harness.errors import BenchError
from harness.models.card import ModelCard
from harness.models.lenet5 import LENET5, LENET5_RELU

MODELS: dict[str, ModelCard] = {card.name: card for card in (LENET5, LENET5_RELU)}


def find_model(name: str) -> ModelCard:
    """The card called ``name``.

    Raises:
        BenchError: no such model; the message lists those there are.
    """
    try:
        return MODELS[name]
    except KeyError:
        close = get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise BenchError(f"unknown model '{name}'{hint} (known: {', '.join(MODELS)})") from None
