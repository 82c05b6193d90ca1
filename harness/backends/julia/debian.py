"""Julia 1.5 from Debian's suite bullseye, the last that has it, on that suite's successors."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.backends.julia.actions import Action, CannotInstallError, output_of
from harness.backends.julia.installation import forget, need_for_julia

APT = Path("/etc/apt")
_SUITE = "bullseye"
_SUITES = {"bullseye", "bookworm", "trixie", "forky", "duke", "sid"} | {
    "oldoldstable", "oldstable", "stable", "testing", "unstable",
}  # fmt: skip
# Lower than what is installed: nothing else is ever taken from there because it is newer.
_PIN = f"Package: *\nPin: release n={_SUITE}\nPin-Priority: 100\n"
_NAME = f"pipeline-bench-{_SUITE}"


@dataclass(frozen=True)
class Source:
    """Where apt finds the suites of one archive."""

    uri: str
    suites: tuple[str, ...]
    trust: Mapping[str, str]
    """``Signed-By`` and ``Trusted``, as they stand in a file of the format deb822."""


def debian_source(apt: Path = APT) -> Source | None:
    """The archive of Debian itself that this machine uses, if it uses one."""
    found = [source for source in _sources(apt) if _SUITES.intersection(source.suites)]
    # Others may name their suites after Debian's; a mirror's path ends alike everywhere.
    found.sort(key=lambda source: not source.uri.rstrip("/").endswith("debian"))
    return found[0] if found else None


def install_actions(source: Source, apt: Path = APT) -> list[Action]:
    """From an apt that has never heard of Julia to one that runs; each step may be repeated."""
    known = any(_SUITE in known.suites for known in _sources(apt))
    files = {} if known else _suite_files(source, apt)
    add = Action(
        f"add Debian's suite {_SUITE} to apt from {source.uri}, "
        f"pinned below everything else: {', '.join(map(str, files))}",
        lambda: _write(files),
    )
    return [
        *([add] if files else []),
        Action("have apt read its sources again", lambda: _update(files)),
        Action(f"install Debian's package julia from {_SUITE}, if that replaces nothing", _install),
        Action(
            f"put {_SUITE}'s libunwind among Julia's own libraries if exceptions crash it",
            _fit_libunwind,
        ),
    ]


def _suite_files(source: Source, apt: Path) -> dict[Path, str]:
    """The pin before the source: an interruption leaves nothing unpinned."""
    fields = {"Types": "deb", "URIs": source.uri, "Suites": _SUITE, "Components": "main"}
    stanza = "".join(f"{key}: {value}\n" for key, value in {**fields, **source.trust}.items())
    return {
        apt / "preferences.d" / _NAME: _PIN,
        apt / "sources.list.d" / f"{_NAME}.sources": stanza,
    }


def _write(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _update(added: Mapping[Path, str]) -> None:
    """Judged by what apt knows afterwards: other sources may fail without harm."""
    why = f"apt found no suite {_SUITE} in this machine's Debian archive"
    try:
        output_of("apt-get", "update")
    except CannotInstallError as error:
        why = str(error)
    target = ("--format", "$(FILENAME)", f"Codename: {_SUITE}")
    if not output_of("apt-get", "indextargets", *target).strip():
        for path in added:  # a source that fails would be in the way of every later update
            path.unlink()
        raise CannotInstallError(why)


def _install() -> None:
    package = f"julia/{_SUITE}"
    words = ("install", "--no-install-recommends", package)
    for line in output_of("apt-get", "--simulate", *words).splitlines():
        if _replaces(line):
            raise CannotInstallError(
                f"Debian's julia does not fit this system, apt would do this: {line}; "
                "install Julia by hand and put it on PATH"
            )
    output_of("apt-get", "--yes", *words)
    forget()


def _replaces(line: str) -> bool:
    """Whether a line of a simulation removes a package or puts in an older one."""
    if line.startswith("Remv "):
        return True
    change = re.match(r"Inst \S+ \[(\S+)\] \((\S+)", line)
    if change is None:
        return False
    try:
        output_of("dpkg", "--compare-versions", change[2], "ge", change[1])
    except CannotInstallError:
        return True
    return False


def _fit_libunwind() -> None:
    """Julia looks for libraries beside its own first: no other program sees this one."""
    if need_for_julia() is None:
        return
    listed = output_of("dpkg", "-L", "libjulia1").splitlines()
    own = next(Path(line).parent for line in listed if Path(line).name == "sys.so")
    with TemporaryDirectory() as name:
        folder = Path(name)
        output_of("apt-get", "download", f"libunwind8/{_SUITE}", folder=folder)
        for package in folder.glob("libunwind8_*.deb"):
            output_of("dpkg-deb", "-x", package, folder / "unpacked")
        for library in (folder / "unpacked").rglob("libunwind.so.*"):
            (own / library.name).unlink(missing_ok=True)
            shutil.copy2(library, own / library.name, follow_symlinks=False)
    forget()


def _sources(apt: Path) -> Iterator[Source]:
    """What this machine's apt reads, in both of its formats."""
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        parse = {".list": _lines, ".sources": _stanzas}.get(path.suffix)
        if parse is not None and path.is_file():
            yield from parse(path.read_text(encoding="utf-8", errors="replace"))


def _lines(text: str) -> Iterator[Source]:
    """``deb [option=value ...] URI suite component ...``"""
    for line in text.splitlines():
        entry = re.match(r"deb\s+(?:\[(.*?)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)", line.strip())
        if entry is None or "main" not in entry[4].split():
            continue
        options = dict(option.partition("=")[::2] for option in (entry[1] or "").split())
        yield Source(entry[2], (entry[3],), _trust(options))


def _stanzas(text: str) -> Iterator[Source]:
    """Paragraphs of ``Field: value``, where indented lines go on with the value."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        found = re.findall(r"^([^\s:]+):(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        fields = {key.lower(): value for key, value in found}
        words = {key: value.split() for key, value in fields.items()}
        enabled = words.get("enabled", ["yes"])[0].lower() in ("yes", "true", "1", "on", "with")
        debian = "deb" in words.get("types", []) and "main" in words.get("components", [])
        if enabled and debian and words.get("uris"):
            yield Source(words["uris"][0], tuple(words.get("suites", [])), _trust(fields))


def _trust(options: Mapping[str, str]) -> dict[str, str]:
    lower = {key.lower(): value for key, value in options.items()}
    # A key that stands in the file itself goes on over lines whose indentation counts.
    return {
        key: value if "\n" in value else value.strip()
        for key in ("Signed-By", "Trusted")
        if (value := lower.get(key.lower()))
    }
