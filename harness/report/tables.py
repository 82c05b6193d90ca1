"""Every table of the report, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness import settings
from harness.analysis.comparison import Group, Outcome, Run, doubt, paired_speed, title_of
from harness.data.cards import load_cards
from harness.models.card import Layer, Parameter
from harness.plugins import backends, canonical, role_of
from harness.report import labels
from harness.report.identity import ITEMS, Check, checks
from harness.report.sources import Part, whole
from harness.report.text import (
    NOTHING,
    auroc_interval,
    capitalised,
    code,
    escape,
    join,
    number,
    p_value,
    percent,
    percent_interval,
    percent_places,
    plural,
    ratio,
    shorten,
    speed,
    table,
)
from harness.results.folder import DatasetEntry
from harness.results.records import Phases
from harness.stats.statistics import CONFIDENCE

INTERVAL = f"{100 * CONFIDENCE:.0f} %"
DIGEST = 12
"""Characters of a SHA-256 that are shown: enough to tell a handful apart."""
PHASES = {
    "start_s": "Process start",
    "import_s": "Import",
    "build_s": "Build",
    "first_step_s": "First step",
    "first_predict_s": "First prediction",
}
"""Fields of :class:`Phases` and what a person calls them."""
assert set(PHASES) == set(Phases.model_fields)
ROLES = {
    "plain": "plain",
    "tuned": "tuned, of {base}",
    "bound": "reference bound",
    "idiom": "idiom, not compared",
}
"""Roles of variants, as a table has them."""


def headline(run: Run, group: Group) -> str:
    """One row a variant that is ranked, those that failed or were skipped included."""
    reference = group.reference
    header = [
        "Framework",
        *_score_columns(group),
        f"Training, images/s ({INTERVAL})",
        f"Speed, {escape(reference.title)} = 1 ({INTERVAL})" if reference else "Speed ratio",
        "Compilation, s",
        "Import, s",
        "Peak memory, MiB",
    ]
    rows = [
        _headline_row(run, group, outcome)
        if outcome.trained
        else _unfinished_row(outcome, len(header) - 2)
        for outcome in group.outcomes
        if outcome.role == group.ranked_role
    ]
    rows += [
        _skipped_row(name, reason, len(header) - 2)
        for name, reason in run.manifest.skipped.items()
        if role_of(name) == group.ranked_role
    ]
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def _score_columns(group: Group) -> list[str]:
    auroc = [f"{capitalised(labels.name_of(group))} ({INTERVAL})"] if group.labels else []
    return [*auroc, f"{capitalised(group.accuracy)} ({INTERVAL})"]


def _scores(group: Group, outcome: Outcome) -> list[str]:
    return [*([auroc_cell(outcome)] if group.labels else []), accuracy_cell(outcome)]


def tuned(run: Run, group: Group) -> str:
    """One row a tuned variant: how it deviates from its plain form, and what it gains over it.

    Nothing where the run has none, or where they are what is ranked.
    """
    if group.ranked_role == "tuned":
        return ""
    own = [outcome for outcome in group.outcomes if outcome.role == "tuned"]
    header = [
        "Tuned variant",
        "Deviates from its plain form",
        *_score_columns(group),
        f"Training, images/s ({INTERVAL})",
        f"Gain: speed, plain form = 1 ({INTERVAL})",
        "Compilation, s",
    ]
    rows = []
    for outcome in own:
        if not outcome.trained:
            rows.append(_unfinished_row(outcome, len(header) - 2))
            continue
        rows.append(
            [
                _name(outcome),
                escape(backends()[outcome.framework].deviation),
                *_scores(group, outcome),
                _pace(outcome),
                ratio_cell(outcome, group.base_of(outcome), comparisons=len(own)),
                number(outcome.compilation_s(_batch_size(run))),
            ]
        )
    rows += [
        _skipped_row(name, reason, len(header) - 2)
        for name, reason in run.manifest.skipped.items()
        if role_of(name) == "tuned"
    ]
    return table(header, rows, align="ll" + "r" * (len(header) - 2)) if rows else ""


def published(group: Group) -> str:
    """One row a result that others published on the group's data set; or nothing."""
    card = load_cards().get(group.dataset)
    header = ["Published elsewhere", "Measure", "Value", "Source"]
    rows = [
        [escape(each.model), escape(each.metric), escape(each.value), escape(each.where)]
        for each in (card.references if card else ())
    ]
    return table(header, rows, align="llrl") if rows else ""


