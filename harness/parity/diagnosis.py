"""What is wrong in a framework that deviates, and in which layer.

Known mistakes are made in the reference, one at a time. The one under which the reference computes
the same wrong numbers, where no other does, is the name of what is wrong. Mistakes are tried at
every layer first, as whoever misunderstands a framework does so throughout, then at single ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.parity.deviations import TOLERANCE, Verdict, by_name
from harness.parity.mistakes import FITTED, KINDS, SITED, Mistake, MistakenTask, describe
from harness.parity.trace import FORWARD, Plan, Stages, Subject, Trace, compute
from harness.protocol.weights import Weights

FACTORY = "harness.backends.torch.mistakes:MistakenTorchBackend"
SECONDS = 300.0
"""After so long no further mistake is tried: of 120 convolutions each can be wrong."""
EXACT = 1e-6
"""A mistake that leaves more is another one, whatever was there before."""
MOST_EQUAL = 8
"""So many mistakes that all fit are told apart by what they do later."""

QUICK = frozenset((*FORWARD, "step 1", "step 2", "step 3", "losses", "moved"))
"""Stages that a mistake must explain as well."""

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
    "moved": ("moves",),
    "predictions": ("prediction",),
}
"""By the first stage that deviates: the operations that are looked at before all others."""
_OF_STEPS = ("update", "rates", "order", "epoch", "gradients", "normalisation")


class Reference(Subject, Protocol):
    """The reference with a mistake in it; its facts say where which operations are."""

    def facts(self) -> dict[str, str]: ...


Build = Callable[[MistakenTask], Reference]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong with one framework."""

    framework: str
    model: str
    stage: str
    """The first that deviates."""
    mistakes: tuple[Mistake, ...]
    """All that explain it equally well; none when no known one does."""
    words: str
    """Where the deviation is nearest to its cause, or what else is to be said."""
    still: str | None = None
    """The first stage that deviates even so: more than one thing is wrong."""

    def __str__(self) -> str:
        if not self.mistakes:
            return self.words
        named = ", or ".join(dict.fromkeys(map(describe, self.mistakes)))
        more = f"; and more is wrong: {self.still} deviates even so" if self.still else ""
        return named + (f" ({self.words})" if self.words else "") + more


@dataclass
class Suspects:
    """The reference under one mistake after the other."""

    plan: Plan
    build: Build
    seconds: float = SECONDS
    tried: int = 0
    started: float = field(default_factory=time.monotonic)
    _sites: dict[str, tuple[str, ...]] | None = None

    def compute(self, mistake: Mistake | None, stage: str, *, alone: bool = False) -> Stages | None:
        """``stage`` and what comes with it; None where the mistake cannot be made.

        With ``alone`` only ``stage`` counts.
        """
        task = replace(self.task(mistake), logits_alone=alone and stage == "logits")
        try:
            return compute(self.build(task), self.plan, stage)
        except Exception:  # shapes that no longer fit, in whichever words of PyTorch's
            return None

    def task(self, mistake: Mistake | None, precision: str = "float64") -> MistakenTask:
        return MistakenTask(**vars(self.plan.task(precision)), mistake=mistake)

    @property
    def sites(self) -> dict[str, tuple[str, ...]]:
        """By operation the layers that it is at, or after which."""
        if self._sites is None:
            reference = self.build(self.task(None))
            reference.load_weights(self.plan.weights)
            facts = reference.facts()
            self._sites = {name: tuple(facts[name].split(";")) for name in SITED & facts.keys()}
        return self._sites

    def everywhere(self, operations: Sequence[str]) -> Iterator[Mistake]:
        """The known mistakes of ``operations``; of one layer by its name where there is but one."""
        for name, kind in KINDS.items():
            if kind.operation not in operations or name in FITTED:
                continue
            if kind.operation not in SITED:
                yield Mistake(name)
            elif sites := self.sites.get(kind.operation):
                yield Mistake(name, sites if len(sites) == 1 else ())

    def one_by_one(self) -> Iterator[Mistake]:
        """Those of single layers at each of them."""
        for name, kind in KINDS.items():
            sites = self.sites.get(kind.operation, ())
            if len(sites) > 1 and name not in FITTED:
                yield from (Mistake(name, (site,)) for site in sites)

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.started > self.seconds


