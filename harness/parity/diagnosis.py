"""What is wrong in a framework that deviates, and in which layer.

Known faults are made in the reference, one at a time. The one under which the reference computes
the same wrong numbers, where no other does, is the name of what is wrong. Faults are tried at
every layer first, as whoever misunderstands a framework does so throughout, then at single ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.console import plural
from harness.parity.deviations import Comparison, by_name
from harness.parity.trace import EARLY, FORWARD, ProofPlan, Stages, Trace, compute
from harness.protocol.weights import Weights
from harness.reference.faults.catalogue import FITTED, KINDS, SITED, Fault, describe
from harness.reference.faults.training import FaultyReference
from harness.reference.training import Reference

SECONDS = 300.0
"""After so long no further fault is tried: of 120 convolutions each can be wrong."""
EXACT = 1e-6
"""A fault that leaves more is another one, whatever was there before."""
MOST_EQUAL = 8
"""So many faults that all fit are told apart by what they do later."""

QUICK = frozenset((*FORWARD, "step 1", "step 2", "step 3", "losses", "augmentation"))
"""Stages that a fault must explain as well."""

OF_TIES = "nearly largest"
"""The fault that shows only where a window of max pooling holds near ties."""

LATE = ("predictions", "inference", "epoch ")
"""What the names of stages begin with that come after all single ones."""

_LAYERS = (
    "pixels", "rows", "convolution", "normalisation", "activation", "pooling", "flatten",
    "average", "join", "dense", "head",
)  # fmt: skip
_TRAINING = ("labels", "loss", "gradients", "update", "rates", "order", "epoch")
_FIRST: Mapping[str, tuple[str, ...]] = {
    "logits": _LAYERS,
    "loss": ("labels", "loss", "normalisation"),
    "gradients": ("gradients", "normalisation", "loss"),
    "losses": ("epoch",),
    "augmentation": ("augmentation",),
    "predictions": ("prediction", "epochs", "inference"),
    "inference": ("inference", "prediction"),
}
"""By the first stage that deviates: the operations that are looked at before all others."""
_WITHIN_LATE = ("pixels", "head", "normalisation", "update", "rates", "order", "augmentation")
_OF_STEPS = ("update", "rates", "order", "epoch", "gradients", "normalisation")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong with one framework."""

    framework: str
    model: str
    stage: str
    """The first that deviates."""
    faults: tuple[Fault, ...]
    """All that explain it equally well; none when no known one does."""
    words: str
    """Where the deviation is nearest to its cause, or what else is to be said."""
    still: str | None = None
    """The first stage that they do not explain: more than one thing is wrong."""

    def __str__(self) -> str:
        if not self.faults:
            return self.words
        named = ", or ".join(dict.fromkeys(map(describe, self.faults)))
        more = f"; and more is wrong, as this does not explain {self.still}" if self.still else ""
        return named + (f" ({self.words})" if self.words else "") + more


class Suspects:
    """The reference with one fault after the other."""

    def __init__(self, plan: ProofPlan, seconds: float = SECONDS) -> None:
        self.plan = plan
        self.reference = FaultyReference(plan.job("float64"))
        self.tried = 0
        self.seconds = seconds
        self.latest = time.monotonic() + seconds

    def compute(self, fault: Fault | None, stage: str, *, alone: bool = False) -> Stages | None:
        """``stage`` and what comes with it; None where the fault cannot be made.

        With ``alone`` only ``stage`` counts.
        """
        self.reference.plant(fault, logits_alone=alone and stage == "logits")
        try:
            with np.errstate(all="ignore"):
                return compute(self.reference, self.plan, stage)
        except (ValueError, IndexError):  # shapes that no longer fit
            return None

    @cached_property
    def sites(self) -> dict[str, tuple[str, ...]]:
        """By operation the layers that it is at, or after which."""
        self.reference.plant(None)
        self.reference.load_weights(self.plan.weights)
        return {name: sites for name, sites in self.reference.sites().items() if name in SITED}

    def everywhere(self, operations: Sequence[str]) -> Iterator[Fault]:
        """The known faults of ``operations``; of one layer by its name where there is but one."""
        for name, kind in KINDS.items():
            if kind.operation not in operations or name in FITTED:
                continue
            if kind.operation not in SITED:
                yield Fault(name)
            elif sites := self.sites.get(kind.operation):
                yield Fault(name, sites if len(sites) == 1 else ())

    def one_by_one(self) -> Iterator[Fault]:
        """Those of single layers at each of them."""
        for name, kind in KINDS.items():
            sites = self.sites.get(kind.operation, ())
            if len(sites) > 1 and name not in FITTED:
                yield from (Fault(name, (site,)) for site in sites)

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.latest