def bounds(run: Run, group: Group) -> str:
    """One row a reference bound: what hand-written kernels reach on this CPU; or nothing."""
    own = [outcome for outcome in group.outcomes if outcome.role == "bound"]
    reference = group.ranked[0] if group.ranked else None
    over = f", {escape(reference.title)} = 1" if reference else ""
    header = [
        "Bound",
        "What it is",
        *_score_columns(group),
        f"Training, images/s ({INTERVAL})",
        f"Speed{over} ({INTERVAL})",
    ]
    rows = [
        [
            _name(outcome),
            escape(backends()[outcome.framework].deviation),
            *_scores(group, outcome),
            _pace(outcome),
            ratio_cell(outcome, reference, comparisons=len(own)),
        ]
        if outcome.trained
        else _unfinished_row(outcome, len(header) - 2)
        for outcome in own
    ]
    return table(header, rows, align="ll" + "r" * (len(header) - 2)) if rows else ""


def idioms(run: Run, group: Group) -> str:
    """One row a framework as its own tutorial writes it, compared with nothing; or nothing."""
    header = [
        "As its tutorial writes it",
        "Why it is in no ranking and no certificate",
        *_score_columns(group),
        "Training, images/s",
    ]
    rows = [
        [
            _name(outcome),
            escape(backends()[outcome.framework].deviation),
            *_scores(group, outcome),
            number(outcome.speed.value) + (f" ({outcome.doubt})" if outcome.doubt else ""),
        ]
        if outcome.trained
        else _unfinished_row(outcome, len(header) - 2)
        for outcome in group.outcomes
        if outcome.role == "idiom"
    ]
    return table(header, rows, align="ll" + "r" * (len(header) - 2)) if rows else ""


def uncertified(run: Run) -> list[str]:
    """Variants of the run that follow a protocol of their own, and the reason."""
    specs = [backends()[name] for name in run.manifest.experiment.frameworks if name in backends()]
    return [
        f"{escape(spec.title)} ({escape(spec.deviation)})" for spec in specs if not spec.certified
    ]


def coverage(run: Run, group: Group) -> str:
    """Sentences below the headline: what its intervals cover, on which CPU, how disturbed."""
    starts = sorted({len(outcome.starts) for outcome in group.ranked})
    if not starts:
        return ""
    if starts == [1]:
        sentences = [
            "The intervals of speeds cover the rounds of this one start; other starts, and other "
            "machines, may differ by more (`--sessions 5`, or more seeds, show how much)."
        ]
    else:
        sentences = [
            "The intervals of speeds cover further starts on this machine: each variant was "
            f"started anew {join([str(count) for count in starts])} times. Other machines may "
            "differ by more."
        ]
    rounds = [each for outcome in group.finished for each in outcome.rounds]
    repeats = sum(each.repeats for each in rounds)
    repeated = sum(each.repeats > 0 for each in rounds)
    disturbed = sum(each.disturbed for each in rounds)
    if repeats or disturbed:
        sentences.append(
            f"Of {plural(len(rounds), 'round')} {repeated} "
            f"{'was' if repeated == 1 else 'were'} measured again because of other work on the "
            f"machine ({plural(repeats, 'repetition')}); {disturbed} remained disturbed and "
            f"{'counts' if disturbed == 1 else 'count'} in no speed."
        )
    else:
        sentences.append("No round was repeated or marked as disturbed.")
    return " ".join([*sentences, processor(run)])


def processor(run: Run) -> str:
    """The CPU in a sentence: ratios of speed depend on it."""
    recorded = run.folder.environment
    flags = recorded.get("cpu_flags")
    caches = recorded.get("cpu_caches")
    parts = [escape(str(recorded.get("cpu") or "unknown"))]
    if isinstance(flags, list) and flags:
        parts.append(f"vector extensions {escape(', '.join(map(str, flags)))}")
    if isinstance(caches, dict) and caches:
        sizes = [f"{escape(str(name))} {escape(str(size))}" for name, size in caches.items()]
        parts.append(f"caches {', '.join(sizes)}")
    parts.append(plural(run.manifest.experiment.threads, "thread"))
    return f"CPU: {'; '.join(parts)}."


