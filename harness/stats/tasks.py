"""What a data set asks of a network."""

from typing import Literal

Task = Literal["multiclass", "multilabel"]
"""multiclass: one of several classes an image; multilabel: each label present or absent."""
