"""The networks in PyTorch, one file a model card.

The ``state_dict`` of each has the card's names and layouts.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.backends.torch.models.lenet5 import LeNet5
from harness.backends.torch.models.lenet5_compiled import CompiledLeNet5

NETWORKS: Mapping[str, type[LeNet5]] = {"lenet5": LeNet5}
COMPILED_NETWORKS: Mapping[str, type[LeNet5]] = {"lenet5": CompiledLeNet5}
