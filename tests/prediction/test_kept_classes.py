"""A prediction with some of its classes: the others are background, in every map."""

import numpy as np
import pytest

from hidiff.prediction.kept_classes import keep_classes
from hidiff.prediction.writers import write_prediction
from tests.volumes import LABELS, VALUES, Echo, make_grid, make_mask, read_volume_mask, write_nifti

GRID = make_grid(6, 5, 3)


def predict(folder, kind):
    mask = make_mask(GRID, kind)
    file = write_nifti(folder / "in.nii.gz", mask, GRID)
    return mask, Echo(kind).predict(file, name="a", keep_probability=True)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("exclusive", ("lv", "rv")), ("regions", ("et", "wt")), ("exclusive", ["myo"])],
)
def test_other_classes_are_background_in_every_map(tmp_path, kind, names):
    mask, whole = predict(tmp_path, kind)
    kept = keep_classes(whole, names)
    assert kept.classes.class_names == tuple(n for n in LABELS[kind].class_names if n in names)
    before, after = (each.classes.class_masks(each.labels) for each in (whole, kept))
    assert after.keys() == set(names)
    assert all(np.array_equal(after[name], before[name]) for name in names)
    assert kept.probability is not None and whole.probability is not None
    assert len(kept.probability) == kept.classes.num_planes
    if kind == "exclusive":
        np.testing.assert_allclose(kept.probability.sum(axis=0), 1, atol=1e-2)
        write_prediction(kept, tmp_path, stem="out")
        written = read_volume_mask(tmp_path / "out.nii.gz", GRID, tmp_path / "in.nii.gz")
        values = [value for name in names for value in LABELS[kind].classes[name]]
        assert np.array_equal(written, np.where(np.isin(mask, values), mask, 0))
    assert len(np.unique(mask)) == len(VALUES[kind])


def test_a_class_that_the_model_lacks_is_refused(tmp_path):
    _, whole = predict(tmp_path, "exclusive")
    with pytest.raises(ValueError, match=r"classes liver are asked for, but the model has rv, myo"):
        keep_classes(whole, ["liver"])