def accuracy_cell(outcome: Outcome) -> str:
    places = percent_places(outcome.test_examples)
    shown = percent_interval(outcome.accuracy, places)
    if len(outcome.trained) > 1:
        low, high = outcome.accuracy_range
        if low == high:
            return f"{shown}; the same in all {len(outcome.trained)} seeds"
        shown += f"; seeds {100 * low:.{places}f} to {percent(high, places)}"
    return shown


def auroc_cell(outcome: Outcome) -> str:
    shown = auroc_interval(outcome.mean_auroc)
    low, high = outcome.auroc_range
    if len(outcome.trained) < 2 or math.isnan(low + high):
        return shown
    if low == high:
        return f"{shown}; the same in all {len(outcome.trained)} seeds"
    return f"{shown}; seeds {low:.3f} to {high:.3f}"


def ratio_cell(outcome: Outcome, reference: Outcome | None, *, comparisons: int = 1) -> str:
    """The ratio of speeds with its interval, or why it is not judged."""
    if reference is None:
        return NOTHING
    if outcome is reference:
        return "1"
    estimate = paired_speed(outcome, reference, comparisons=comparisons)
    if reason := doubt(outcome, reference):
        return f"not judged: {reason}"
    return ratio(estimate)


def unfinished_reason(outcome: Outcome) -> str:
    """Why ``outcome`` trained nothing, as plain text."""
    if outcome.failed:
        result = next(iter(outcome.failed.values()))
        return f"{result.outcome}: {shorten(result.error or 'no reason was recorded')}"
    return "not run yet"


def _name(outcome: Outcome) -> str:
    planned = len(outcome.trained) + len(outcome.failed) + len(outcome.missing)
    if len(outcome.trained) == planned:
        return escape(outcome.title)
    return f"{escape(outcome.title)} (**{len(outcome.trained)} of {planned} seeds**)"


def _pace(outcome: Outcome) -> str:
    shown = speed(outcome.speed)
    return f"{shown} ({outcome.other_work})" if outcome.other_work else shown


def _skipped_row(name: str, reason: str, empty: int) -> list[str]:
    return [escape(title_of(name)), f"skipped: {escape(shorten(reason))}", *[NOTHING] * empty]


def _batch_size(run: Run) -> int:
    return run.manifest.experiment.training.batch_size


def _headline_row(run: Run, group: Group, outcome: Outcome) -> list[str]:
    return [
        _name(outcome),
        *_scores(group, outcome),
        _pace(outcome),
        ratio_cell(outcome, group.reference, comparisons=group.speed_comparisons),
        number(outcome.compilation_s(_batch_size(run))),
        number(outcome.phase("import_s")),
        f"{outcome.peak_mib:,.0f}",
    ]


def _unfinished_row(outcome: Outcome, empty: int) -> list[str]:
    state, _, reason = unfinished_reason(outcome).partition(": ")
    shown = f"**{state}**: {escape(reason)}" if reason else f"**{state}**"
    return [escape(outcome.title), shown, *[NOTHING] * empty]


def frameworks(run: Run) -> str:
    """What each framework's row is, and on what it ran."""
    facts = _facts(run)
    found = []
    for name in run.manifest.experiment.frameworks:
        spec = backends().get(canonical(name))
        family = spec.family if spec else None
        ran_on = [
            f"{fact} {' and '.join(facts[fact][name])}"
            for fact in (family.versions if family else ())
            if name in facts.get(fact, {})
        ]
        found.append(
            [
                escape(title_of(name)),
                code(name),
                escape(ROLES[spec.role].format(base=spec.base)) if spec else NOTHING,
                escape(spec.summary) if spec else NOTHING,
                escape(", ".join(ran_on)) or NOTHING,
            ]
        )
    return table(["Framework", "Name", "Role", "What it is", "Ran on"], found)


def paid_once(group: Group) -> str:
    """One row a framework that finished: the seconds of each phase, medians over the seeds."""
    header = ["Framework", *(f"{name}, s" for name in PHASES.values()), "Together, s"]
    found = [
        [
            escape(outcome.title),
            *(number(outcome.phase(phase)) for phase in PHASES),
            number(outcome.once_s),
        ]
        for outcome in group.finished
    ]
    return table(header, found, align="l" + "r" * (len(header) - 1))