def diagnose(
    comparison: Comparison, found: Trace, reference: Trace, plan: ProofPlan
) -> Diagnosis | None:
    """The name of what is wrong, or where it shows first; None where nothing is."""
    if not comparison.beyond:
        return None
    first = comparison.beyond[0].stage
    bounds = comparison.tolerances
    gradients = _with_zeros(found.stages["gradients"], reference.stages["gradients"])
    stages = {**found.stages, "gradients": gradients}

    def told(faults: Sequence[Fault], words: str, still: str | None = None) -> Diagnosis:
        return Diagnosis(
            framework=comparison.framework,
            model=comparison.model,
            stage=first,
            faults=tuple(faults),
            words=words,
            still=still,
        )

    suspects = Suspects(plan)
    if first == "repeated":
        return told((), "random: two calls with the same batch differ, as with dropout left in")
    fit = _Fit(stages, reference.stages, bounds, first, suspects)
    for group in _groups(suspects, first, stages, reference.stages, plan):
        if fitting := fit.fitting(group):
            best, still = fit.best(fitting)
            if best:
                return told(best, fit.place_of(best[0]), still)
        if comparison.precision == "float64" and fit.is_single_precision():
            return told((), "as far off as single precision is: computed in it, at least in part")
        if suspects.is_late:
            break
    tried = plural(suspects.tried, "known fault")
    among = (
        f"the {tried} that could be tried in {suspects.seconds:g} s" if suspects.is_late else tried
    )
    return told((), f"{evidence(comparison, plan)}: none of {among} reproduces it")


def _groups(
    suspects: Suspects, first: str, found: Stages, reference: Stages, plan: ProofPlan
) -> Iterator[Iterator[Fault]]:
    """The faults to be tried, the likeliest first."""
    operations = _first_operations(first)
    fitted = tuple(_fitted(first, found, reference, plan))

    def begin() -> Iterator[Fault]:
        yield from suspects.everywhere(operations)
        yield from fitted

    others = [name for name in (*_TRAINING, *_LAYERS) if name not in operations]
    if first not in FORWARD:
        # Any batch may be the first with such ties, and with dozens of others in between time
        # can run out before.
        yield (each for each in suspects.everywhere(("pooling",)) if each.kind == OF_TIES)
    yield begin()
    if first.startswith(LATE):
        # What is wrong from the start would have shown before.
        yield suspects.everywhere(_WITHIN_LATE)
        return
    if first != "logits":
        yield suspects.everywhere(others)
    yield suspects.one_by_one()


def _first_operations(stage: str) -> tuple[str, ...]:
    """Those that are looked at first where ``stage`` is the first that deviates."""
    if stage.startswith("epoch "):
        return ("epochs", "epoch", "prediction", "inference")
    if stage.startswith("step ") and int(stage.removeprefix("step ")) > EARLY:
        return ("epoch",)
    return _FIRST.get(stage, _OF_STEPS)


