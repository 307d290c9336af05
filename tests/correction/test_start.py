"""Sessions that start from another's result; candidates, volumes, and written files."""

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from hidiff.correction import CorrectionSettings
from hidiff.correction.candidates import dice_of
from hidiff.experiment import make_hybrid, make_predictor
from tests.correction.models import (
    KINDS,
    NEAR,
    REACH,
    SIZE,
    make_image,
    make_kind,
    make_volume,
    read_maps,
    same,
    start,
)
from tests.tiny import make_tiny

pytestmark = pytest.mark.filterwarnings("ignore:this m")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def predictors(folder):
    return {kind: make_kind(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def files(folder):
    """An untrained refiner of priors from files, which gives the prior back."""
    options = {"segmentor": {"name": "files", "options": {}}, "training": {"segmentor": "frozen"}}
    recipe = make_tiny(folder, data={"channels": 1}, refiner={"precision": "real"}, **options)
    return make_predictor(make_hybrid(recipe), recipe)


def make_labels(kind, size=SIZE, seed=1):
    """Rectangles of each class, in the form of a session's labels."""
    planes = np.zeros((2, *size), dtype=np.uint8)
    planes[0][..., 10:30, 10:60] = 1
    planes[1][..., 40:60, 50:90] = 1
    if kind == "regions":
        return planes
    return planes[0] if kind == "one_class" else (planes * [[[1]], [[2]]]).max(axis=0)


# From a mask


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_mask_stays_until_a_mark_changes_it(predictors, kind):
    mask = make_labels(kind)
    session = start(predictors[kind], mask=mask)
    assert np.array_equal(session.labels, mask)
    session.click((20, 80), session.label_names[0], radius=4)
    changed = (session.labels != mask).reshape(-1, *SIZE).any(axis=0)
    assert changed[20, 80]
    rows, columns = np.nonzero(changed)
    far = 4 + REACH + 1
    assert (abs(rows - 20) <= far).all() and (abs(columns - 80) <= far).all()
    session.undo()
    assert np.array_equal(session.labels, mask)


def test_a_prepared_session_does_the_same_without_the_segmentor(predictors, monkeypatch):
    predictor = predictors["one_class"]
    image, mask = make_image(), make_labels("one_class")
    fresh, prepared = (start(predictor, image, mask=mask) for _ in range(2))
    fresh.click((20, 80), fresh.label_names[0])
    prepared.prepare()
    segmentor = predictor.hybrid.segmentor
    monkeypatch.setattr(segmentor, "forward", lambda image: pytest.fail("the segmentor ran"))
    prepared.click((20, 80), prepared.label_names[0])
    assert same(read_maps(fresh), read_maps(prepared))
    with pytest.raises(ValueError, match="slice 3 is asked for, but the image has slices 0 to 0"):
        prepared.prepare(3)


def test_what_there_is_no_room_for_is_not_prepared(predictors, monkeypatch):
    predictor = predictors["one_class"]
    session = start(predictor)
    session.limit_cache(0)
    before = read_maps(session)
    monkeypatch.setattr(predictor.hybrid.segmentor, "forward", lambda image: pytest.fail("it ran"))
    session.prepare()
    assert same(before, read_maps(session))


def test_a_mark_that_repeats_a_given_mask_changes_little(folder):
    """Without hints a mark of what the mask has already changes the networks' prior there alone."""
    session = start(make_kind(folder, hints=False), mask=make_labels("one_class"))
    before = session.labels
    session.click((20, 30), "curve", radius=0)
    assert (before != session.labels).sum() <= 10


def test_a_mask_from_a_file_is_read_as_the_models_classes(predictors, tmp_path):
    mask, image = make_labels("exclusive"), tmp_path / "a.png"
    Image.fromarray(make_image()).save(image)
    labels = predictors["exclusive"].labels
    Image.fromarray(labels.to_file(mask)).save(tmp_path / "mask.png")
    session = start(predictors["exclusive"], image, mask=tmp_path / "mask.png")
    assert np.array_equal(session.labels, mask)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((9, 9), dtype=np.uint8), "the mask is 9x9, but 70x100 is wanted"),
        (np.full(SIZE, 7), "whole numbers from 0 to 2"),
        (np.full(SIZE, 0.5), "whole numbers from 0 to 2"),
        (np.full(SIZE, np.nan), "whole numbers from 0 to 2"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(predictors, mask, message):
    with pytest.raises(ValueError, match=message):
        start(predictors["exclusive"], mask=mask)


# From a prior


def test_a_model_of_files_starts_from_its_prior_as_predict_does(files):
    prior = np.random.default_rng(0).random((1, *SIZE), dtype=np.float32)
    predicted = files.predict(make_image(), prior=prior)
    session = start(files, prior=prior)
    assert np.array_equal(session.probability, predicted.probability)
    session.click((30, 50), "curve", radius=3)
    assert session.labels[30, 50] == 1
    with pytest.raises(ValueError, match="none came with the image"):
        start(files)


def test_a_given_prior_replaces_the_segmentors(folder):
    recipe = make_tiny(folder, data={"channels": 1}, refiner={"precision": "real"})
    predictor = make_predictor(make_hybrid(recipe), recipe)  # untrained: it returns the prior
    prior = np.random.default_rng(0).random((1, *SIZE), dtype=np.float32)
    session = start(predictor, prior=prior)
    np.testing.assert_allclose(session.prior, prior, atol=1e-6)
    np.testing.assert_allclose(session.probability, prior, atol=1e-2)
    session.click((30, 50), "curve", radius=3)
    np.testing.assert_allclose(session.probability[:, :10], prior[:, :10], atol=1e-2)


def test_a_prior_of_nan_or_beside_a_mask_is_refused(predictors):
    prior = np.full((1, *SIZE), 0.5, dtype=np.float32)
    prior[0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="values from nan to nan, but probabilities"):
        start(predictors["one_class"], prior=prior)
    with pytest.raises(ValueError, match="leave one out"):
        start(predictors["one_class"], prior=prior, mask=make_labels("one_class"))


# Candidates


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_differ_and_keep_marks(predictors, kind):
    session = start(predictors[kind])
    labels, name = predictors[kind].labels, session.label_names[0]
    session.click((30, 50), name, radius=5)
    before = read_maps(session)
    candidates = session.candidates(4)
    assert 2 <= len(candidates) <= 4 and np.array_equal(candidates[0].labels, session.labels)
    masks = [each.labels[..., None, :, :] for each in candidates]
    for number, mask in enumerate(masks):
        assert labels.class_masks(mask)[name][0][30, 50]
        assert all(dice_of(mask, other, labels) < 0.98 for other in masks[:number])
    session.choose(1)
    assert np.array_equal(session.labels, candidates[1].labels)
    with pytest.raises(ValueError, match="has changed since candidates"):
        session.choose(1)
    session.click((60, 20), name)  # in a mask that was chosen, too
    assert labels.class_masks(session.labels)[name][30, 50]
    session.undo(), session.undo()
    assert same(read_maps(session), before)
    assert len(session.candidates(1)) == 1


def test_candidates_of_one_slice_leave_the_others(predictors):
    session = start(predictors["one_class"], make_volume(3), spacing_mm=(3, 1, 1))
    before = session.labels
    candidates = session.candidates(2, slice=1)
    assert candidates[1].labels.shape == SIZE
    session.choose(1)
    assert session.changed.slices == (1,)
    assert np.array_equal(session.labels[[0, 2]], before[[0, 2]])


# Volumes


def test_a_mark_in_a_volume_changes_its_slice_alone(predictors):
    session = start(predictors["one_class"], make_volume(3), spacing_mm=(3, 1, 1))
    before = session.labels
    change = session.click((1, 30, 50), "curve", radius=4)
    assert change.slices == (1,) and change.box[0] == slice(1, 2)
    assert session.labels[1, 30, 50] == 1
    assert np.array_equal(session.labels[[0, 2]], before[[0, 2]])
    with pytest.raises(ValueError, match="slice 3, but the image has slices 0 to 2"):
        session.click((3, 30, 50), "curve")
    with pytest.raises(ValueError, match="points lie in 2 slices"):
        session.stroke([(0, 3, 3), (1, 3, 3)], "curve")
    session.stroke([(3, 3), (9, 9)], "curve", slice=2, radius=0)
    assert session.labels[2, 9, 9] == 1


def test_masks_of_a_volume_lie_along_the_axes_of_its_file(predictors, tmp_path):
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    values = make_volume(3).transpose(2, 1, 0)  # x, y, z
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    session = start(predictors["one_class"], tmp_path / "scan.nii.gz")
    assert session.shape == values.shape
    mask = np.zeros(session.shape, dtype=bool)
    mask[5:9, 30:40, 1] = True
    session.stroke(mask, "curve")
    assert (session.labels[mask] == 1).all() and session.changed.slices == (1,)
    [path] = session.write(tmp_path / "out")
    written = nibabel.load(path)
    assert np.array_equal(np.asarray(written.dataobj) > 0, session.labels > 0)
    assert np.array_equal(written.affine, affine)
    with pytest.raises(FileExistsError):
        session.write(tmp_path / "out")


def test_a_correction_is_carried_on_while_it_changes_anything(files):
    """The prior doubts a square in slices 0 to 3, and is sure that slice 4 has none."""
    prior = np.full((5, *SIZE), 0.01, dtype=np.float32)
    square = (slice(20, 30), slice(40, 60))
    prior[:4, *square] = 0.4
    options = {"spacing_mm": (3, 1, 1), "prior": prior[None]}
    session = start(files, make_volume(5), **options)
    before = read_maps(session)
    assert not session.labels.any()
    mask = np.zeros(SIZE, dtype=bool)
    mask[square] = True
    session.stroke(mask, "curve", slice=1)
    change = session.carry_on()
    assert change.slices == (0, 2, 3)
    assert (session.labels[:4, *square] == 1).all() and not session.labels[4].any()
    assert session.labels.sum() == 4 * mask.sum()
    # what was carried is a hint: a mark overrules it without a warning, and it stays beside it
    session.click((2, 25, 45), "background", radius=2)
    assert session.labels[2, 25, 45] == 0 and session.labels[2, 25, 55] == 1
    while session.undo() is not None:
        pass
    assert same(read_maps(session), before)


def test_a_correction_is_not_carried_over_marks_and_locks(files):
    prior = np.full((5, *SIZE), 0.4, dtype=np.float32)
    session = start(files, make_volume(5), spacing_mm=(3, 1, 1), prior=prior[None])
    session.stroke([(2, 20, 40), (2, 20, 60)], "curve")
    session.click((3, 60, 90), "background")
    session.lock(np.ones(SIZE, dtype=bool), slice=0)
    session.carry_on()
    assert session.labels.any(axis=(1, 2)).tolist() == [False, True, True, False, False]


def test_a_stronger_setting_carries_further(files):
    prior = np.full((3, *SIZE), 0.05, dtype=np.float32)
    for log_odds, slices in ((2.0, ()), (4.0, (0, 2))):
        settings = CorrectionSettings(reach_px=REACH, carry_log_odds=log_odds)
        session = start(
            files, make_volume(3), spacing_mm=(3, 1, 1), prior=prior[None], settings=settings
        )
        session.click((1, 30, 50), "curve")
        assert session.carry_on().slices == slices


# Files


def test_what_is_written_is_what_predict_writes(predictors, tmp_path):
    image = tmp_path / "eye.png"
    Image.fromarray(make_image()).save(image)
    session = start(predictors["one_class"], image, settings=NEAR)
    session.click((30, 50), "curve", radius=5)
    paths = session.write(tmp_path / "masks")
    assert sorted(path.name for path in paths) == [
        "eye_labels.png",
        "eye_probability_0-curve.png",
        "eye_uncertainty.png",
    ]
    with Image.open(tmp_path / "masks" / "eye_labels.png") as written:
        assert np.array_equal(np.asarray(written) > 0, session.labels > 0)


def test_maps_that_are_given_out_are_copies(predictors):
    session = start(predictors["one_class"])
    before = read_maps(session)
    session.labels[:] = 7
    session.slice_maps(0)["probability"][:] = 7
    session.prediction().maps["labels"][:] = 7
    assert same(read_maps(session), before)


def test_tensors_are_points_and_masks_too(predictors):
    session = start(predictors["one_class"])
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[3:9, 3:9] = True
    session.stroke(mask, "curve")
    session.click(torch.tensor([30, 50]), "curve")
    session.stroke(np.array([[40.0, 50.0], [45.0, 50.0]]), "curve")
    assert (session.labels[3:9, 3:9] == 1).all() and session.labels[42, 50] == 1