def accuracy_pairs(group: Group) -> str:
    """One row a pair of frameworks and seed."""
    header = [
        "Frameworks",
        "Seed",
        "Images",
        "Different answers",
        "Only the first right",
        "Only the second right",
        "p (exact McNemar)",
    ]
    rows = [
        [
            f"{escape(pair.first.title)}, {escape(pair.second.title)}",
            str(test.seed),
            f"{test.examples:,}",
            f"{test.differing:,}",
            f"{test.paired.only_first:,}",
            f"{test.paired.only_second:,}",
            p_value(test.paired.p).removeprefix("p = ").removeprefix("p "),
        ]
        for pair in group.pairs
        for test in pair.tests
    ]
    return table(header, rows, align="lrrrrrr")


def hyperparameters(run: Run) -> str:
    found = {name: escape(value) for name, value in settings.rows(run.manifest.experiment)}
    found["initial weights"] = initial_weights(run)
    return table(["Setting", "Value"], [[escape(name), value] for name, value in found.items()])


def initial_weights(run: Run) -> str:
    """What training starts from."""
    file = run.manifest.experiment.training.initial_weights
    if file is None:
        return "drawn by the protocol from the seed"
    sha256 = run.manifest.initial_weights_sha256
    return f"file {code(file.name)}" + (f", SHA-256 {code(sha256)}" if sha256 else "")


def adapted(run: Run, group: Group) -> str:
    """A sentence on what does not start as the file of initial weights has it; or nothing."""
    if run.manifest.experiment.training.initial_weights is None or group.card is None:
        return ""
    results = [cell.result for o in group.finished for cell in o.trained.values()]
    names = list(dict.fromkeys(name for result in results for name in result.adapted))
    if not names:
        return "All parameters start as the file of initial weights has them."
    head = [code(name) for name in names if name.startswith(f"{group.card.head}.")]
    stem = [code(name) for name in names if name.startswith(f"{group.card.stem}.")]
    found = []
    if head:
        found.append(
            f"{join(head)} {'was' if len(head) == 1 else 'were'} drawn anew from the seed, because "
            "the file has a head for other outputs"
        )
    if stem:
        how = "summed over" if group.entry.image_shape[0] == 1 else "spread evenly over"
        found.append(f"{join(stem)} was {how} the colours, because the file sees other images")
    return f"Of the file of initial weights, {'; '.join(found)}. The rest starts as in the file."


def identity_summary(group: Group) -> str:
    """One row an item: whether all frameworks had the same, over all seeds."""
    rows = []
    found = checks(group)
    for item, name in ITEMS.items():
        own = [check for check in found if check.item == item]
        comparable = [check for check in own if check.comparable]
        same = [check for check in comparable if check.identical]
        if all(digest == "none" for check in own for digest in check.digests.values()):
            verdict = "none: nothing to compare"
        elif not comparable:
            verdict = "nothing to compare: one framework only"
        elif len(same) == len(comparable):
            verdict = f"identical: yes ({plural(len(same), 'seed')})"
        else:
            verdict = f"**identical: NO** ({len(same)} of {plural(len(comparable), 'seed')})"
        rows.append([name, verdict])
    return table(["Held", "Between the frameworks"], rows)


def identity_digests(group: Group) -> str:
    """One row an item and seed, one column a framework: the first characters of each SHA-256."""
    header = ["Held", "Seed", *(escape(outcome.title) for outcome in group.finished), "Identical"]
    rows = [
        [
            ITEMS[check.item],
            str(check.seed),
            *(_digest(check, outcome) for outcome in group.finished),
            ("yes" if check.identical else "**NO**") if check.comparable else NOTHING,
        ]
        for check in checks(group)
    ]
    return table(header, rows)


def _digest(check: Check, outcome: Outcome) -> str:
    digest = check.digests.get(outcome.framework)
    if digest == "none":
        return digest
    return code(digest[:DIGEST]) if digest else NOTHING


