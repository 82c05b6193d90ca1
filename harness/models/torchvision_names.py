"""What torchvision and its descendants call the parameters of our networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# Of DataParallel, torch.compile, Lightning and other training code, and of CheXNet.
_WRAPPERS = re.compile(
    r"^((module|_orig_mod|model|backbone|net|network|encoder|densenet121|resnet18|features)\.)+"
)


def _resnet(name: str) -> str:
    return _WRAPPERS.sub("", name)


def _densenet(name: str) -> str:
    name = _WRAPPERS.sub("", name)
    # Files older than torchvision 0.3 have dots where attributes of today have none.
    name = re.sub(r"\b(norm|conv)\.([12])\.", r"\1\2.", name)
    name = re.sub(r"\bdenselayer(\d+)\b", lambda found: str(int(found[1]) - 1), name)
    return re.sub(r"^classifier\.0\.", "classifier.", name)


CANONICAL_NAME: Mapping[str, Callable[[str], str]] = {
    "resnet18": _resnet,
    "densenet121": _densenet,
}
"""Model card -> from the name in a state dict to the card's."""


def is_counter(name: str) -> bool:
    """Whether an entry counts batches, which no network of ours does."""
    return name.endswith("num_batches_tracked")
