from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harness.data import importers
from harness.data.cards import find_card
from harness.data.importers import phantom
from harness.data.locate import resolve
from harness.data.reader import open_dataset
from harness.data.validate import validate

# What every machine must draw. A change of the drawings is a new data set: results on the old one
# no longer compare.
SHA256 = "73907934171214f371e7f37382a28b4c60ace9f99fe6ce9bf444b8af6d4a8e6d"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return resolve("xray-phantom", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def radiographs() -> phantom.Radiographs:
    return phantom.Radiographs.drawn_up(12)


def test_every_machine_draws_the_same(exported):
    with open_dataset(exported) as file:
        assert file.source[0]["sha256"] == SHA256


def test_made_when_first_asked_for(exported):
    with open_dataset(exported) as file:
        assert (file.task, file.classes) == ("multilabel", find_card("xray-phantom").classes)
        assert file.classes == phantom.LABELS
        assert file.sizes == {"train": 2000, "val": 401, "test": 601}
        assert file.image_shape == (1, 64, 64)
        groups = [set(file.split(name).group.tolist()) for name in file.sizes]
        assert sum(map(len, groups)) == len(set().union(*groups)) == phantom.PATIENTS
        for name in file.sizes:
            assert (file.class_counts(name) >= 50).all()
            nothing = (file.split(name).labels.sum(axis=1) == 0).mean()
            assert 0.25 < nothing < 0.45
    assert validate(exported) == []


def test_called_synthetic_wherever_it_appears(exported):
    card = find_card("xray-phantom")
    assert all("synthetic" in text.lower() for text in (card.title, card.images, *card.classes))
    assert "synthetic" in phantom.DESCRIPTION
    with open_dataset(exported) as file:
        told = (file.source[0]["file"], file.source[0]["note"], file.split_rule, file.license)
        assert all("synthetic" in text.lower() for text in (*told, *file.classes))


def test_nothing_to_import():
    assert "phantom" not in importers.importable()
    assert not phantom.recognises(Path())


def test_a_radiograph_does_not_depend_on_its_neighbours(radiographs):
    together = phantom.render(radiographs)
    assert together.shape == (len(radiographs.names), 64, 64)
    for row in (0, 7, len(radiographs.names) - 1):
        alone = phantom.render(radiographs.take(slice(row, row + 1)))
        np.testing.assert_array_equal(alone[0], together[row])


def test_films_of_a_patient_share_what_stays(radiographs):
    for patient in np.unique(radiographs.patient):
        rows = radiographs.patient == patient
        assert np.unique(radiographs.findings[rows][:, [0, 2]], axis=0).shape[0] == 1
        assert np.unique(radiographs.anatomy[rows], axis=0).shape[0] == 1
        assert len(np.unique(radiographs.radiograph[rows], axis=0)) == rows.sum()


@pytest.mark.parametrize("label", range(len(phantom.LABELS)))
def test_each_finding_can_be_seen_in_its_place(radiographs, label):
    """The same radiograph with and without it: pixels differ, and only inside the chest."""
    with_it, without = np.zeros_like(radiographs.findings), np.zeros_like(radiographs.findings)
    with_it[:, label] = True
    bare = phantom.render(dataclasses.replace(radiographs, findings=without)).astype(int)
    shown = phantom.render(dataclasses.replace(radiographs, findings=with_it)).astype(int)
    change = np.abs(shown - bare)
    assert (change.max(axis=(1, 2)) >= 12).all()
    assert ((change >= 8).mean(axis=(1, 2)) < 0.25).all()
    assert change[:, :3].max() == 0
    darker = (shown - bare).min(axis=(1, 2))
    if phantom.LABELS[label].endswith(("effusion", "nodule", "infiltration", "heart")):
        assert (darker >= -3).all()
    else:
        assert (darker < -5).all()


def test_it_looks_like_a_chest_film(radiographs):
    """Lungs dark, middle, belly and heart bright, air above the shoulders black."""
    bare = dataclasses.replace(radiographs, findings=np.zeros_like(radiographs.findings))
    mean = phantom.render(bare).mean(axis=0)
    lungs = (mean[24:36, 12:20] + mean[24:36, 44:52]) / 2
    assert lungs.mean() < 110
    assert mean[40:46, 34:40].mean() > lungs.mean() + 60
    assert mean[58:, 16:30].mean() > lungs.mean() + 80
    assert mean[:3, :8].mean() < 30