@dataclass(frozen=True)
class _Fit:
    found: Stages
    reference: Stages
    bounds: Mapping[str, float]
    first: str
    suspects: Suspects

    def fitting(self, group: Iterator[Fault]) -> list[Fault]:
        """Those under which the reference computes what was found at the first stage."""
        fitting = []
        for fault in group:
            if self.suspects.is_late:
                break
            self.suspects.tried += 1
            computed = self.suspects.compute(fault, self.first, alone=True)
            if computed is not None and self.agrees(self.first, computed[self.first]):
                fitting.append(fault)
        return fitting

    def agrees(self, stage: str, computed: Weights) -> bool:
        if stage == "gradients":
            computed = _with_zeros(computed, self.reference[stage])
        left = _apart(self.found[stage], computed)
        before = _apart(self.found[stage], self.reference[stage])
        bound = self.bounds.get(stage, EXACT)
        return left <= max(bound, min(EXACT, 1e-3 * before))

    def best(self, fitting: list[Fault]) -> tuple[list[Fault], str | None]:
        """Those that explain most of the later stages too, and the first that they do not.

        A number that was fitted to one stage proves nothing there: such a fault must explain
        the others.
        """
        explained: dict[Fault, int] = {}
        missed: dict[Fault, str | None] = {}
        for fault in fitting[:MOST_EQUAL]:
            count, stage = self.explains(fault)
            if stage is None or fault.kind not in FITTED:
                explained[fault], missed[fault] = count, stage
        if not explained:
            return [], None
        most = max(explained.values())
        best = [fault for fault, count in explained.items() if count == most]
        exact = [fault for fault in best if fault.kind not in FITTED]
        best = (exact or best)[:3]
        return best, missed[best[0]]

    def explains(self, fault: Fault) -> tuple[int, str | None]:
        """How many of the quick stages from the first on agree, and the first that does not.

        Those before are right: a fault that would show there is made in training alone.
        """
        later = list(self.reference)[list(self.reference).index(self.first) :]
        late = self.first.startswith(LATE)
        computed: dict[str, Weights] = {}
        agreeing, missed = 0, None
        for stage in later:
            if stage != self.first and stage not in QUICK and not late:
                continue
            if stage not in computed:
                last = later[-1] if stage.startswith("epoch ") else stage
                computed |= self.suspects.compute(fault, last) or {}
            if stage in computed and self.agrees(stage, computed[stage]):
                agreeing += 1
            else:
                missed = missed or stage
        return agreeing, missed

    def place_of(self, fault: Fault) -> str:
        """Where alone it is made, if it would show before the first stage that deviates, were it
        made throughout."""
        if self.first in FORWARD:
            return ""
        computed = self.suspects.compute(fault, "logits")
        if computed is not None and all(self.agrees(name, computed[name]) for name in FORWARD):
            return ""
        return f"in {self.first} alone" if self.first.startswith(LATE) else "in training alone"

    def is_single_precision(self) -> bool:
        """Whether what was found lies as far off as the reference does in single precision."""
        if self.first not in FORWARD:
            return False
        plan = self.suspects.plan
        single = compute(Reference(plan.job("float32")), plan, self.first)
        usual = _apart(single[self.first], self.reference[self.first])
        return usual / 50 < _apart(self.found[self.first], self.reference[self.first]) < 50 * usual


def _apart(found: Weights, computed: Weights) -> float:
    """The largest deviation of all arrays."""
    return max((d.value for d in by_name("", found, computed)), default=0.0)


def _with_zeros(gradients: Weights, reference: Weights) -> Weights:
    """The gradients, and zeros for parameters that got none."""
    return {name: np.zeros_like(array) for name, array in reference.items()} | gradients


def _fitted(first: str, found: Stages, reference: Stages, plan: ProofPlan) -> Iterator[Fault]:
    """Faults with a number in them, or with places, that can be read off the arrays."""
    if first == "loss":
        factor = float(found["loss"][""]) / float(reference["loss"][""])
        yield Fault("loss scaled", amount=factor)
        yield Fault("loss reported", amount=factor)
        yield from _fitted_smoothing(found["loss"], reference["loss"], plan)
    if first == "gradients":
        yield from _fitted_gradients(found["gradients"], reference["gradients"])
    if first.startswith("step "):
        yield from _fitted_updates(found[first], reference[first], plan)


def _fitted_smoothing(found: Weights, reference: Weights, plan: ProofPlan) -> Iterator[Fault]:
    """The loss is linear in the amount."""
    smoothed = FaultyReference(plan.job("float64"))
    smoothed.plant(Fault("label smoothing fitted", amount=1.0))
    most = compute(smoothed, plan, "loss")["loss"][""] - reference[""]
    if most:
        yield Fault("label smoothing fitted", amount=float((found[""] - reference[""]) / most))


