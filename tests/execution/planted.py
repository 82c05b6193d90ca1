"""Backends that need no framework: a sound one, and one for each way of going wrong."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from harness.backends.base import Backend
from harness.backends.spec import BackendSpec, Family, Variables
from harness.data.reader import open_dataset
from harness.errors import BenchError
from harness.protocol.optimizer import OptimizerState
from harness.protocol.received import Received, images_digest

# Seen while this module is imported, before any backend is made.
CPUS_AT_IMPORT = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Sound(Backend):
    """Holds the weights it was given; its losses fall and its logits are the same each time."""

    def __init__(self, job):
        self.job = job
        self.data = open_dataset(job.dataset)
        self.weights = {}
        self.kept = []

    def load_weights(self, weights):
        self.weights = dict(weights)

    def save_weights(self):
        return dict(self.weights)

    def train_epoch(self, order, rates, augmentation=None):
        return 1 / (1 + np.arange(len(order), dtype=np.float64))

    def predict(self, split):
        count = len(self.data.split(split))
        return np.eye(len(self.data.classes), dtype=np.float32)[np.zeros(count, int)]

    def infer(self, images):
        return np.zeros((len(images), len(self.data.classes)), np.float32)

    def loss_and_gradients(self, batch):
        return self.predict("train")[batch], 0.5, dict(self.weights)

    def activation_maps(self, split, rows, outputs):
        return np.ones((len(rows), 4, 4), np.float32)

    def facts(self):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {name: os.environ.get(name, "unset") for name in names} | {
            "CPUs at import": ",".join(map(str, CPUS_AT_IMPORT)),
            "pid": str(os.getpid()),
        }


class TellsEnvironment(Sound):
    def facts(self):
        return dict(os.environ)


class Compiles(Sound):
    """Keeps what it compiles in the folder that PLANTED_CACHE names, and finds it there again.

    With PLANTED_REJECTS it compiles one of two programs again.
    """

    @classmethod
    def start(cls):
        folder = Path(os.environ["PLANTED_CACHE"])
        folder.mkdir(exist_ok=True)
        if not (folder / "kept").exists():
            (folder / "kept").write_text("program")
        if "PLANTED_REJECTS" in os.environ or not (folder / "other").exists():
            (folder / "other").write_text(f"program of {os.getpid()}")
        (folder / "kept").touch()


class CountsSteps(Sound):
    """Adds 1 to the first bias with every step."""

    def train_epoch(self, order, rates, augmentation=None):
        self.weights["conv1.bias"] = self.weights["conv1.bias"] + np.float32(len(order))
        return super().train_epoch(order, rates, augmentation)


class Remembers(Sound):
    """Its weights depend on every batch, in order, and on what its update rule keeps of them.

    A step takes PLANTED_STEP_S seconds.
    """

    def load_weights(self, weights):
        super().load_weights(weights)
        self.velocity = {name: np.zeros_like(array) for name, array in weights.items()}

    def save_optimizer(self):
        return OptimizerState({"velocity": dict(self.velocity)})

    def load_optimizer(self, state):
        self.velocity = dict(state.slots["velocity"])

    def train_epoch(self, order, rates, augmentation=None):
        losses = []
        for batch, rate in zip(order, rates, strict=True):
            time.sleep(float(os.environ.get("PLANTED_STEP_S", "0")))
            for name, held in self.velocity.items():
                gradient = self.weights[name] * np.float32(batch[0] % 7) + np.float32(batch[-1])
                self.velocity[name] = np.float32(0.9) * held + np.float32(1e-4) * gradient
                self.weights[name] = self.weights[name] - np.float32(rate) * self.velocity[name]
            losses.append(1 + float(np.abs(self.weights["conv1.weight"]).mean()))
        return np.array(losses)

    def predict(self, split):
        first = self.weights["conv1.weight"].ravel()[: len(self.data.classes)]
        return np.tile(first, (len(self.data.split(split)), 1))


class Raises(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        raise ValueError("the planted fault\nand its second line")


class UserError(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        raise BenchError("something a person can fix")


class KnowsWarmUp(Sound):
    """Counts the epochs since the weights were loaded for the second time, after the warm-up."""

    loads = epochs = 0

    def load_weights(self, weights):
        self.loads += 1
        self.epochs = 0
        super().load_weights(weights)

    def train_epoch(self, order, rates, augmentation=None):
        self.epochs += self.loads > 1
        return super().train_epoch(order, rates, augmentation)


class ForgetsVelocity(Remembers):
    """Takes over nothing of a checkpoint but the weights."""

    def load_optimizer(self, state):
        pass


class AlsoRemembers(KnowsWarmUp, Remembers):
    """Fails in the epoch that PLANTED_FAILS_IN names."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if str(self.epochs) == os.environ.get("PLANTED_FAILS_IN"):
            raise RuntimeError("out of luck")
        return losses


