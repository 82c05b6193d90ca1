"""The mistakes that are made when networks and their training are written once more.

Only their names and words are here; the modules beside this one make them in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of mistake, wherever it is made."""

    operation: str
    """A key of :data:`OPERATIONS`."""
    words: str
    """What is wrong, for a person. ``{amount}`` stands for the number that was fitted."""


@dataclass(frozen=True)
class Fault:
    """A known mistake, and where it is made."""

    kind: str
    """A key of :data:`KINDS`."""
    layers: tuple[str, ...] = ()
    """Layers of the model card, or parameters of it; none means everywhere."""
    amount: float = 1.0
    """What was fitted, where the kind has such a number."""


OPERATIONS: Mapping[str, str] = {
    "pixels": "",
    "rows": "",
    "labels": "",
    "convolution": "{}",
    "normalisation": "{}",
    "activation": "activation after {}",
    "pooling": "pooling after {}",
    "flatten": "flattening after {}",
    "average": "global average pooling after {}",
    "join": "sum or concatenation after {}",
    "dense": "{}",
    "head": "",
    "loss": "",
    "gradients": "{}",
    "update": "update rule",
    "rates": "",
    "order": "",
    "epoch": "",
    "epochs": "",
    "augmentation": "",
    "prediction": "",
    "inference": "",
}
"""What is computed in the order in which it is, and what a layer's is called."""

PLURALS: Mapping[str, str] = {
    "convolution": "every convolution",
    "normalisation": "every batch normalisation",
    "activation": "every activation",
    "pooling": "every pooling",
    "average": "global average pooling",
    "flatten": "flattening",
    "join": "every sum or concatenation",
    "dense": "every dense layer",
    "update": "update rule",
}

SITED = frozenset(PLURALS) - {"update"}
"""Operations of single layers."""