def _fitted_gradients(found: Weights, reference: Weights) -> Iterator[Fault]:
    factors = {name: _factor(found[name], reference[name]) for name in reference}
    yield from _of_factors("gradients scaled", ("gradients of zero", "gradients missing"), factors)
    yield Fault("gradients clipped", amount=_norm(found))
    yield Fault("gradients cut off", amount=max(float(np.abs(g).max()) for g in found.values()))


def _fitted_updates(found: Weights, reference: Weights, plan: ProofPlan) -> Iterator[Fault]:
    running = {name for name in reference if "running" in name.rpartition(".")[2]}
    factors = {
        name: _factor(found[name] - plan.weights[name], reference[name] - plan.weights[name])
        for name in reference
        if name in found and found[name].shape == reference[name].shape
    }
    yield from _of_factors(
        "rate scaled", ("not trained",), {n: f for n, f in factors.items() if n not in running}
    )
    kept = [factor for name, factor in factors.items() if name in running]
    if (shared := _shared(kept)) is not None:
        yield Fault("momentum fitted", amount=0.1 * shared)


def _of_factors(
    scaled: str, missing: Sequence[str], factors: Mapping[str, float | None]
) -> Iterator[Fault]:
    """``scaled`` where all that deviate have one factor, ``missing`` where that is 0."""
    odd = {name: f for name, f in factors.items() if f is None or abs(f - 1) > EXACT}
    shared = _shared(list(odd.values()))
    if shared is None:
        return
    layers = () if len(odd) == len(factors) else tuple(odd)
    if abs(shared) < EXACT:
        yield from (Fault(kind, tuple(odd)) for kind in missing)
    elif not layers or scaled != "rate scaled":
        yield Fault(scaled, layers, shared)


def _factor(found: NDArray[np.floating], reference: NDArray[np.floating]) -> float | None:
    """What ``reference`` is to be multiplied by, if by one number."""
    square = float((reference * reference).sum())
    if found.shape != reference.shape or square == 0:
        return None
    factor = float((found * reference).sum()) / square
    left = float(np.abs(found - factor * reference).max(initial=0))
    # An update is the small difference of two arrays, which costs it digits.
    return factor if left <= EXACT * float(np.abs(reference).max()) else None


def _shared(factors: Sequence[float | None]) -> float | None:
    """The one number that all ``factors`` are."""
    known = [factor for factor in factors if factor is not None]
    if not known or len(known) < len(factors):
        return None
    middle = float(np.median(known))
    close = max(abs(factor - middle) for factor in known) <= EXACT * max(1.0, abs(middle))
    return middle if close else None


def _norm(arrays: Weights) -> float:
    return float(np.sqrt(sum(float((array * array).sum()) for array in arrays.values())))


def evidence(comparison: Comparison, plan: ProofPlan) -> str:
    """Where the first deviation is nearest to its cause."""
    first = comparison.beyond[0].stage
    bound = comparison.tolerances[first]
    beyond = {d.name for d in comparison.deviations if d.stage == first and d.value > bound}
    if first == "gradients":
        nearest = [name for name in plan.weights if name in beyond]
        # The backward pass comes from the output, and the card's order goes towards it.
        return f"gradient of {nearest[-1] if nearest else sorted(beyond)[0]}"
    if first.startswith("epoch "):
        return f"{first}, most at {comparison.maximum(first).where}"
    if first.startswith("step "):
        statistics = [name for name in plan.weights if name in beyond and "running_" in name]
        if len(statistics) == len(beyond):
            return f"running statistics ({statistics[0]}) after {first}"
        return f"update rule ({first}, most at {comparison.maximum(first).name})"
    return {
        "repeated": "two calls with the same batch",
        "logits": "forward pass (logits)",
        "loss": "loss",
        "losses": "losses that an epoch tells",
        "augmentation": "augmentation",
        "predictions": f"prediction of {comparison.maximum(first).name}",
        "inference": "inference",
    }[first]
