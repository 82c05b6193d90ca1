"""Model cards: what each network is, without any framework."""

from __future__ import annotations

from harness.errors import unknown
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
        raise unknown("model", name, MODELS) from None