def closeness(group: Group) -> str:
    reference = group.reference
    assert reference is not None
    found = group.closeness()
    steps = max((close.steps for close in found), default=0)
    header = [
        "Framework",
        "Seed",
        "Loss of the first step",
        f"Largest relative difference from {escape(reference.title)}, first {steps} steps",
    ]
    rows = [
        [
            escape(title_of(close.framework)),
            str(close.seed),
            f"{close.first_loss:.8f}",
            "reference"
            if close.framework == reference.framework
            else "not a number"
            if math.isnan(close.largest_difference)
            else number(close.largest_difference, 2),
        ]
        for close in found
    ]
    return table(header, rows, align="lrrr")


def code_lines(parts: list[Part], extras: list[Part], families: dict[str, str]) -> str:
    """One row a part, one column a family; their sum, then what some rows have besides."""
    found = [
        [escape(part.title), *(_count(part.lines(family)) for family in families)] for part in parts
    ]
    if len(parts) > 1:
        found.append(["**all**", *(_count(whole(parts, family)) for family in families)])
    found += [
        [f"besides, {escape(part.title)}", *(_count(part.lines(family)) for family in families)]
        for part in extras
    ]
    return table(
        ["Lines of code", *map(escape, families.values())], found, align="l" + "r" * len(families)
    )


def code_files(part: Part) -> str:
    """One row a file of ``part``."""
    found = [
        [code(file.path), _count(file.lines)] for files in part.sources.values() for file in files
    ]
    return table(["File", "Lines of code"], found, align="lr")


def _count(count: int | None) -> str:
    return NOTHING if count is None else str(count)


def layers(group: Group) -> str:
    """The network's layers, parameters and multiply-accumulate operations for one image."""
    assert group.card is not None
    shape, classes = group.entry.image_shape, len(group.entry.classes)
    found = group.card.layers(shape, classes)
    sizes = _trainable_sizes(group.card.parameters(shape, classes), found)
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


def running_statistics(group: Group) -> str:
    """A sentence on what a network holds besides trainable parameters; or nothing."""
    assert group.card is not None
    parameters = group.card.parameters(group.entry.image_shape, len(group.entry.classes))
    held = sum(parameter.size for parameter in parameters if not parameter.trainable)
    if not held:
        return ""
    return (
        f"Besides the trainable parameters there are {held:,} running statistics of batch "
        "normalisation, which no gradient reaches. "
    )


def dataset(name: str, entry: DatasetEntry, warnings: Sequence[str] = ()) -> str:
    channels, height, width = entry.image_shape
    classes = ", ".join(entry.classes)
    rows = [
        ("images", f"{entry.train:,} train, {entry.val:,} validation, {entry.test:,} test"),
        ("image", f"{plural(channels, 'channel')}, {height} x {width} pixels"),
        (f"classes ({len(entry.classes)})", escape(classes)),
        ("task", escape(entry.task)),
        *([("pictures", "**synthetic**")] if labels.is_synthetic(name, entry) else []),
        ("split", escape(entry.split)),
        *(("**warning**", escape(warning)) for warning in warnings),
        ("licence", escape(entry.license)),
        *(("source", line) for line in _source_lines(entry.source)),
        ("SHA-256 of the HDF5 file", code(entry.sha256)),
    ]
    return table(["Data set", escape(name)], rows)


def _source_lines(source: str) -> Iterable[str]:
    """Where the files came from; the schema says a JSON list of mappings, but show anything."""
    try:
        entries = json.loads(source)
    except ValueError:
        entries = source
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict):
            yield escape(str(entry))
            continue
        parts = [escape(str(entry[key])) for key in ("file", "url", "note") if key in entry]
        parts += [
            f"{escape(str(key))}: {escape(str(value))}"
            for key, value in entry.items()
            if key not in ("file", "url", "note", "sha256")
        ]
        if "sha256" in entry:
            parts.append(f"SHA-256 {code(str(entry['sha256']))}")
        yield ", ".join(parts)


