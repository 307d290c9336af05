"""splits.json: equal for equal splits, loud about leaks."""

import json
import warnings

import pytest

from hidiff.datasets import SPLITS_FILE, Case, record_splits, write_splits
from hidiff.datasets.record import find_twins
from hidiff.images import DataError


def cases_of(folder, **sides):
    """split="a b": cases whose files hold their own names; the group is the first letter."""
    splits = {}
    for split, names in sides.items():
        for name in names.split():
            (folder / f"{name}.png").write_bytes(name.encode())
        splits[split] = [
            Case(name, folder / f"{name}.png", None, None, name[0]) for name in names.split()
        ]
    return splits


def test_the_hash_knows_who_is_where_and_nothing_else(tmp_path):
    (tmp_path / "other").mkdir()
    first = record_splits(cases_of(tmp_path, train="a1 a2", validation="b", test="c"))
    again = record_splits(cases_of(tmp_path / "other", train="a2 a1", validation="b", test="c"))
    moved = record_splits(cases_of(tmp_path, train="a1 a2", validation="c", test="b"))
    assert first == again
    assert first["sha256"] != moved["sha256"]
    assert first["splits"]["train"] == {"a1": "a", "a2": "a"}


def test_a_group_on_two_sides_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"group 'a' in both train and test \(a2\)"):
        record_splits(cases_of(tmp_path, train="a1 b", test="a2"))


def test_one_file_on_two_sides_is_told(tmp_path):
    splits = cases_of(tmp_path, train="a b", validation="c", test="d e")
    (tmp_path / "e.png").write_bytes(b"b")
    assert find_twins(splits) == [(tmp_path / "b.png", tmp_path / "e.png")]
    with pytest.warns(UserWarning, match=r"b\.png and .*e\.png are the same file"):
        write_splits(splits, tmp_path)


def test_files_that_only_begin_alike_are_no_twins(tmp_path):
    splits = cases_of(tmp_path, train="a", test="b")
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(bytes(100_000) + name.encode())
    assert find_twins(splits) == []


def test_a_resumed_run_with_another_split_is_told(tmp_path):
    splits = cases_of(tmp_path, train="a b", validation="c", test="d")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        begun = write_splits(splits, tmp_path)
        assert write_splits(splits, tmp_path) == begun
    with pytest.warns(UserWarning, match="no longer those"):
        write_splits(cases_of(tmp_path, train="a", validation="c", test="d"), tmp_path)
    assert json.loads((tmp_path / SPLITS_FILE).read_text())["sha256"] == begun


def test_slices_of_one_patient_on_two_sides_are_told(tmp_path):
    names = [f"case{p}_slice{s}" for p in range(4) for s in range(3)]
    splits = {
        split: [Case(name, tmp_path / f"{name}.png", None, None, name) for name in names[start::3]]
        for start, split in enumerate(("train", "validation", "test"))
    }
    with pytest.warns(UserWarning, match=r"4 patients in 12 files .* 4 of them are in several"):
        write_splits(splits, tmp_path)
    grouped = {
        split: [Case(f"case{n}_slice{s}", tmp_path / "x", None, None, f"case{n}") for s in range(3)]
        for n, split in enumerate(("train", "validation", "test"))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tmp_path / "other").mkdir()
        write_splits(grouped, tmp_path / "other")
