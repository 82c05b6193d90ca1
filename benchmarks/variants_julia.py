"""Julia variants for the overhead and peer benchmarks: ours, a bare loop, Knet's public style.

Run as a script, with JSON arguments; prints the seconds of every round, by variant, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.backends.base import TrainingJob
from harness.backends.julia.installation import environment, find_julia, missing_knet
from harness.backends.julia.packages import REFERENCE, folder
from harness.backends.julia.train import JuliaBackend, KnetBackend
from harness.config import Optimizer
from harness.measure.interleave import interleave
from harness.plugins import find_backend, find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import initial_weights

# What the variants without a bridge run, on arrays that belong to Julia.
BARE = """
@eval Main module Bare
    using PipelineBench: PipelineBench, Batch, Images
    const DATA = Dict{String,Any}()
    keep(name, array) = (DATA[name] = copy(array); nothing)
    # As many functions as there are engines: each is compiled for its own network.
    function epoch(pipeline)
        now = pipeline.CURRENT[]
        images = pipeline.images(now, DATA["pixels"], DATA["labels"])
        still = zeros(Int, 0, 0, 0)  # no augmentation
        pipeline.train!(now, images, DATA["order"], DATA["rates"], still, DATA["losses"])
        return 0
    end
    PipelineBench.Bridge.register("bare", Bare)
end; 0
"""

# As Knet's tutorial on convolutional networks trains its LeNet.
PUBLIC = """
@eval Main module Public
    using PipelineBench: PipelineBench
    using Knet: Knet, minibatch, momentum!, nll
    using PipelineBenchKnet: PipelineBenchKnet, Images
    struct Classifier; network; end
    (c::Classifier)(x) = c.network(x)
    (c::Classifier)(x, y) = nll(c(x), y)
    const MODEL, DATA = Ref{Any}(), Ref{Any}()
    function prepare(pixels, labels, size)
        now = PipelineBenchKnet.CURRENT[]
        images = PipelineBenchKnet.images(now, pixels, labels)
        x = similar(pixels, Float32)
        PipelineBench.inputs!(x, PipelineBench.Batch(images, 1:length(labels)))
        DATA[] = minibatch(x, Int.(labels) .+ 1, size; shuffle = true)
        MODEL[] = Classifier(now.network)
        return nothing
    end
    epoch() = (momentum!(MODEL[], DATA[]; lr = 0.01, gamma = 0.9); 0)
    PipelineBench.Bridge.register("public", Public)
end; 0
"""


def ours(
    backend: JuliaBackend, model: str, order: np.ndarray, rates: np.ndarray
) -> Callable[[], object]:
    parameters = find_model(model).parameters(backend.data.image_shape, len(backend.data.classes))
    backend.load_weights(initial_weights(parameters, seed=0))
    return lambda: backend.train_epoch(order, rates)


def bare(backend: JuliaBackend, module: str) -> Callable[[], object]:
    """The backend's own loop inside Julia, nothing crossing."""
    return lambda: backend.bridge.evaluate(f"Main.Bare.epoch({module})")


def main(dataset: str, model: str, batch_size: int, threads: int, rounds: int, kind: str) -> None:
    card = find_model(model)
    task = TrainingJob(
        model=model,
        dataset=Path(dataset),
        optimizer=Optimizer(learning_rate=0.01),
        precision="float32",
        threads=threads,
        network=find_backend("julia-reference").find_network(card) or "",
    )
    # Both engines live in one process here, so that they can be interleaved.
    with_knet = missing_knet() is None
    settings = environment(find_julia("Knet" if with_knet else None), threads)
    if any(os.environ.get(name) != value for name, value in settings.items()):
        # Start again: where libraries lie is read from the environment when a process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | settings)
    (KnetBackend if with_knet else JuliaBackend).start()
    bridge = (KnetBackend if with_knet else JuliaBackend).bridge
    JuliaBackend.bridge = bridge
    if with_knet:
        bridge.add_to_load_path(folder(REFERENCE))
        JuliaBackend.load(REFERENCE)
    backends: dict[str, tuple[JuliaBackend, str]] = {
        "julia-reference": (JuliaBackend(task), "PipelineBenchReference")
    }
    if with_knet:
        backends["knet"] = (KnetBackend(task), "PipelineBenchKnet")
    split = backends["julia-reference"][0].data.split("train")
    order = epoch_order(len(split), batch_size, seed=0, epoch=0)
    rates = np.full(len(order), 0.01)
    variants = {name: ours(backend, model, order, rates) for name, (backend, _) in backends.items()}
    if kind == "overhead":
        bridge.evaluate(BARE)
        kept = {
            "pixels": split.all_images(),
            "labels": split.labels,
            "order": order,
            "rates": rates,
            "losses": np.empty(len(order)),
        }
        for name, array in kept.items():
            bridge.call("bare.keep", name, np.ascontiguousarray(array))
        for name, (backend, module) in backends.items():
            variants[f"{name}, bare"] = bare(backend, module)
    else:
        bridge.evaluate(PUBLIC)
        bridge.call("public.prepare", split.all_images(), split.labels, batch_size)
        variants["julia, public style"] = lambda: bridge.evaluate("Main.Public.epoch()")
    print(json.dumps(interleave(variants, rounds=rounds)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
