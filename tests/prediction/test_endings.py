"""Finished cases of a folder, known by the names of their files."""

import itertools

import pytest

from hidiff.images.geometry import PictureGeometry
from hidiff.labels import Labels
from hidiff.prediction import Prediction
from hidiff.prediction.endings import Extras, file_names, is_finished, stems_of
from hidiff.prediction.writers import WRITERS, write_prediction
from tests.volumes import LABELS, Echo, make_grid, make_mask, write_nifti

FORMATS = [formats for n in (1, 2) for formats in itertools.combinations(("nifti", "npz"), n)]


@pytest.mark.parametrize("kind", sorted(LABELS))
@pytest.mark.parametrize("formats", FORMATS, ids="+".join)
@pytest.mark.parametrize("extras", [Extras(), Extras(True, True)], ids=["labels", "all"])
def test_a_case_is_finished_when_all_its_files_are_there(tmp_path, kind, formats, extras):
    grid = make_grid(4, 3, 2)
    file = write_nifti(tmp_path / "a.nii.gz", make_mask(grid, kind), grid)
    prediction = Echo(kind).predict(file, name="a", keep_probability=extras.probability)
    folder = tmp_path / "out"
    write_prediction(prediction, folder, formats=formats, uncertainty=extras.uncertainty)
    names = file_names(folder)
    assert is_finished(names, "a", formats, extras)
    assert all(stems_of(names, format) >= {"a"} for format in formats)
    labels = [n for n in names if "probability" not in n and "uncertainty" not in n]
    for name in labels:  # without its labels no case is finished
        assert not is_finished([n for n in names if n != name], "a", formats, extras)
    assert not is_finished(names, "b", formats, extras)
    assert not is_finished(names, "a", formats, Extras(overlay=True))


def test_what_was_not_asked_for_before_is_missing():
    names = ["a.nii.gz"]
    assert is_finished(names, "a", ("nifti",))
    assert not is_finished(names, "a", ("nifti",), Extras(probability=True))
    assert not is_finished(["a.dcm"], "a", ("dicom",), Extras(uncertainty=True))
    assert is_finished(["a.dcm", "a_uncertainty.nii.gz"], "a", ("dicom",), Extras(uncertainty=True))
    assert not is_finished(["a_labels.png"], "a", ("png",))  # its uncertainty is always written


def test_no_file_of_a_case_appears_if_one_cannot_be_written(tmp_path, monkeypatch):
    grid = make_grid(4, 3, 2)
    file = write_nifti(tmp_path / "a.nii.gz", make_mask(grid), grid)
    prediction = Echo().predict(file, name="a", keep_probability=True)

    def broken(prediction, uncertainty):
        def fail(path):
            raise OSError("no")

        yield ".npz", fail

    monkeypatch.setitem(WRITERS, "npz", type(WRITERS["npz"])(".npz", broken))
    with pytest.raises(OSError, match="no"):
        write_prediction(prediction, tmp_path / "out", formats=("nifti", "npz"))
    assert file_names(tmp_path / "out") == []


def test_labels_of_pictures_have_the_values_of_the_masks():
    from hidiff.prediction.writers.picture import visible_labels

    labels = Labels(kind="exclusive", classes={"left": (3,), "right": (7,)})
    prediction = Prediction("a", labels, PictureGeometry((1, 3)))
    import numpy as np

    prediction.maps["labels"] = np.array([[[0, 1, 2]]], np.uint8)
    assert visible_labels(prediction).tolist() == [[0, 3, 7]]
