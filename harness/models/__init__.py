"""Model cards: what each network is, without any framework."""

from __future__ import annotations

from harness.errors import unknown
from harness.models.card import ModelCard
from harness.models.densenet121 import DENSENET121
from harness.models.lenet5 import LENET5, LENET5_RELU
from harness.models.resnet18 import RESNET18
from harness.models.xraynet import XRAYNET

MODELS: dict[str, ModelCard] = {
    card.name: card for card in (LENET5, LENET5_RELU, XRAYNET, RESNET18, DENSENET121)
}


def find_model(name: str) -> ModelCard:
    """The card called ``name``.

    Raises:
        BenchError: no such model; the message lists those there are.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise unknown("model", name, MODELS) from None