def diagnose(
    verdict: Verdict, found: Trace, reference: Trace, plan: Plan, build: Build
) -> Diagnosis | None:
    """The name of what is wrong, or where it shows first; None where nothing is.

    Raises:
        WorkerError: the reference failed without any mistake in it.
    """
    if not verdict.beyond:
        return None
    first = verdict.beyond[0].stage
    bounds = TOLERANCE[verdict.precision]
    gradients = _with_zeros(found.stages["gradients"], reference.stages["gradients"])
    stages = {**found.stages, "gradients": gradients}

    def told(mistakes: Sequence[Mistake], words: str, still: str | None = None) -> Diagnosis:
        return Diagnosis(
            framework=verdict.framework,
            model=verdict.model,
            stage=first,
            mistakes=tuple(mistakes),
            words=words,
            still=still,
        )

    suspects = Suspects(plan, build)
    if first == "repeated":
        return told((), "random: two calls with the same batch differ, as with dropout left in")
    judging = _Judging(stages, reference.stages, bounds, first, suspects)
    for group in _groups(suspects, first, stages, reference.stages, plan):
        if fitting := judging.fitting(group):
            best, still = judging.best(fitting)
            if best:
                alone = judging.is_of_training_alone(best[0])
                return told(best, "in training alone" if alone else "", still)
        if verdict.precision == "float64" and judging.is_single_precision():
            return told((), "as far off as single precision is: computed in it, at least in part")
        if suspects.is_late:
            break
    # Of a reference that has died meanwhile, no mistake reproduces anything: then this raises.
    compute(build(suspects.task(None)), plan, "logits")
    known = f"none of {suspects.tried} known mistakes reproduces it"
    return told((), f"{evidence(verdict, plan)}: {known}")


def _groups(
    suspects: Suspects, first: str, found: Stages, reference: Stages, plan: Plan
) -> Iterator[Iterator[Mistake]]:
    """The mistakes to be tried, the likeliest first."""
    operations = _FIRST.get(first, _OF_STEPS)
    fitted = tuple(_fitted(first, found, reference, plan))

    def begin() -> Iterator[Mistake]:
        yield from suspects.everywhere(operations)
        yield from fitted

    others = [name for name in (*_TRAINING, *_LAYERS) if name not in operations]
    yield begin()
    if first != "logits":
        yield suspects.everywhere(others)
    yield suspects.one_by_one()


@dataclass(frozen=True)
class _Judging:
    found: Stages
    reference: Stages
    bounds: Mapping[str, float]
    first: str
    suspects: Suspects

    def fitting(self, group: Iterator[Mistake]) -> list[Mistake]:
        """Those under which the reference computes what was found at the first stage."""
        fitting = []
        for mistake in group:
            if self.suspects.is_late:
                break
            self.suspects.tried += 1
            computed = self.suspects.compute(mistake, self.first, alone=True)
            if computed is not None and self.agrees(self.first, computed[self.first]):
                fitting.append(mistake)
        return fitting

    def agrees(self, stage: str, computed: Weights) -> bool:
        if stage == "gradients":
            computed = _with_zeros(computed, self.reference[stage])
        left = _apart(self.found[stage], computed)
        before = _apart(self.found[stage], self.reference[stage])
        bound = self.bounds.get(stage, EXACT)
        return left <= max(bound, min(EXACT, 1e-3 * before))

    def best(self, fitting: list[Mistake]) -> tuple[list[Mistake], str | None]:
        """Those that explain most of the later stages too, and the first that they do not.

        A number that was fitted to one stage proves nothing there: such a mistake must explain
        the others.
        """
        explained: dict[Mistake, int] = {}
        missed: dict[Mistake, str | None] = {}
        for mistake in fitting[:MOST_EQUAL]:
            count, stage = self.explains(mistake)
            if stage is None or mistake.kind not in FITTED:
                explained[mistake], missed[mistake] = count, stage
        if not explained:
            return [], None
        most = max(explained.values())
        best = [mistake for mistake, count in explained.items() if count == most]
        exact = [mistake for mistake in best if mistake.kind not in FITTED]
        best = (exact or best)[:3]
        return best, missed[best[0]]

    def explains(self, mistake: Mistake) -> tuple[int, str | None]:
        """How many of the quick stages from the first on agree, and the first that does not.

        Those before are right: a mistake that would show there is made in training alone.
        """
        later = list(self.reference)[list(self.reference).index(self.first) :]
        computed: dict[str, Weights] = {}
        agreeing, missed = 0, None
        for stage in later:
            if stage != self.first and stage not in QUICK:
                continue
            if stage not in computed:
                computed |= self.suspects.compute(mistake, stage) or {}
            if stage in computed and self.agrees(stage, computed[stage]):
                agreeing += 1
            else:
                missed = missed or stage
        return agreeing, missed

    def is_of_training_alone(self, mistake: Mistake) -> bool:
        """Whether it would show before the first stage that deviates, were it made throughout."""
        if self.first in FORWARD:
            return False
        computed = self.suspects.compute(mistake, "logits")
        return computed is None or not all(self.agrees(name, computed[name]) for name in FORWARD)

    def is_single_precision(self) -> bool:
        """Whether what was found lies as far off as the reference does in single precision."""
        if self.first not in FORWARD:
            return False
        suspects = self.suspects
        single = compute(suspects.build(suspects.task(None, "float32")), suspects.plan, self.first)
        usual = _apart(single[self.first], self.reference[self.first])
        return usual / 50 < _apart(self.found[self.first], self.reference[self.first]) < 50 * usual


