"""Models of crops: a place in a series, and the mask back on the series."""

import numpy as np
import pytest
import torch

from hidiff.correction import read_session, restore_session
from hidiff.images import Intensity, VolumeGeometry, read_image
from hidiff.images.grid import same_place
from hidiff.loading import Slicing, place_crop
from hidiff.prediction import PredictionSettings
from hidiff.prediction.writers import write_prediction
from tests.correction.models import make_kind, read_maps, same, start
from tests.dicom_series import make_slices, write_slices
from tests.volumes import Echo, make_grid, read_grid, write_nifti

GRID = make_grid(90, 80, 6)  # 2 mm within a slice, 3 mm between slices
BALL = (52, 31, 3)  # row, column and slice of the ball's centre
RADIUS_MM = 12.0


class Bright(Echo):
    """Answers with what is brighter than the middle of the scale; sees crops of 64 pixels."""

    def __init__(self, crop_mm: float) -> None:
        super().__init__("one_class", Slicing(crop_mm=crop_mm))
        self.intensity = Intensity()
        self.settings = PredictionSettings(windows=4)
        self.seen = []

    def predict_slices(self, images, names, settings, *, size, refine, trace=False, keep=None):
        self.seen.append(images)
        assert tuple(images.shape[-2:]) == size == self.window
        return [self._echo((image[0].numpy() > 0).astype(np.uint8)) for image in images]


def make_ball() -> np.ndarray:
    """Return a slice-first CT in Hounsfield units with one bright ball of known place."""
    d, h, w = np.ogrid[:6, :80, :90]
    row, column, number = BALL
    far = np.hypot(np.hypot(2.0 * (h - row), 2.0 * (w - column)), 3.0 * (d - number))
    return np.where(far <= RADIUS_MM, 40, -850).astype(np.int16)


@pytest.fixture(params=["nifti", "dicom"])
def series(request, tmp_path):
    values = VolumeGeometry(GRID).native(make_ball())
    if request.param == "nifti":
        return write_nifti(tmp_path / "ct.nii.gz", values, GRID)
    pytest.importorskip("pydicom")
    return write_slices(tmp_path / "ct", make_slices(values, GRID))


@pytest.mark.parametrize("crop_mm", [0.7, 1.1])
def test_the_mask_lies_where_the_ball_lies(series, crop_mm):
    row, column, number = BALL
    result = Bright(crop_mm).predict(series, at=(row + 3, column - 2, number))
    labels = result.geometry.from_native(result.labels)
    truth = make_ball() > 0
    np.testing.assert_array_equal(labels[number] > 0, truth[number])
    assert not np.delete(labels, number, axis=0).any()
    assert result.labels.shape == GRID.shape


def test_the_crop_is_stretched_to_its_own_range(series):
    model = Bright(0.7)
    model.predict(series, at=(BALL[0], BALL[1] + 6, BALL[2]))
    [seen] = model.seen
    assert (seen.min(), seen.max()) == (-1, 1)


def test_a_series_without_a_place_is_refused_with_one_sentence(series):
    with pytest.raises(ValueError, match=r"give --at row,column,slice \(in Python at=") as refused:
        Bright(0.7).predict(series)
    assert "\n" not in str(refused.value)
    assert "64x64 pixels of 0.7 mm" in str(refused.value)


def test_a_model_of_whole_images_takes_no_place(series):
    with pytest.raises(ValueError, match="at is for models of crops"):
        Echo("one_class").predict(series, at=BALL)


def test_a_picture_is_the_crop_itself():
    picture = np.zeros((64, 64), dtype=np.uint8)
    picture[20:30, 20:30] = 255
    np.testing.assert_array_equal(Bright(0.7).predict(picture).labels, picture > 0)


def test_a_correction_at_a_place_changes_the_series_there_and_survives_its_file(tmp_path):
    predictor = make_kind(tmp_path, data={"crop_mm": 1.0})
    values = VolumeGeometry(GRID).native(make_ball())
    options = {"affine": GRID.affine, "at": BALL}
    session = start(predictor, values, **options)
    whole = predictor.predict(values, **options)
    np.testing.assert_array_equal(session.labels, whole.labels)
    before = session.image.geometry.from_native(session.labels)
    session.click((3, 52, 33), "curve", add=False, radius=2)
    session.click((0, 10, 10), "curve", radius=1)
    after = session.image.geometry.from_native(session.labels)
    assert not after[3, 51:54, 32:35].any()
    # beyond the crop a mark paints, and nothing else
    assert after[0].sum() == before[0].sum() + 9
    rest = np.ones(after.shape, dtype=bool)
    rest[[0, 3]] = False
    np.testing.assert_array_equal(after[rest], before[rest])
    file = session.save(tmp_path / "a.session")
    assert read_session(file).origin.at == BALL
    assert same(
        read_maps(restore_session(read_session(file), predictor, values)), read_maps(session)
    )


def test_corrections_of_a_crop_are_not_carried_on(tmp_path):
    predictor = make_kind(tmp_path, data={"crop_mm": 1.0})
    values = VolumeGeometry(GRID).native(make_ball())
    session = start(predictor, values, affine=GRID.affine, at=BALL)
    with pytest.raises(ValueError, match="sees one crop"):
        session.carry_on()


@pytest.mark.parametrize("name", ["example_ct.nii.gz", "example_ct_dicom"])
def test_on_a_real_ct_the_mask_lies_where_the_tissue_lies(data_root, name, tmp_path):
    """Geometry alone: the model marks what is brighter than the middle of the crop's own range."""
    path = data_root / "CT_TotalSegmentator_example" / name
    if not path.exists():
        pytest.skip("needs CT_TotalSegmentator_example in HIDIFF_DATA")
    raw = read_image(path, 1)
    depth, height, _ = raw.geometry.shape
    number = depth // 2
    # at the rim of the body, where tissue and air meet
    row = height // 2
    column = int(np.flatnonzero(raw.values[0, number, row] > -200)[0])
    crop = place_crop((row, column, number), raw.geometry, (64, 64), 0.7)
    seen = crop.cut(torch.from_numpy(raw.values[:, number].astype(np.float32)))
    middle = float(seen.min() + seen.max()) / 2
    bright = raw.values[0, number] > middle

    result = Bright(0.7).predict(path, at=(row, column, number))
    labels = result.geometry.from_native(result.labels) > 0
    inside = crop.inside.numpy()
    assert not labels[:, ~inside].any()
    assert 0.1 < bright[inside].mean() < 0.9
    assert (labels[number] == bright)[inside].mean() > 0.95
    written = write_prediction(result, tmp_path, formats=("nifti",))
    assert raw.grid is not None and same_place(read_grid(written[0]), raw.grid)
