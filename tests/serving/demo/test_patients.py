"""Who asks the demo's server is drawn once, by the seed, from rows that no version has seen."""

from __future__ import annotations

from collections import Counter

import pytest

from serinus.serving.demo.patients import DRIFTING, Patients
from serinus.serving.demo.training import Data, prepare


@pytest.fixture(scope="module")
def data() -> Data:
    return prepare(3)


def test_the_seed_says_who_comes_when(data: Data) -> None:
    """Two clinics with one seed see the same people; another seed brings others."""
    ours, same, others = Patients(data.unseen, 1), Patients(data.unseen, 1), Patients(data.unseen, 2)
    assert [ours.patient(number) for number in range(50)] == [same.patient(number) for number in range(50)]
    assert [ours.patient(number) for number in range(50)] != [others.patient(number) for number in range(50)]


def test_a_drift_touches_one_measure_and_no_truth(data: Data) -> None:
    """What is measured too high is 30 % too high; what is missing stays missing."""
    patients = Patients(data.unseen, 1)
    missing = 0
    for number in range(300):
        plain, drifted = patients.patient(number), patients.patient(number, drifted=True)
        assert (plain.truth, plain.key) == (drifted.truth, drifted.key)
        assert {name for name in plain.row if plain.row[name] != drifted.row[name]} <= {DRIFTING}
        if plain.row[DRIFTING] is None:
            missing += 1
        else:
            assert drifted.row[DRIFTING] == pytest.approx(1.3 * plain.row[DRIFTING])
    assert missing > 0


def test_some_come_again_and_most_are_new(data: Data) -> None:
    """One in five requests is of somebody who may have been here before."""
    patients = Patients(data.unseen, 1)
    kinds = Counter(patients.patient(number).key.split("-")[0] for number in range(5_000))
    assert 0.18 < kinds["regular"] / 5_000 < 0.22
