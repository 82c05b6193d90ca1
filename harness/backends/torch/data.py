"""The HDF5 file as a PyTorch ``Dataset`` and ``DataLoader``."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.data.prefetch import prefetch
from harness.data.reader import SplitReader


class H5Dataset(Dataset[tuple[Tensor, Tensor]]):
    """One split; an item is a whole batch, so that nothing is stacked image by image."""

    def __init__(self, split: SplitReader) -> None:
        self.split = split
        self.labels = torch.from_numpy(split.labels).long()

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, batch: NDArray) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W), labels int64 (B,) or (B, L), of examples ``batch`` (B,)."""
        return torch.from_numpy(self.split.images(batch)), self.labels[batch]


def loader(dataset: H5Dataset, order: Iterable[NDArray]) -> Iterable[tuple[Tensor, Tensor]]:
    """Batches in the given ``order`` (steps, B); the sampler hands over one row at a time.

    What comes from the disk is read one batch ahead.
    """
    batches = DataLoader(dataset, sampler=order, batch_size=None)
    return batches if dataset.split.in_memory else prefetch(batches)


def augment(images: Tensor, augmentation: Tensor) -> Tensor:
    """Images (B, C, H, W), augmented by (B, 3): see ``harness.protocol.augmentation``."""
    height, width = images.shape[2:]
    flip, down, right = augmentation.unsqueeze(-1).unbind(1)  # (B, 1) each
    rows = torch.arange(height) - down
    columns = torch.arange(width) - right
    rows_inside = (rows >= 0) & (rows < height)
    columns_inside = (columns >= 0) & (columns < width)
    columns = torch.where(flip == 1, width - 1 - columns, columns)
    moved = images[
        torch.arange(len(images))[:, None, None],
        :,
        rows.clamp(0, height - 1)[:, :, None],
        columns.clamp(0, width - 1)[:, None, :],
    ]  # (B, H, W, C)
    inside = rows_inside[:, :, None] & columns_inside[:, None, :]
    return (moved * inside.unsqueeze(-1)).movedim(-1, 1)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (B, C, H, W) to (x / 255 - mean) / std, in the dtype of ``mean`` (C, 1, 1)."""
    return images.to(mean.dtype).div_(255).sub_(mean).div_(std)
