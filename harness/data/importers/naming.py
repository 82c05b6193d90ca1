"""How names are compared: columns, arrays and folders, identifiers of patients, values of labels.

The one place for it: every source reads names by these rules.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

FILE = (
    "file", "filename", "filepath", "image", "imageindex", "imagename", "imagefile", "imagepath",
    "imagefilename", "path", "img", "imgname", "imgpath", "imgfile", "imageid",
)  # fmt: skip
LABEL = (
    "label", "labels", "class", "classname", "classlabel", "findinglabels", "findings", "target",
    "targets", "category", "diagnosis",
)  # fmt: skip
GROUP = (
    "group", "groupid", "groups", "patient", "patientid", "patients", "patientids", "patientno",
    "patientnr", "patientnum", "patientnumber", "patientname", "patientkey", "patientcode",
    "patientindex", "subject", "subjectid", "subjectids", "subjects", "subjectno", "subjectnumber",
    "subjectname", "subjectkey", "person", "personid", "participant", "participantid",
    "individual", "individualid", "mrn", "medicalrecordnumber", "medicalrecordno", "ptid", "pid",
    "patid", "subjid", "hospitalnumber", "empi", "anonpatientid", "pseudonym", "animalid",
    "donorid",
)  # fmt: skip
SPLIT = ("split", "set", "subset", "partition", "splitname")
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {
    f"{alias}{end}": name
    for name, aliases in _SPLIT_NAMES.items()
    for alias in aliases
    for end in ("", "set", "data", "split", "images", "imgs", "folder")
}
_NEGATIVE = frozenset({"", "nofinding", "nofindings"})
_MISSING = frozenset({"", "nan", "na", "n/a", "<na>", "#n/a", "nat", "null"})
_PERHAPS_MISSING = frozenset({"none", "unknown", "?", "-", "--", "missing", "undefined"})
_WHOLE = re.compile(r"[+-]?\d+\.?0*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_IDENTIFIER_NAME = re.compile(
    r"patient|subject|person|participant|individual|mrn|pseudonym|donor|animal|family|case|exam|"
    r"study|visit|lesion|slide|specimen|accession|record|uid|(id|nr|no|num|number|key|code)$"
)
_ATTRIBUTE_NAME = re.compile(
    r"age|sex|gender|view|width|height|date|time|year|score|pixel|spacing|size|weight|dose|site"
)
_CODE = re.compile(r"(?=.*\d)(?=.*[a-z]).+|0\d+|\d{4,}", re.DOTALL)


def normal(name: str) -> str:
    """``Patient ID``, ``patient_id`` and ``PatientId`` are one name: letters and digits alone."""
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


def matching(names: Iterable[str], usual: Sequence[str]) -> list[str]:
    """The names that are usual ones, the most usual first."""
    rank = {name: position for position, name in enumerate(usual)}
    found = [(rank[normal(name)], name) for name in names if normal(name) in rank]
    return [name for _, name in sorted(found, key=lambda pair: pair[0])]


def split_of(name: str) -> str | None:
    """``train``, ``val`` or ``test`` where ``name`` is a usual name of it, else None."""
    return _SPLIT_OF.get(normal(name))


def natural(name: str) -> tuple[object, ...]:
    """A sort key: numbers by value, then words, with the numbers in them by value."""
    if is_number(name):
        return (0, float(name), name)
    parts = re.split(r"(\d+)", name)
    return (1, tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts if p), name)


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value: empty, ``nan``, ``NA``, ``null``, ..."""
    return text.strip().casefold() in _MISSING


def perhaps_missing(text: str) -> bool:
    """Whether a cell may say that there is no value: ``none``, ``unknown``, ``?``, ``-``."""
    return text.strip().casefold() in _PERHAPS_MISSING


def is_negative(text: str) -> bool:
    """Whether a label says that there is none: empty or ``No Finding``."""
    return normal(text) in _NEGATIVE and not perhaps_missing(text)


def label(text: str) -> str:
    """The name of a label: NFC, without outer space, whole numbers without a fraction."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    return str(int(text.split(".")[0])) if "." in text and _WHOLE.fullmatch(text) else text


def identifier(text: str) -> str | None:
    """The canonical form of an identifier; None where a cell holds none.

    ``P1``, ``p1`` and ``P1 `` are one patient, and so are ``17``, ``17.0`` and ``017``. Joining two
    identifiers can only make groups larger, so no patient reaches two splits by it.
    """
    if is_missing(text) or perhaps_missing(text):
        return None
    text = unicodedata.normalize("NFKC", " ".join(text.split())).casefold()
    return str(int(text.split(".")[0])) if _WHOLE.fullmatch(text) else text


def groups(texts: Sequence[str]) -> tuple[npt.NDArray[np.int64] | None, list[int]]:
    """Group numbers, int64 (N,), and the rows of no known group.

    The values themselves where all are integers, else their rank in sorted order. A row of no
    known group is a group of its own. None where no group is known.
    """
    names = [identifier(text) for text in texts]
    known = sorted({name for name in names if name is not None})
    unknown = [row for row, name in enumerate(names) if name is None]
    if not known:
        return None, unknown
    try:
        numbers: Mapping[str, int] = {name: int(name) for name in known}
        np.array([max(numbers.values()) + len(unknown), min(numbers.values())], dtype=np.int64)
    except (ValueError, OverflowError):
        numbers = {name: rank for rank, name in enumerate(known)}
    own = count(max(numbers.values()) + 1)
    values = [next(own) if name is None else numbers[name] for name in names]
    return np.array(values, dtype=np.int64), unknown


def names_identifier(name: str) -> bool:
    """Whether the name of a column or array is that of an identifier."""
    return _IDENTIFIER_NAME.search(normal(name)) is not None


def looks_like_identifier(name: str, values: Sequence[str]) -> bool:
    """Whether a column may say whom or what several rows are of, by its name or its values."""
    known = [found for found in map(identifier, values) if found is not None]
    distinct = set(known)
    if not 1 < len(distinct) < len(known):
        return False
    if names_identifier(name):
        return True
    name = normal(name)
    if _ATTRIBUTE_NAME.search(name):
        return False
    coded = all(_CODE.fullmatch(value) for value in distinct)
    return coded and len(distinct) >= max(3, len(known) // 10)


def same_partition(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two columns divide the rows in the same way."""
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second))
