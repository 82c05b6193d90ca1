"""Chest phantoms: drawings by formula of frontal chest radiographs. SYNTHETIC, no patients.

For trying and testing networks with several labels and patients where no X-rays are at hand. What
a network scores here says nothing about X-rays of people.

A synthetic patient has an anatomy of its own and one to five radiographs, each with its own
position, exposure and grain. Findings are drawn as the sign that a radiologist looks for: a heart
wider than half the chest, fluid that fills a lung's lower corner with a hollow upper edge, a round
spot, a lung that has drawn away from the chest wall (a fine line, and beyond it no vessels),
patches of haze. Many are faint. A large heart and a round spot stay with the patient, the others
come and go.

Every machine makes the same bytes: the numbers come from the raw stream of PCG64, and only
``+ - * /``, square roots, comparisons and floor touch them, which IEEE 754 rounds in one way; no
sums over an array, whose order NumPy may choose.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.importers.base import RawDataset
from harness.data.importers.options import ImportOptions
from harness.data.schema import Split
from harness.protocol.random import stream

NAME = "phantom"
DESCRIPTION = "synthetic chest phantoms, drawn by formula (needs no file)"
USES: frozenset[str] = frozenset()
EMBEDDED = True
LABELS = (
    "synthetic large heart",
    "synthetic effusion",
    "synthetic nodule",
    "synthetic pneumothorax",
    "synthetic infiltration",
)
SEED = 0
SIDE = 64
PATIENTS = 1000
_FILMS = (1, 2, 3, 3, 4, 5)  # of a patient, each as likely: 3 on average
_VAL_FRACTION = 2 / 15  # 2,000 / 400 / 600 radiographs, about
_BATCH = 32

Array = npt.NDArray[np.floating[Any]]  # float32, all of them


def recognises(path: Path) -> bool:
    """Never: phantoms are drawn, they lie at no path."""
    return False


def load(path: Path, options: ImportOptions) -> RawDataset:
    """All phantoms as one split, to be divided by patient; ``path`` and ``options`` are not used.

    Images uint8 (N, 1, 64, 64), labels uint8 (N, 5), group int64 (N,): the synthetic patient.
    """
    radiographs = Radiographs.drawn_up(PATIENTS)
    images = np.concatenate(
        [
            render(radiographs.take(slice(i, i + _BATCH)))
            for i in range(0, len(radiographs.names), _BATCH)
        ]
    )[:, np.newaxis]
    labels = radiographs.findings.astype(np.uint8)
    return RawDataset(
        task="multilabel",
        classes=LABELS,
        splits={"train": Split(images, labels, radiographs.patient, radiographs.names)},
        source=[
            {
                "file": "SYNTHETIC chest phantoms, drawn by harness/data/importers/phantom.py",
                "sha256": hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(),
                "note": f"no X-rays of people; {PATIENTS} synthetic patients, PCG64 seed {SEED}; "
                "SHA-256 of all images, then all labels",
            }
        ],
        split_note="SYNTHETIC phantoms in one set",
        val_fraction=_VAL_FRACTION,
    )


# ---------------------------------------------------------------------------------------------
# Shapes, all float32 and broadcast to (N, SIDE, SIDE); x grows to the right of the image, y down,
# both from -1 to 1.

_AXIS = ((2 * np.arange(SIDE) + 1) / SIDE - 1).astype(np.float32)


def _square(value: Array) -> Array:
    return value * value


def _size(value: Array) -> Array:
    return np.maximum(value, -value)


def _ramp(value: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t: Array = np.minimum(np.maximum((value - low) * (1 / (high - low)), 0), 1)
    return t * t * (3 - 2 * t)


def _line(distance: Array, width: float) -> Array:
    """A smooth line: 1 where the distance is 0, 0 from ``width`` on."""
    return _square(np.maximum(1 - _square(distance * (1 / width)), 0))


def _bump(x: Array, y: Array, rx: Array | float, ry: Array | float) -> Array:
    """A smooth hill of height 1 at the origin, 0 outside the ellipse of these radii."""
    return _square(np.maximum(1 - _square(x / rx) - _square(y / ry), 0))


def _disc(x: Array, y: Array, rx: Array | float, ry: Array | float, edge: float) -> Array:
    """1 inside the ellipse of these radii, 0 outside; ``edge`` is the share that is border."""
    return 1 - _ramp(np.sqrt(_square(x / rx) + _square(y / ry)), 1 - edge, 1 + edge)


def _mottle(grid: Array) -> Array:
    """Smooth noise about 0: ``grid`` (N, k, k) in [0, 1), bilinear between its points."""
    place = np.arange(SIDE) * (grid.shape[1] - 1) / SIDE
    low = np.floor(place).astype(np.intp)
    part = (place - low).astype(np.float32)
    rows = grid[:, low] * (1 - part)[:, None] + grid[:, low + 1] * part[:, None]
    result: Array = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part - 0.5
    return result


class _Numbers:
    """Columns of random numbers, taken one after the other and brought to a range."""

    def __init__(self, columns: Array, left: npt.NDArray[np.bool_]) -> None:
        self._columns = iter(columns.T)
        self._left = left

    def one(self, low: float, high: float) -> Array:
        """A number for each radiograph, from ``low`` to ``high``: (N, 1, 1)."""
        value: Array = low + (high - low) * next(self._columns)[:, None, None]
        return value

    def two(self, low: float, high: float) -> Array:
        """One for each half of the chest: (N, SIDE, SIDE)."""
        return np.where(self._left, self.one(low, high), self.one(low, high))

    def side(self) -> npt.NDArray[np.bool_]:
        """Half of the chest: bool (N, SIDE, SIDE)."""
        chosen: npt.NDArray[np.bool_] = (self.one(0, 1) < 0.5) == self._left
        return chosen


@dataclass(frozen=True)
class Radiographs:
    """What is drawn, N radiographs. ``patient`` int64 (N,); ``findings`` bool (N, 5), by LABELS.

    ``anatomy`` and ``radiograph`` float32 (N, 48) in [0, 1): the numbers behind the shapes that
    stay with the patient, and behind those that are the radiograph's own.
    """

    patient: npt.NDArray[np.int64]
    names: list[str]
    findings: npt.NDArray[np.bool_]
    anatomy: Array
    radiograph: Array

    @classmethod
    def drawn_up(cls, patients: int) -> Radiographs:
        """Patients 1 to ``patients`` with all their radiographs."""
        of, names, findings, anatomies, radiographs = [], [], [], [], []
        for patient in range(1, patients + 1):
            draws = stream(SEED, "xray-phantom", patient)
            count, frail, heart, nodule = draws.random(4).tolist()
            anatomy = draws.random(48)
            more = 2.2 if frail < 0.25 else 0.6  # few have much, most have little
            for number in range(_FILMS[int(count * len(_FILMS))]):
                draws = stream(SEED, "xray-phantom", patient, number)
                fluid, air, haze = (draws.random(3) / more).tolist()
                findings.append((heart < 0.22, fluid < 0.2, nodule < 0.2, air < 0.16, haze < 0.24))
                of.append(patient)
                names.append(f"phantom-{patient:04}-{number}")
                anatomies.append(anatomy)
                radiographs.append(draws.random(48))
        return cls(
            np.array(of, dtype=np.int64),
            names,
            np.array(findings, dtype=np.bool_),
            np.array(anatomies, dtype=np.float32),
            np.array(radiographs, dtype=np.float32),
        )

    def take(self, rows: slice) -> Radiographs:
        """Some of the radiographs."""
        parts = (self.patient, self.names, self.findings, self.anatomy, self.radiograph)
        return Radiographs(*(part[rows] for part in parts))  # type: ignore[arg-type]

    def noise(self, *shape: int) -> Array:
        """Numbers in [0, 1) of each radiograph's own stream: float32 (N, *shape)."""
        drawn = [stream(SEED, name, *shape).random(shape) for name in self.names]
        return np.array(drawn, dtype=np.float32)