KINDS: Mapping[str, Kind] = {
    # What is fed in.
    "not divided by 255": Kind("pixels", "pixels: not divided by 255"),
    "mean not subtracted": Kind("pixels", "pixels: the mean is not subtracted"),
    "std not applied": Kind("pixels", "pixels: not divided by the standard deviation"),
    "neither mean nor std": Kind("pixels", "pixels: only divided by 255, not normalised"),
    "divided by the variance": Kind("pixels", "pixels: divided by the variance in place of std"),
    "minus one to one": Kind("pixels", "pixels: scaled to -1 ... 1 in place of mean and std"),
    "mean before 255": Kind("pixels", "pixels: mean and std applied before the division by 255"),
    "divided by 256": Kind("pixels", "pixels: divided by 256 in place of 255"),
    "rows and columns swapped": Kind("pixels", "images: rows and columns swapped"),
    "mirrored": Kind("pixels", "images: mirrored left to right"),
    "upside down": Kind("pixels", "images: upside down"),
    "channels reversed": Kind("pixels", "images: channels in reverse order"),
    "rows one too far": Kind("rows", "data: indices one too high (counted from 1)"),
    "rows one too low": Kind("rows", "data: indices one too low"),
    "first rows": Kind("rows", "data: the batch's indices are ignored, the first images are taken"),
    "labels one up": Kind("labels", "labels: shifted by one class upwards"),
    "labels one down": Kind("labels", "labels: shifted by one class downwards"),
    "labels of the neighbour": Kind("labels", "labels: of the next image in the batch"),
    "labels backwards": Kind("labels", "labels: of the batch in reverse order"),
    # Layers.
    "kernel flipped": Kind(
        "convolution", "kernel flipped (convolution where cross-correlation belongs)"
    ),
    "kernel transposed": Kind("convolution", "height and width of the kernel swapped"),
    "kernel channels swapped": Kind("convolution", "inputs and outputs of the kernel swapped"),
    "no convolution bias": Kind("convolution", "bias missing"),
    "convolution bias twice": Kind("convolution", "bias added twice"),
    "padding SAME": Kind("convolution", 'padding as "SAME" has it, the odd pixel at the end'),
    "padding before": Kind("convolution", "all padding before the image, none behind it"),
    "padding behind": Kind("convolution", "all padding behind the image, none before it"),
    "padding mirrored": Kind("convolution", "padded with mirrored pixels in place of zeros"),
    "padding repeated": Kind("convolution", "padded with the pixels of the edge in place of zeros"),
    "padding around": Kind("convolution", "padded from the opposite edge in place of zeros"),
    "stride left out": Kind("convolution", "stride 1"),
    "stride from the second pixel": Kind("convolution", "strides begin at the second pixel"),
    "epsilon 1e-3": Kind("normalisation", "epsilon 1e-3 in place of 1e-5"),
    "epsilon 1e-4": Kind("normalisation", "epsilon 1e-4 in place of 1e-5"),
    "epsilon 1e-6": Kind("normalisation", "epsilon 1e-6 in place of 1e-5"),
    "epsilon 0": Kind("normalisation", "no epsilon"),
    "epsilon outside": Kind("normalisation", "epsilon outside the square root"),
    "batch statistics in evaluation": Kind(
        "normalisation", "statistics of the batch in evaluation, where the running ones belong"
    ),
    "running statistics in training": Kind(
        "normalisation", "running statistics in training, where those of the batch belong"
    ),
    "statistics of each image": Kind("normalisation", "statistics of each image, not of the batch"),
    "unbiased normalisation": Kind("normalisation", "batches divided by their unbiased deviation"),
    "no scale": Kind("normalisation", "scale missing"),
    "no shift": Kind("normalisation", "shift missing"),
    "statistics without gradient": Kind(
        "normalisation", "no gradient through mean and variance of the batch"
    ),
    "biased running variance": Kind(
        "normalisation", "running variance from the biased variance of the batch"
    ),
    "momentum swapped": Kind(
        "normalisation", "running statistics keep 0.1 and take 0.9 (momentum the other way round)"
    ),
    "momentum 0.99": Kind("normalisation", "running statistics keep 0.99 in place of 0.9"),
    "momentum 0.99, biased": Kind(
        "normalisation",
        "running statistics keep 0.99 and take the biased variance (a common default)",
    ),
    "momentum fitted": Kind(
        "normalisation", "running statistics take {amount:.4g} of the batch's in place of 0.1"
    ),
    "statistics frozen": Kind("normalisation", "running statistics never change"),
    "running deviation": Kind(
        "normalisation", "running statistics of the standard deviation, not of the variance"
    ),
    "no activation": Kind("activation", "missing"),
    "tanh": Kind("activation", "tanh in its place"),
    "relu": Kind("activation", "ReLU in its place"),
    "sigmoid": Kind("activation", "sigmoid in its place"),
    "leaky relu": Kind("activation", "leaky ReLU (0.01) in its place"),
    "gelu": Kind("activation", "GELU in its place"),
    "silu": Kind("activation", "SiLU in its place"),
    "softplus": Kind("activation", "softplus in its place"),
    "scaled tanh": Kind("activation", "1.7159 tanh(2x/3) in its place"),
    "hard tanh": Kind("activation", "hard tanh in its place"),
    "average for largest": Kind("pooling", "average pooling where the largest belongs"),
    "largest for average": Kind("pooling", "max pooling where the average belongs"),
    "padding of zeros": Kind("pooling", "padded with zeros, which win over negative values"),
    "pooling SAME": Kind("pooling", 'last odd row and column kept ("SAME" or ceiling mode)'),
    "nearly largest": Kind(
        "pooling", "its gradient goes to the first value nearly equal to the largest"
    ),
    "sums": Kind("pooling", "sums where averages belong"),
    "every other pixel": Kind("pooling", "takes the first pixel of each window"),
    "pooling left out": Kind("pooling", "missing"),
    "sum of the image": Kind("average", "sum where the average belongs"),
    "largest of the image": Kind("average", "largest where the average belongs"),
    "channels last": Kind("flatten", "in the order height, width, channel (NHWC)"),
    "column-major": Kind("flatten", "in the order width, height, channel (column-major)"),
    "width before height": Kind("flatten", "in the order channel, width, height"),
    "no join": Kind("join", "shortcut missing"),
    "join the other way round": Kind("join", "concatenated the other way round"),
    "no dense bias": Kind("dense", "bias missing"),
    "dense bias twice": Kind("dense", "bias added twice"),
    "dense transposed": Kind("dense", "weights transposed"),
    "softmax": Kind("head", "logits: passed through a softmax"),
    "log-softmax": Kind("head", "logits: passed through a log-softmax"),
    "sigmoid of logits": Kind("head", "logits: passed through a sigmoid"),
    "logits negated": Kind("head", "logits: of the wrong sign"),
    "logits backwards": Kind("head", "logits: classes in reverse order"),
    # Loss.
    "summed over the batch": Kind("loss", "loss: summed over the batch, not averaged"),
    "summed over labels": Kind("loss", "loss: summed over the labels, not averaged"),
    "averaged over classes": Kind("loss", "loss: divided by the number of classes too"),
    "base 2": Kind("loss", "loss: logarithm to the base 2"),
    "base 10": Kind("loss", "loss: logarithm to the base 10"),
    "label smoothing": Kind("loss", "loss: labels smoothed by 0.1"),
    "label smoothing fitted": Kind("loss", "loss: labels smoothed by {amount:.4g}"),
    "softmax twice": Kind("loss", "loss: softmax taken twice"),
    "one against all": Kind("loss", "loss: binary cross-entropy of each class, not softmax"),
    "squared error": Kind("loss", "loss: squared error of the probabilities"),
    "positives unweighted": Kind("loss", "loss: positives count no more than negatives"),
    "decay in the loss": Kind("loss", "loss: weight decay added to it"),
    "loss scaled": Kind("loss", "loss: {amount:.6g} times what it should be"),
    "loss reported": Kind("loss", "loss: told as {amount:.6g} times what its gradients belong to"),
    # Gradients.
    "gradients scaled": Kind("gradients", "gradients {amount:.6g} times what they should be"),
    "gradients of zero": Kind("gradients", "gradient: zero"),
    "gradients missing": Kind("gradients", "gradient: missing, and with it the update"),
    "gradients clipped": Kind("gradients", "gradients clipped to a norm of {amount:.4g}"),
    "gradients cut off": Kind("gradients", "gradients cut off at {amount:.4g}"),
    "gradients in half precision": Kind("gradients", "gradients rounded to half precision"),
    "gradients in single precision": Kind("gradients", "gradients rounded to single precision"),
    "decay in the gradient": Kind("gradients", "gradients: weight decay is already in them"),
    # Update.
    "rate in the velocity": Kind("update", "learning rate folded into the velocity"),
    "dampened": Kind("update", "gradient enters the velocity times (1 - momentum)"),
    "dampened later": Kind(
        "update", "gradient enters the velocity times (1 - momentum) from the second step on"
    ),
    "nesterov": Kind("update", "Nesterov's momentum in place of the plain"),
    "no momentum": Kind("update", "no momentum, or the velocity is forgotten at every step"),
    "momentum 0.5": Kind("update", "momentum 0.5"),
    "momentum 0.99 in the update": Kind("update", "momentum 0.99"),
    "velocity kept": Kind("update", "state is not forgotten when weights are loaded"),
    "decay missing": Kind("update", "weight decay missing"),
    "decay doubled": Kind("update", "weight decay twice as strong"),
    "decay halved": Kind("update", "weight decay half as strong"),
    "decay not on vectors": Kind(
        "update", "weight decay on kernels and matrices only, not on biases, scales and shifts"
    ),
    "decay decoupled": Kind("update", "weight decay beside the gradient, where it belongs into it"),
    "decay coupled": Kind("update", "weight decay in the gradient, where it belongs beside it"),
    "decay without rate": Kind("update", "weight decay not multiplied by the learning rate"),
    "decay not in the second moment": Kind("update", "weight decay missing in the second moment"),
    "epsilon inside the root": Kind("update", "epsilon inside the square root"),
    "epsilon before correction": Kind(
        "update", "epsilon added before the bias correction of the second moment"
    ),
    "epsilon 1e-7": Kind("update", "epsilon 1e-7"),
    "epsilon 1e-6 in the update": Kind("update", "epsilon 1e-6"),
    "no epsilon": Kind("update", "no epsilon"),
    "no bias correction": Kind("update", "no bias correction"),
    "no correction of the first moment": Kind("update", "no bias correction of the first moment"),
    "no correction of the second moment": Kind("update", "no bias correction of the second moment"),
    "steps counted from 0": Kind("update", "bias correction counts one step too many"),
    "betas swapped": Kind("update", "beta1 and beta2 swapped"),
    "beta2 0.99": Kind("update", "beta2 0.99"),
    "gradients never zeroed": Kind("update", "gradients add up from step to step (never zeroed)"),
    "gradients clipped in training": Kind("update", "gradients clipped to a norm of 1"),
    "not trained": Kind("update", "these parameters are not updated"),
    "upwards": Kind("update", "goes up the gradient, not down"),
    # Around the update.
    "rate one step late": Kind("rates", "learning rate: of the step before"),
    "rate one step early": Kind("rates", "learning rate: of the next step"),
    "first rate throughout": Kind("rates", "learning rate: the first of the call throughout"),
    "last rate throughout": Kind("rates", "learning rate: the last of the call throughout"),
    "peak throughout": Kind("rates", "learning rate: the setting's own, not that of the step"),
    "rates backwards": Kind("rates", "learning rates: in reverse order"),
    "rates in half precision": Kind("rates", "learning rate: rounded to half precision"),
    "rates in single precision": Kind("rates", "learning rate: rounded to single precision"),
    "rate scaled": Kind("rates", "learning rate: {amount:.6g} times what it should be"),
    "order of the file": Kind("order", "batch order: ignored, images come as the file has them"),
    "first batch throughout": Kind("order", "batch order: the first batch at every step"),
    "batches backwards": Kind("order", "batch order: from the last batch to the first"),
    "batches cut otherwise": Kind("order", "batch order: rows and steps swapped"),
    "first batch left out": Kind("order", "batch order: the first batch is left out"),
    "last batch left out": Kind("epoch", "epoch: its last step is left out"),
    "trained in evaluation": Kind("epoch", "epoch: trained in evaluation mode"),
    "loss after the update": Kind("epoch", "losses: told after the update of their step"),
    "loss of the step before": Kind("epoch", "losses: told one step late"),
    "loss averaged": Kind("epoch", "losses: running mean of the epoch"),
    "stops after 100 steps": Kind("epoch", "epoch: no update after its step 100"),
    # From one epoch to the next.
    "state lost between epochs": Kind(
        "epochs", "update rule: its state is forgotten at the start of each epoch"
    ),
    "steps counted anew": Kind(
        "epochs", "update rule: bias correction counts the steps of each epoch anew"
    ),
    "order of the first epoch": Kind("epochs", "batch order: that of the first epoch in each"),
    "rates of the first epoch": Kind("epochs", "learning rates: those of the first epoch in each"),
    "evaluation mode stays on": Kind(
        "epochs", "epoch: trained in evaluation mode once something was predicted"
    ),
    "prediction moves statistics": Kind(
        "epochs", "prediction: moves the running statistics of batch normalisation"
    ),
    # Augmentation.
    "not moved": Kind("augmentation", "augmentation: missing"),
    "not flipped": Kind("augmentation", "augmentation: images are not mirrored"),
    "not shifted": Kind("augmentation", "augmentation: images are not shifted"),
    "shifted backwards": Kind("augmentation", "augmentation: shifted the other way"),
    "down and right swapped": Kind("augmentation", "augmentation: down and right swapped"),
    "mirrored upside down": Kind("augmentation", "augmentation: mirrored top to bottom"),
    "mirrored after the shift": Kind("augmentation", "augmentation: shifted first, then mirrored"),
    "others mirrored": Kind("augmentation", "augmentation: mirrors the images that it should not"),
    "wraps around": Kind(
        "augmentation", "augmentation: what leaves on one side comes in on the other"
    ),
    "edge repeated": Kind("augmentation", "augmentation: the edge is repeated in place of black"),
    "grey for black": Kind(
        "augmentation", "augmentation: the mean comes in from outside, not black"
    ),
    # Whole splits.
    "predicted in training": Kind("prediction", "prediction: in training mode"),
    "predicted and inferred in training": Kind(
        "prediction", "prediction and inference: in training mode"
    ),
    "other split": Kind("prediction", "prediction: of another split"),
    "predicted backwards": Kind("prediction", "prediction: in reverse order"),
    "last images repeated": Kind(
        "prediction", "prediction: the last, partial batch is answered by the images before it"
    ),
    "last batch backwards": Kind(
        "prediction", "prediction: the last, partial batch is in reverse order"
    ),
    "own mean": Kind("prediction", "prediction: each split is normalised by its own mean"),
    "first answer again": Kind(
        "inference", "inference: the answer to the first images of a batch size is given again"
    ),
    "inference in training": Kind("inference", "inference: in training mode"),
}
FITTED = frozenset(name for name, kind in KINDS.items() if "{amount" in kind.words) | {
    "gradients of zero",
    "gradients missing",
    "not trained",
}
"""Those with a number or layers of their own, which :mod:`harness.parity.diagnosis` finds."""


def describe(fault: Fault) -> str:
    """'conv1: kernel flipped (...)'"""
    kind = KINDS[fault.kind]
    words = kind.words.format(amount=fault.amount)
    where = OPERATIONS[kind.operation] or "{}"
    if fault.layers:
        return f"{where.format(_listed(fault.layers))}: {words}"
    everywhere = PLURALS.get(kind.operation)
    return f"{everywhere}: {words}" if everywhere else words


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