def every_cell(run: Run, group: Group) -> str:
    """One row for each framework and seed of the group."""
    aurocs = [f"Test {labels.name_of(group)}", "Validation AUROC"] if group.labels else []
    several = group.entry.task == "multilabel"
    accuracies = ["All labels right", "Validation, all right"] if several else [
        "Test accuracy", "Validation accuracy"
    ]  # fmt: skip
    header = [
        "Framework", "Seed", *aurocs, "Test right", accuracies[0], "Test loss", accuracies[1],
        "Last training loss", "Images/s", "Training, s", "Start, s", "Import, s", "Build, s",
        "First step, s", "First prediction, s", "Test evaluation, s", "Peak memory, MiB",
    ]  # fmt: skip
    empty = [NOTHING] * (len(header) - 3)
    rows: list[list[str]] = []
    for outcome in group.outcomes:
        name = escape(outcome.title)
        for seed in run.manifest.experiment.seeds:
            if seed in outcome.failed:
                result = outcome.failed[seed]
                reason = escape(shorten(result.error or "no reason was recorded"))
                rows.append([name, str(seed), f"**{result.outcome}**: {reason}", *empty])
            elif seed in outcome.missing:
                rows.append([name, str(seed), "**not run yet**", *empty])
            elif seed in outcome.trained:
                rows.append([name, str(seed), *_cell_numbers(group, outcome, seed)])
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def _cell_numbers(group: Group, outcome: Outcome, seed: int) -> list[str]:
    cell = outcome.trained[seed]
    last = cell.epochs[-1]
    places = percent_places(cell.test.examples)
    phases = cell.phases
    aurocs = [
        labels.UNDEFINED if math.isnan(cell.mean_auroc) else f"{cell.mean_auroc:.4f}",
        NOTHING if last.val_auroc is None else f"{last.val_auroc:.4f}",
    ]
    return [
        *(aurocs if group.labels else []),
        f"{cell.test.correct:,} of {cell.test.examples:,}",
        percent(cell.test.accuracy, places),
        number(cell.test.loss),
        percent(last.val_accuracy, places),
        number(last.loss),
        number(cell.median_images_per_second),
        number(float(cell.result.epoch_seconds.sum())),
        number(phases.start_s),
        number(phases.import_s),
        number(phases.build_s),
        number(phases.first_step_s),
        number(phases.first_predict_s),
        number(cell.test.seconds),
        f"{cell.peak_mib:,.0f}",
    ]


_MACHINE = {
    "cpu": "processor",
    "cpu_flags": "instruction sets that matter",
    "cpu_caches": "caches of a core",
    "cores_physical": "cores",
    "cores_logical": "hardware threads",
    "governor": "frequency governor",
    "memory_bytes": "memory",
    "swap_used_bytes": "swap in use at the start",
    "load_average": "load average at the start (1, 5, 15 minutes)",
    "system": "system",
    "kernel": "kernel",
    "machine": "architecture",
    "python": "Python",
    "versions": "versions",
    "numpy_blas": "BLAS of NumPy",
    "git_commit": "harness commit",
}


def environment(run: Run) -> str:
    """What was recorded of the machine; what this version has no words for keeps its key."""
    recorded = run.folder.environment
    keys = [key for key in _MACHINE if key in recorded]
    keys += [key for key in recorded if key not in _MACHINE]
    rows = [(_MACHINE.get(key, escape(key)), _fact(key, recorded[key])) for key in keys]
    rows.append(("threads for each framework", str(run.manifest.experiment.threads)))
    rows.append(("harness version", escape(run.manifest.harness_version)))
    rows.append(("run started", escape(run.manifest.created)))
    return table(["Machine and software", "As recorded by the run"], rows)


def _fact(key: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, dict):
        return escape(", ".join(f"{name} {version}" for name, version in value.items())) or NOTHING
    if isinstance(value, list):
        return escape(", ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in value))
    return escape(str(value))


def framework_facts(run: Run) -> str:
    """One row a fact, one column a framework."""
    facts = _facts(run)
    frameworks = list(dict.fromkeys(outcome.framework for _, outcome, _ in run.cells))
    found = [
        [escape(name), *(escape("; ".join(own.get(f, []))) or NOTHING for f in frameworks)]
        for name, own in facts.items()
    ]
    if not found:
        return "No framework recorded facts of its own."
    return table(["As the framework reports", *map(escape, map(title_of, frameworks))], found)


def _facts(run: Run) -> dict[str, dict[str, list[str]]]:
    """By fact and framework, the values that differ between its cells."""
    facts: dict[str, dict[str, list[str]]] = {}
    for _, outcome, cell in run.cells:
        for name, value in cell.result.facts.items():
            values = facts.setdefault(name, {}).setdefault(outcome.framework, [])
            if value not in values:
                values.append(value)
    return facts
