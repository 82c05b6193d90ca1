"""The network: layers, parameters and operations."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.run import Workload
from harness.analysis.summary import WorkloadSummary
from harness.models.card import Layer, Parameter
from harness.report.section import for_workloads, paragraphs
from harness.report.text import code, escape, table


def body(each: WorkloadSummary) -> str:
    workload = each.workload
    if workload.card is None:
        return f"{code(workload.model)} is not known to the harness that rendered this report."
    entry = workload.entry
    flops = workload.card.forward_flops(entry.image_shape, len(entry.classes))
    return paragraphs(
        layers(workload),
        f"{running_statistics(workload)}Forward pass: {flops:,} floating-point operations an "
        "image, counting two for each multiply-accumulate and none for activations, pooling and "
        f"batch normalisation. Reference: {escape(workload.card.reference)}.",
    )


def layers(workload: Workload) -> str:
    """The network's layers, parameters and multiply-accumulate operations for one image."""
    assert workload.card is not None
    shape, classes = workload.entry.image_shape, len(workload.entry.classes)
    found = workload.card.layers(shape, classes)
    sizes = _trainable_sizes(workload.card.parameters(shape, classes), found)
    rows = [
        [
            code(layer.name),
            escape(layer.operation),
            " x ".join(map(str, layer.output_shape)),
            f"{size:,}",
            f"{layer.macs:,}",
        ]
        for layer, size in zip(found, sizes, strict=True)
    ]
    macs = sum(layer.macs for layer in found)
    rows.append(["**total**", "", "", f"**{sum(sizes):,}**", f"**{macs:,}**"])
    header = ["Layer", "Operation", "Output", "Trainable parameters"]
    return table([*header, "Multiply-accumulates an image"], rows, align="lllrr")


def _trainable_sizes(parameters: Sequence[Parameter], layers: Sequence[Layer]) -> list[int]:
    """Trainable numbers in every row of the table of layers.

    Parameters come in the order of the rows. One belongs to the row that it is named after; what
    is named after none, such as a batch normalisation, to the next row if that begins with one,
    else to the row of the parameter before it.
    """
    sizes = [0] * len(layers)
    here = 0
    for parameter in parameters:
        own = [n for n, row in enumerate(layers) if parameter.name.startswith(f"{row.name}.")]
        following = layers[here + 1].operation if here + 1 < len(layers) else ""
        if own:
            here = own[0]
        elif following.startswith("batch normalisation"):
            here += 1
        sizes[here] += parameter.size * parameter.trainable
    return sizes


def running_statistics(workload: Workload) -> str:
    """A sentence on what a network holds besides trainable parameters; or nothing."""
    assert workload.card is not None
    parameters = workload.card.parameters(workload.entry.image_shape, len(workload.entry.classes))
    held = sum(parameter.size for parameter in parameters if not parameter.trainable)
    if not held:
        return ""
    return (
        f"Besides the trainable parameters there are {held:,} running statistics of batch "
        "normalisation, which no gradient reaches. "
    )


SECTION = for_workloads(title="The network", body=body)
