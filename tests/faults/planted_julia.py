"""The Julia row with faults planted in the source of its engine, each put right after it.

A fault is a change of text in a file of ``julia/``, evaluated into the running package: one
process makes them all, one after the other.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from harness.backends.julia.packages import julia_dir
from harness.backends.julia.train import JuliaBackend


class Change(NamedTuple):
    file: str
    module: str
    right: str
    wrong: str


_ENGINE, _SHARED = "PipelineBenchReference", "PipelineBench"

_TRAIN = "function train!(now::Pipeline, images::Images, order, rates, augmentation, losses)\n"

CHANGES = {
    "Sound": [],
    "KernelsMirrored": [
        Change("src/layers.jl", _ENGINE,
               "canonical!(out::Array, array::Array) = copyto!(out, array)",
               "canonical!(out::Array, array::Array) = copyto!(out, turned(array))\n"
               "turned(a) = ndims(a) == 4 ? reverse(reverse(a; dims = 1); dims = 2) : a"),
        Change("src/layers.jl", _ENGINE,
               "from_canonical!(array::Array, given::Array) = copyto!(array, given)",
               "from_canonical!(array::Array, given::Array) = copyto!(array, turned(given))"),
    ],
    "BiasedVariance": [
        Change("reference/src/batchnorm.jl", _ENGINE, "variance .* (count / max(1, count - 1))",
               "variance"),
    ],
    "RateInVelocity": [
        Change("src/optimizers.jl", _SHARED, "v .= m .* v .+ (g .+ decay .* p)",
               "v .= m .* v .+ T(rate) .* (g .+ decay .* p)"),
        Change("src/optimizers.jl", _SHARED, "p .-= T(rate) .* v", "p .-= v"),
    ],
    "EpsilonInsideTheRoot": [
        Change("src/optimizers.jl", _SHARED, "(sqrt.(s ./ unbiased2) .+ T(rule.epsilon))",
               "sqrt.(s ./ unbiased2 .+ T(rule.epsilon))"),
    ],
    "NoBiasCorrection": [
        Change("src/optimizers.jl", _SHARED,
               "unbiased1, unbiased2 = T(1 - rule.beta1^rule.steps), T(1 - rule.beta2^rule.steps)",
               "unbiased1, unbiased2 = one(T), one(T)"),
    ],
    "SummedOverLabels": [
        Change("reference/src/loss.jl", _ENGINE, "one(T) / (logits.tape.images * size(s, 1))",
               "one(T) / logits.tape.images"),
    ],
    "IndicesFromZero": [
        Change("src/train.jl", _ENGINE, "indices .= view(order, :, step) .+ 1",
               "indices .= max.(view(order, :, step), 1)"),
    ],
    "MomentumLost": [
        Change("src/train.jl", _ENGINE, "    indices = Vector{Int}(undef, size(order, 1))\n",
               "    indices = Vector{Int}(undef, size(order, 1))\n"
               "    rules = [optimizer(now.settings, vec(value(p))) for p in now.parameters]\n"
               "    now.rules = Any[rules...]\n"),
    ],
    "RatesOfTheFirstEpoch": [
        Change("src/train.jl", _ENGINE, _TRAIN,
               "remembered = Dict{Any,Any}()\n"
               f"{_TRAIN}"
               "    rates = get!(remembered, (objectid(now.rules), length(rates)), copy(rates))\n"),
    ],
    "MirroredTopToBottom": [
        Change("src/data.jl", _SHARED,
               "pixels[flip ? width + 1 - column : column, row, channel, index]",
               "pixels[column, flip ? height + 1 - row : row, channel, index]"),
    ],
}  # fmt: skip


class Planted(JuliaBackend):
    """Julia with the fault ``job.fault``; what the one before changed is put right."""

    changed: ClassVar[list[Change]] = []

    def __init__(self, job):
        for change in self.changed:
            self.run(change.module, paragraph(change))
        wrong = {}
        for change in CHANGES[job.fault]:
            found = paragraph(change)
            wrong[found] = wrong.get(found, found).replace(change.right, change.wrong)
            self.run(change.module, wrong[found])
        type(self).changed = CHANGES[job.fault]
        super().__init__(job)

    def run(self, module, code):
        literal = '"' + code.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'
        self.bridge.evaluate(f"Base.include_string({module}, {literal}); 0")


def paragraph(change: Change) -> str:
    """The definition that holds what is to be changed, or those without a blank line between."""
    source = (julia_dir() / change.file).read_text(encoding="utf-8")
    assert source.count(change.right) == 1, change
    place = source.index(change.right)
    start = max(source.rfind("\n\n", 0, place), source.rfind("\nfunction ", 0, place))
    return source[start : (source + "\n\n").index("\n\n", place)]
