"""Patients are proposed from names that share a prefix, and from no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.datasets import Splitting
from hidiff.datasets.patients import EACH_FILE, pattern_for, propose_patients

SHARED = {
    "case{p:04d}_slice{s:03d}": "case{p:04d}",
    "case{p:04d}slice{s}": "case{p:04d}",
    "P{p:03d}_20240117_{s:03d}": "P{p:03d}",
    "20240117_P{p:03d}_{s:03d}": "P{p:03d}",
    "TCGA_CS_{p:04d}_19960909_{s}": "TCGA_CS_{p:04d}",
    "case{p}_2019060{s}_slice1{s}": "case{p}",
    "{p:03d}-{s}": "{p:03d}",
    "volume_{p}_slice_{s}": "volume_{p}",
    "slice_{s}_case_{p}": "case_{p}",
    "patient{p:03d}_frame{s:02d}": "patient{p:03d}",
    "p{p} z{s}": "p{p}",
}


@pytest.mark.parametrize("name", SHARED)
@given(
    patients=st.sets(st.integers(1, 9999), min_size=3, max_size=9),
    slices=st.integers(2, 9),
)
def test_slices_of_one_patient_come_together(name, patients, slices):
    stems = {
        name.format(p=p, s=s): SHARED[name].format(p=p) for p in patients for s in range(slices)
    }
    found = propose_patients(list(stems))
    assert found is not None and found.count == len(patients)
    group_of = Splitting(group=found.pattern).group_of
    assert {stem: group_of(stem) for stem in stems} == stems
    assert f"{len(patients)} patients in {len(stems)} files" in found.sentence


@pytest.mark.parametrize(
    "stems",
    [
        [f"case-{n:03d}" for n in range(30)],
        [f"{n:04d}" for n in range(30)],
        [f"p{n}" for n in range(30)],
        [f"ISIC_{n:07d}" for n in range(30)],
        [f"{n}_training" for n in range(21, 41)],
        [f"{word} ({n})" for word in ("benign", "malignant", "normal") for n in range(30)],
        [f"site{n % 2}_{n:03d}" for n in range(30)],  # two hospitals, not two patients
        ["cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju0roawvklrq0799vmjorwfv"],
        ["only-1"],
    ],
)
def test_names_that_share_nothing_are_each_their_own(stems):
    assert propose_patients(stems) is None


@given(
    patients=st.sets(st.integers(0, 99), min_size=3, max_size=9),
    points=st.integers(2, 8),
    first=st.integers(0, 1),
    digits=st.integers(1, 2),
)
def test_time_points_in_the_last_digits_come_together(patients, points, first, digits):
    names = {
        f"genius_{patient:02d}{point:0{digits}d}": f"genius_{patient:02d}"
        for patient in patients
        for point in range(first, first + points)
    }
    found = propose_patients(list(names))
    assert found is not None and found.count == len(patients)
    if digits == 1:  # of two digits, the first may be the patient's as well
        assert {name: found.patient_of(name) for name in names} == names


@given(first=st.integers(0, 200), count=st.integers(12, 300), digits=st.integers(3, 5))
def test_numbers_that_follow_one_another_are_no_time_points(first, count, digits):
    assert propose_patients([f"img_{n:0{digits}d}" for n in range(first, first + count)]) is None


def test_two_eyes_are_of_one_patient():
    found = propose_patients([f"Image_{n:02d}{side}" for n in range(1, 15) for side in "LR"])
    assert found is not None and found.count == 14


def test_a_pattern_that_does_not_fit_another_folder_gives_way_to_its_names():
    pattern = r"^(case\d+)_"
    assert pattern_for(["case0008_1", "case0009_1"], pattern) == (pattern, "")
    stems = [f"P{p:02d}-{s}" for p in range(5) for s in range(4)]
    found, sentence = pattern_for(stems, pattern)
    assert Splitting(group=found).group_of("P03-2") == "P03"
    assert "finds no patient in 'P00-0'" in sentence and "5 patients in 20 files" in sentence
    found, sentence = pattern_for(["case0008", "case0009"], pattern)
    assert found == EACH_FILE and "a patient of its own" in sentence