def _apart(found: Weights, computed: Weights) -> float:
    """The largest deviation of all arrays."""
    return max((d.value for d in by_name("", found, computed)), default=0.0)


def _with_zeros(gradients: Weights, reference: Weights) -> Weights:
    """The gradients, and zeros for parameters that got none."""
    return {name: np.zeros_like(array) for name, array in reference.items()} | gradients


def _fitted(first: str, found: Stages, reference: Stages, plan: Plan) -> Iterator[Mistake]:
    """Mistakes with a number in them, or with places, that can be read off the arrays."""
    if first == "loss":
        factor = float(found["loss"][""]) / float(reference["loss"][""])
        yield Mistake("loss scaled", amount=factor)
        yield Mistake("loss reported", amount=factor)
    if first == "gradients":
        yield from _fitted_gradients(found["gradients"], reference["gradients"])
    if first.startswith("step "):
        yield from _fitted_updates(found[first], reference[first], plan)


def _fitted_gradients(found: Weights, reference: Weights) -> Iterator[Mistake]:
    factors = {name: _factor(found[name], reference[name]) for name in reference}
    yield from _of_factors("gradients scaled", ("gradients of zero", "gradients missing"), factors)
    yield Mistake("gradients clipped", amount=_norm(found))
    yield Mistake("gradients cut off", amount=max(float(np.abs(g).max()) for g in found.values()))


def _fitted_updates(found: Weights, reference: Weights, plan: Plan) -> Iterator[Mistake]:
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
        yield Mistake("momentum fitted", amount=0.1 * shared)


def _of_factors(
    scaled: str, missing: Sequence[str], factors: Mapping[str, float | None]
) -> Iterator[Mistake]:
    """``scaled`` where all that deviate have one factor, ``missing`` where that is 0."""
    odd = {name: f for name, f in factors.items() if f is None or abs(f - 1) > EXACT}
    shared = _shared(list(odd.values()))
    if shared is None:
        return
    layers = () if len(odd) == len(factors) else tuple(odd)
    if abs(shared) < EXACT:
        yield from (Mistake(kind, tuple(odd)) for kind in missing)
    elif not layers or scaled != "rate scaled":
        yield Mistake(scaled, layers, shared)


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


def evidence(verdict: Verdict, plan: Plan) -> str:
    """Where the first deviation is nearest to its cause."""
    first = verdict.beyond[0].stage
    bound = TOLERANCE[verdict.precision][first]
    beyond = {d.name for d in verdict.deviations if d.stage == first and d.value > bound}
    if first == "gradients":
        nearest = [name for name in plan.weights if name in beyond]
        # The backward pass comes from the output, and the card's order goes towards it.
        return f"gradient of {nearest[-1] if nearest else sorted(beyond)[0]}"
    if first.startswith("step "):
        statistics = [name for name in plan.weights if name in beyond and "running_" in name]
        if len(statistics) == len(beyond):
            return f"running statistics ({statistics[0]}) after {first}"
        return f"update rule ({first}, most at {verdict.worst(first).name})"
    return {
        "repeated": "two calls with the same batch",
        "logits": "forward pass (logits)",
        "loss": "loss",
        "losses": "losses that an epoch tells",
        "moved": "augmentation",
        "predictions": "prediction of a split",
    }[first]