class FailsInSecondEpoch(KnowsWarmUp):
    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs == 2:
            raise RuntimeError("out of luck")
        return losses


class FailsWithoutFile(Sound):
    """Works once the file that PLANTED_FILE names is there."""

    def train_epoch(self, order, rates, augmentation=None):
        if not os.path.exists(os.environ["PLANTED_FILE"]):
            raise RuntimeError("the file is not there yet")
        return super().train_epoch(order, rates, augmentation)


class Exits(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        os._exit(7)


class Killed(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        os.kill(os.getpid(), signal.SIGKILL)


class Allocates(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        self.kept = self.kept or [np.ones(64 * 2**20, np.uint8)]
        return super().train_epoch(order, rates, augmentation)


class Talks(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        print("stray words on stdout")
        print("stray words on stderr", file=sys.stderr)
        os.write(1, b"stray bytes\n")
        return super().train_epoch(order, rates, augmentation)


class Hangs(Sound):
    def facts(self):
        time.sleep(60)
        return {}


class NoDevice(Sound):
    @classmethod
    def check(cls, device):
        raise BenchError("no such device: plug it in")


class HangsWithFile(KnowsWarmUp):
    """Never ends an epoch once the file that PLANTED_FILE names is there."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if os.path.exists(os.environ["PLANTED_FILE"]) and self.epochs:
            time.sleep(60)
        return losses


class AltersWeights(Sound):
    def load_weights(self, weights):
        name, *_ = weights
        self.weights = dict(weights) | {name: weights[name] * np.float32(1.0001)}


class LosesWeights(Sound):
    def load_weights(self, weights):
        self.weights = dict(list(weights.items())[1:])


class WrongLogits(Sound):
    def predict(self, split):
        return super().predict(split)[:, :2]


class WrongLosses(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, rates, augmentation)[:1]


class Segfaults(KnowsWarmUp):
    """Says something, and reads memory that is not there."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs == 2:
            print("the last words", flush=True)
            ctypes.string_at(0)
        return losses


class ExceedsMemory(KnowsWarmUp):
    """Wants more memory than its process may have."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs == 2:
            resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
            self.kept.append(np.ones(2**33, np.uint8))
        return losses


class RunsCommand(KnowsWarmUp, Remembers):
    """Runs the shell command PLANTED_COMMAND in every epoch."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs:
            subprocess.run(["sh", "-c", os.environ["PLANTED_COMMAND"]], check=False)
        return losses


class Stops(KnowsWarmUp):
    """Stops its whole process, as ``kill -STOP`` does, in the middle of an epoch."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs:
            os.kill(os.getpid(), signal.SIGSTOP)
        return losses


class Busy(KnowsWarmUp):
    """Never lets go of the interpreter, as a call into Julia does, once an epoch has begun."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs:
            ctypes.PyDLL(None).sleep(60)
        return losses


class Sleeps(KnowsWarmUp):
    """As Busy, but threads of Python go on."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs:
            time.sleep(60)
        return losses


class StrangeLosses(Sound):
    """Of a class in a module that only its own process knows."""

    def train_epoch(self, order, rates, augmentation=None):
        sys.modules["only_here"] = module = types.ModuleType("only_here")
        module.Strange = type("Strange", (), {"__module__": "only_here"})
        return module.Strange()


class ForeignLosses(Sound):
    """Of a package that everybody could import; a large one takes seconds and memory."""

    def train_epoch(self, order, rates, augmentation=None):
        return Fraction(1, 2)


class OwnVersions(Sound):
    """As PyTorch's: text of a class of its own."""

    def facts(self):
        return {"version": type("Version", (str,), {})("1.0")}


class Diverges(KnowsWarmUp):
    """In its second epoch, at its third step."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.epochs == 2:
            losses[2:] = np.nan
        return losses


class PredictsNothing(Sound):
    """As a network does whose weights are no numbers."""

    def predict(self, split):
        return np.full_like(super().predict(split), np.nan)


class LogitsOverflow(Sound):
    def predict(self, split):
        logits = super().predict(split)
        if split == "test":
            logits[3, 1] = np.inf
        return logits


class WeightsOverflow(KnowsWarmUp):
    def save_weights(self):
        weights = super().save_weights()
        if self.epochs:
            weights["conv1.bias"] = weights["conv1.bias"] + np.float32("inf")
        return weights


class ExtrasFail(KnowsWarmUp):
    """Every measurement besides training fails until the file that PLANTED_FILE names is there."""

    def fail(self, how):
        if not os.path.exists(os.environ["PLANTED_FILE"]):
            how()

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if self.loads > 2 and self.epochs:  # once for the training, then for rounds
            self.fail(lambda: os._exit(7))
        return losses

    def infer(self, images):
        if len(images) == 4:
            self.fail(lambda: os.kill(os.getpid(), signal.SIGSTOP))
        return super().infer(images)

    def profile(self, order, rates):
        self.fail(lambda: os.kill(os.getpid(), signal.SIGKILL))
        return {"other": 1.0}

    def activation_maps(self, split, rows, outputs):
        self.fail(lambda: 1 / 0)
        return super().activation_maps(split, rows, outputs)


class HangsInExtras(Sound):
    """Hangs in inference until the file that PLANTED_FILE names is there."""

    def infer(self, images):
        while not os.path.exists(os.environ["PLANTED_FILE"]):
            time.sleep(0.05)
        return super().infer(images)


class ReversesOrder(Sound):
    """Trains on the batches in another order than it was given."""

    def train_epoch(self, order, rates, augmentation=None):
        order[...] = order[::-1].copy()
        return super().train_epoch(order, rates, augmentation)


class TellsOtherRates(Sound):
    """Its language received learning rates that nobody sent."""

    def received(self):
        return Received().digests()


class SwapsLabels(Sound):
    """Holds the labels of other images."""

    def images_digest(self, split, rows):
        images, labels = self.data.split(split).images(rows), self.data.split(split).labels[rows]
        return images_digest(images, labels[::-1])


class CompilesInTest(Sound):
    """Compiles a program for every batch shape; its warm-up leaves out the test split."""

    compiled = 0

    def warm_up_prediction(self, split):
        if split == "val":
            self.predict(split)

    def predict(self, split):
        self.compiled += split == "test"
        return super().predict(split)

    def compilations(self):
        return self.compiled


class CannotStart(Sound):
    @classmethod
    def start(cls):
        raise BenchError("cannot start: no licence")


class HangsAtStart(Sound):
    @classmethod
    def start(cls):
        time.sleep(600)


class CannotBeMade(Sound):
    """Fails as soon as it is made."""

    def __init__(self, job):
        raise TypeError("cannot be made")


VARIABLES = Variables(removed=("JAX_", "XLA_", "TORCH", "JULIA_"), places=("JULIA_DEPOT_PATH",))
FAMILY = Family(name="planted", training=(), data=(), versions=(), variables=VARIABLES)
SPECS = {
    name.lower(): BackendSpec(
        name=name.lower(),
        title=name,
        family=FAMILY,
        find_network=lambda card: __file__,
        factory=f"planted:{name}",
        summary="",
        packages=(),
        install="",
    )
    for name, value in list(vars().items())
    if isinstance(value, type) and value.__module__ == __name__
}
SPECS["absent"] = replace(SPECS["sound"], name="absent", packages=("no_such_package_anywhere",))
BACKENDS = tuple(SPECS.values())
"""For an entry point."""