def render(radiographs: Radiographs) -> npt.NDArray[np.uint8]:
    """The radiographs as grey images, dense parts bright: uint8 (N, SIDE, SIDE)."""
    left = _AXIS > 0  # the patient looks at us: the left lung and the heart's tip are on the right
    own, now = _Numbers(radiographs.anatomy, left), _Numbers(radiographs.radiograph, left)
    heart, fluid, nodule, air, haze = (column[:, None, None] for column in radiographs.findings.T)

    # Where the person stands before the radiograph: a little aside, turned, nearer or farther.
    y = (_AXIS[:, None] - now.one(-0.07, 0.05)) / now.one(0.93, 1.05)
    x = (_AXIS - now.one(-0.05, 0.05) + now.one(-0.05, 0.05) * y) / now.one(0.94, 1.04)
    side = np.where(left, x, -x)  # from the midline outwards
    breath = now.one(-0.06, 0.07)

    # The lungs, between the ribs' arch, the mediastinum and the diaphragm's domes.
    width = own.one(0.76, 0.86)
    wall = width * np.sqrt(np.maximum(1 - _square((y - 0.25) / own.one(1.02, 1.08)), 0))
    dome = own.two(0.42, 0.5) + np.where(left, 0.06, 0).astype(np.float32) + breath
    base = dome + 1.4 * _square(side - 0.4)
    lung = _ramp(wall - side, 0, 0.06) * _ramp(side - 0.15, -0.03, 0.05)
    lung *= _ramp(base - y, -0.01, 0.06)

    # Effusion: fluid in the lower corner, its surface hollow.
    shown = fluid & now.side()
    rise = now.one(0.14, 0.6) * (0.3 + 0.7 * now.one(0.5, 1) * _square(_ramp(side, 0.1, 0.85)))
    lung *= 1 - shown * _ramp(y - base + rise + 0.02, -0.04, 0.05)

    # Pneumothorax: the lung's edge as a fine line, and beyond it air without vessels.
    shown = air & now.side()
    edge = side - wall + now.one(0.12, 0.36) * (0.72 - 0.35 * y)
    pleura = shown * now.one(0.1, 0.2) * _line(edge, 0.04) * lung
    empty = shown * _ramp(edge, -0.01, 0.02) * lung
    darker = now.one(0.06, 0.13) * empty
    tissue = lung - empty

    # Vessels from the hilum outwards, and the lung's texture.
    hilum_x, hilum_y = side - own.two(0.22, 0.3), y - own.two(-0.04, 0.08)
    marks = 0.17 * _bump(hilum_x, hilum_y, 0.2, 0.28)
    for _ in range(3):
        slope = own.two(-1.6, 1.6)
        along = hilum_x + slope * hilum_y
        across = (hilum_y - slope * hilum_x) / np.sqrt(1 + slope * slope)
        marks += 0.08 * _line(across, 0.045) * _ramp(along, 0, 0.1) * _ramp(-along, -0.9, -0.25)
    marks += 0.16 * _mottle(radiographs.noise(17, 17)) * (1.2 - side)

    # Nodule: a round spot that stays where it is.
    shown = nodule & own.side()
    radius = own.one(0.05, 0.1)
    spot = _disc(side - own.one(0.3, 0.6), y - own.one(-0.5, -0.02), radius, radius, 0.25)
    marks += shown * own.one(0.14, 0.3) * spot

    # Infiltration: patches of haze that run into each other.
    shown = haze & now.side()
    haze_x, haze_y = side - now.one(0.3, 0.6), y - now.one(-0.4, 0.4)
    cloud = np.zeros_like(lung)
    for _ in range(3):
        reach = now.one(0.14, 0.3)
        patch = _bump(haze_x - now.one(-0.15, 0.15), haze_y - now.one(-0.2, 0.2), reach, reach)
        cloud = np.maximum(cloud, patch)
    marks += (
        shown * now.one(0.12, 0.3) * np.sqrt(cloud) * (1 + 0.9 * _mottle(radiographs.noise(9, 9)))
    )

    # Ribs: their back parts sink outwards, their front ends (fainter) inwards. Collarbones.
    spread = own.one(0.155, 0.18)
    back = y + own.one(0.68, 0.74) - own.one(0.25, 0.5) * _square(side - 0.32)
    front = back - 0.09 - 0.4 * (0.7 - side)
    ribs = _line(back - spread * np.floor(back / spread + 0.5), 0.045)
    ribs += (
        0.3 * _line(front - spread * np.floor(front / spread + 0.5), 0.05) * _ramp(side, 0.3, 0.5)
    )
    ribs *= own.one(0.05, 0.1) * _ramp(side, 0.06, 0.12) * _ramp(wall - side, -0.06, -0.01)
    collar = y + 0.6 + own.two(0.1, 0.3) * (side - 0.1) - 0.1 * _square(side - 0.5)
    collar = 0.11 * _line(collar, 0.055) * _ramp(side, 0.05, 0.1) * _ramp(-side, -0.9, -0.75)

    # The heart, narrower than half the chest or wider, below the great vessels.
    share = np.where(heart, own.one(0.53, 0.74), own.one(0.36, 0.46)) * now.one(0.97, 1.03)
    rx = share * width
    across = x - 0.36 * rx
    down = y - 0.3 - 0.5 * breath - 0.38 * across
    shadow = _disc(across, down, rx, 0.22 + 0.25 * share, 0.07)
    shadow = np.maximum(shadow, 0.85 * _disc(x - own.one(0.12, 0.17), y + 0.3, 0.1, 0.13, 0.12))
    middle = _ramp(0.02 + 0.14 * _ramp(y, -0.4, 0.2) + 0.14 - _size(x - 0.02), -0.05, 0.03)
    air_filled = lung * (1 - 0.93 * shadow) * (1 - 0.9 * middle)

    # The body around: neck, shoulders, sides; spine, windpipe, belly and the stomach's bubble.
    body = _ramp(0.24 + 0.8 * _ramp(y, -1.05, -0.45) - _size(x), -0.02, 0.1)
    body *= _ramp(own.one(0.98, 1.1) - _size(x), 0, 0.07)
    belly = _ramp(y - base, -0.05, 0.15)
    notch = 7 * y
    spine = _line(x, 0.13) * (0.6 + 0.8 * _size(notch - np.floor(notch) - 0.5))
    windpipe = _line(x + 0.015, 0.06) * _ramp(-y, 0.15, 0.35)
    stomach = own.one(0, 0.2) * _bump(x - 0.42, y - 0.88, 0.22, 0.16)
    density = 0.6 + 0.16 * belly + 0.06 * shadow + 0.05 * middle + 0.05 * spine - 0.09 * windpipe
    density += (ribs + pleura) * (0.25 + 0.75 * air_filled) + collar - stomach
    density -= air_filled * (own.one(0.36, 0.46) + darker - marks * tissue)

    # The radiograph: exposure, unevenness, grain.
    grey = 0.03 + now.one(0.95, 1.2) * body * density + now.one(-0.02, 0.06)
    grey += 0.06 * _mottle(radiographs.noise(4, 4))
    grain = radiographs.noise(2, SIDE, SIDE)
    grey += now.one(0.03, 0.09) * (grain[:, 0] + grain[:, 1] - 1)
    rounded: npt.NDArray[np.uint8] = np.floor(
        np.minimum(np.maximum(grey, 0), 1) * 255 + 0.5
    ).astype(np.uint8)
    return rounded
