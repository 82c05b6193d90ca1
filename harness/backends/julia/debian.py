"""Julia 1.5 from Debian's suite bullseye, the last that has it, unpacked into the user's cache.

Nothing of the system changes: apt runs with a configuration of its own, for which no package is
installed, and downloads; no package is installed, its files are unpacked.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.backends.julia import private
from harness.backends.julia.actions import output_of
from harness.backends.setup import Action, CannotInstallError

APT = Path("/etc/apt")
KEYRINGS = Path("/usr/share/keyrings")
_SUITE = "bullseye"
_SUITES = {"bullseye", "bookworm", "trixie", "forky", "duke", "sid"} | {
    "oldoldstable", "oldstable", "stable", "testing", "unstable",
}  # fmt: skip
_LEFT_OUT = {
    # Of these the system has its own, newer and compatible: dpkg, apt and the shell need them.
    # Python uses them too, and must not get older ones in a process that embeds Julia.
    "libc6", "libcrypt1", "libgcc-s1", "libstdc++6", "libtinfo6", "zlib1g", "liblzma5",
    "libbz2-1.0", "libselinux1", "libacl1",
    # Of use to the installation of packages alone.
    "dpkg", "tar", "perl-base", "debconf", "gcc-10-base",
}  # fmt: skip
# What the machine says about downloads (proxies, certificates, limits) holds here too.
_MACHINE_SETTING = re.compile(r"Acquire::(?!IndexTargets|Changelogs|Languages|Allow).* \".+\";")


@dataclass(frozen=True)
class Source:
    """Where apt finds the suites of one archive."""

    uri: str
    suites: tuple[str, ...]
    trust: Mapping[str, str]
    """``Signed-By`` and ``Trusted``, as they stand in a file of the format deb822."""


def has_tools() -> bool:
    """Whether this machine has what downloads and unpacks Debian's packages."""
    return all(map(shutil.which, ("apt-get", "apt-config", "dpkg", "dpkg-deb")))


def debian_source(apt: Path = APT) -> Source | None:
    """The archive of Debian itself that this machine uses, if it uses one."""
    found = [source for source in _sources(apt) if _SUITES.intersection(source.suites)]
    # Others may name their suites after Debian's; a mirror's path ends alike everywhere.
    found.sort(key=lambda source: not source.uri.rstrip("/").endswith("debian"))
    return found[0] if found else None


def install_actions(source: Source, keyrings: Path = KEYRINGS) -> list[Action]:
    """Download and unpack Julia, with all that it needs, in place of what was unpacked before."""
    return [
        Action(
            f"download Debian's package julia from the suite {_SUITE} at {source.uri} with what it "
            f"needs (80 MB), and unpack it into {private.root()} (350 MB); the system is unchanged",
            lambda: _install(source, keyrings),
        )
    ]


def _install(source: Source, keyrings: Path) -> None:
    root = private.root()
    root.parent.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that an interruption leaves nothing there.
    with TemporaryDirectory(prefix=".setup-", dir=root.parent) as name:
        folder = Path(name)
        unpacked = folder / "unpacked"
        for package in _download(source, keyrings, folder):
            if package.name.partition("_")[0] not in _LEFT_OUT:
                output_of("dpkg-deb", "--extract", package, unpacked)
        with contextlib.suppress(FileNotFoundError):
            root.rename(folder / "replaced")
        unpacked.rename(root)


def _download(source: Source, keyrings: Path, folder: Path) -> list[Path]:
    """The packages, which apt has checked against the suite's signature.

    Raises:
        CannotInstallError: the suite is not there, or not signed with a key that is known here.
    """
    configuration = folder / "apt.conf"
    write_configuration(configuration, folder / "apt")
    _write_source(source, keyrings, folder / "apt" / "bullseye.sources")
    private_apt = {"APT_CONFIG": str(configuration)}
    try:
        output_of("apt-get", "update", environment=private_apt)
        output_of(
            "apt-get", "--yes", "--download-only", "install", "julia", environment=private_apt
        )
    except CannotInstallError as error:
        raise CannotInstallError(
            f"cannot download Debian's julia: {error}; put Julia 1.5 or newer on PATH, or name it "
            "in PYTHON_JULIACALL_EXE"
        ) from None
    return sorted((folder / "apt" / "cache" / "archives").glob("*.deb"))


def write_configuration(path: Path, folder: Path) -> None:
    """An apt that keeps everything in ``folder`` and believes that no package is installed.

    ``APT_CONFIG`` is read before the system's settings: it has them left out, but for the machine's
    way to reach its mirror. Certificates and passwords stay where apt looks for them.
    """
    for name in ("empty", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    own = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": folder / "empty",
        "Dir::Etc::sourcelist": folder / "bullseye.sources",
        "Dir::Etc::sourceparts": folder / "empty",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": folder / "empty",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Log": folder,
        "APT::Install-Recommends": "false",
        # Otherwise a list that could not be downloaded counts as a warning.
        "APT::Update::Error-Mode": "any",
        # The user that apt downloads as when root runs it cannot write in root's cache.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    machine = filter(_MACHINE_SETTING.fullmatch, output_of("apt-config", "dump").splitlines())
    lines = [*machine, *(f'{key} "{value}";' for key, value in own.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_source(source: Source, keyrings: Path, path: Path) -> None:
    fields = {
        "Types": "deb",
        "URIs": source.uri,
        "Suites": _SUITE,
        "Components": "main",
        "Architectures": output_of("dpkg", "--print-architecture").strip(),
        **trust_in_suite(source, keyrings),
    }
    path.write_text("".join(f"{key}: {value}\n" for key, value in fields.items()), encoding="utf-8")


def trust_in_suite(source: Source, keyrings: Path) -> Mapping[str, str]:
    """The suite's own keys where the system has them, else whatever the machine's source trusts.

    A mirror that the machine trusts without a signature stays trusted; no other does.
    """
    keys = sorted(keyrings.glob(f"debian-archive-{_SUITE}-*"))
    if "Trusted" in source.trust or not keys:
        return source.trust
    return {"Signed-By": " ".join(map(str, keys))}


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
    """Paragraphs of ``Field: value``, where indented lines continue the value."""
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
