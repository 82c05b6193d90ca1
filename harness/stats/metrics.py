"""Loss and scores from logits, computed by the harness and not by the framework under test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from harness.stats.tasks import Task


class Evaluation(NamedTuple):
    loss: float
    """Mean softmax cross-entropy; for multi-label tasks mean binary cross-entropy."""
    correct: int
    """Images whose label is correct; for multi-label tasks, all of whose labels are correct."""
    examples: int
    auroc: tuple[float | None, ...] = ()
    """Area under the ROC curve of every label, or of the second of two classes. None where the
    split has no positives, or nothing but positives: there it is not defined."""

    @property
    def accuracy(self) -> float:
        return self.correct / self.examples

    @property
    def mean_auroc(self) -> float | None:
        """Mean over the labels for which it is defined."""
        return mean_auroc(self.auroc)


def mean_auroc(areas: tuple[float | None, ...]) -> float | None:
    """Mean of those that are defined, None when none is."""
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else None


def evaluate(task: Task, logits: NDArray[np.floating], labels: NDArray[Any]) -> Evaluation:
    """Score ``logits`` (N, outputs) against ``labels``, (N,) or for multi-label tasks (N, outputs).

    In float64. A NaN among the logits of an image makes it wrong.
    """
    correct = predictions(task, logits.astype(np.float64)) == labels
    if correct.ndim == 2:
        correct = correct.all(axis=1)
    return Evaluation(
        mean_loss(task, logits, labels),
        int(correct.sum()),
        len(labels),
        aurocs(*as_labels(logits, labels)),
    )


def mean_loss(task: Task, logits: NDArray[np.floating], labels: NDArray[Any]) -> float:
    """Softmax cross-entropy, for multi-label tasks binary cross-entropy, in float64.

    NaN where a logit is.
    """
    scores = logits.astype(np.float64)
    if task == "multilabel":
        # log(1 + exp(-s)) for a positive, log(1 + exp(s)) for a negative, without overflow
        with np.errstate(invalid="ignore"):
            return float(np.logaddexp(0, np.where(labels, -scores, scores)).mean())
    return float((logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels]).mean())


def predictions(task: Task, logits: NDArray[np.floating]) -> NDArray[np.int64]:
    """Class of every image (N,), of equals the first; or its labels 0 and 1 (N, outputs), where a
    label is predicted when its logit is above 0. -1 where a NaN allows no prediction."""
    if task == "multilabel":
        return np.where(np.isnan(logits), -1, logits > 0).astype(np.int64)
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


def binary(
    logits: NDArray[np.floating], labels: NDArray[Any]
) -> tuple[NDArray[np.floating], NDArray[Any]]:
    """Two classes as one label: the logit of the second over the first, (N, 1), and (N, 1).

    More classes have no ROC curve: arrays of shape (N, 0).
    """
    if logits.shape[1] != 2:
        return logits[:, :0], labels.reshape(-1, 1)[:, :0]
    return logits[:, 1:] - logits[:, :1], labels.reshape(-1, 1)


def aurocs(scores: NDArray[np.floating], labels: NDArray[Any]) -> tuple[float | None, ...]:
    """Area under the ROC curve of every column of ``scores`` (N, L) against ``labels`` (N, L).

    None where a label is the same for all images, or a score is NaN.
    """
    if scores.shape[1] == 0:
        return ()
    from sklearn.metrics import roc_auc_score  # takes a second to import

    def area(score: NDArray[np.floating], label: NDArray[Any]) -> float | None:
        if label.min() == label.max() or np.isnan(score).any():
            return None
        return float(roc_auc_score(label, score))

    return tuple(area(score, label) for score, label in zip(scores.T, labels.T, strict=True))


class ClassCounts(NamedTuple):
    """How one label, or one of several classes, is predicted."""

    positives: int
    """Images that have it."""
    predicted: int
    """Images for which it is predicted."""
    correct: int
    """Images that have it and for which it is predicted."""

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN): 0 where it is never predicted. None without positives."""
        if not self.positives:
            return None
        return 2 * self.correct / (self.positives + self.predicted)


def class_counts(
    predicted: NDArray[np.int64], labels: NDArray[Any], outputs: int
) -> tuple[ClassCounts, ...]:
    """Of every class or label; ``predicted`` as :func:`predictions` gives them."""
    if labels.ndim == 1:
        return tuple(_count(predicted == index, labels == index) for index in range(outputs))
    columns = zip(predicted.T, labels.T, strict=True)
    return tuple(_count(given == 1, label == 1) for given, label in columns)


def macro_f1(counts: tuple[ClassCounts, ...]) -> float | None:
    """Mean F1 of those that have one."""
    return mean_auroc(tuple(each.f1 for each in counts))


def micro_f1(predicted: NDArray[np.int64], labels: NDArray[Any]) -> float | None:
    """F1 of all labels (N, outputs) counted together; None without any positive."""
    return _count(predicted.ravel() == 1, labels.ravel() == 1).f1


def _count(predicted: NDArray[np.bool_], label: NDArray[np.bool_]) -> ClassCounts:
    return ClassCounts(int(label.sum()), int(predicted.sum()), int((predicted & label).sum()))


def confusion(
    predicted: NDArray[np.int64], labels: NDArray[Any], classes: int
) -> NDArray[np.int64]:
    """Images by class (rows) and prediction (columns), (classes, classes); -1 is left out."""
    known = predicted >= 0
    index = labels[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(index, minlength=classes**2).reshape(classes, classes)


def as_labels(
    logits: NDArray[np.floating], labels: NDArray[Any]
) -> tuple[NDArray[np.floating], NDArray[Any]]:
    """Scores and labels (N, L) in float64 of what has an ROC curve, whatever the task.

    Several labels as they are, two classes as one label, more classes as none; see
    :func:`binary`.
    """
    scores = logits.astype(np.float64)
    return binary(scores, labels) if labels.ndim == 1 else (scores, labels)
