"""Series that lack tags, or have odd ones: their DICOM SEG is complete, and read by highdicom."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.images import Grid
from hidiff.prediction.writers import write_prediction
from tests.volumes import Echo, make_mask

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

from tests.dicom_series import make_slices, write_slices  # noqa: E402
from tests.images.test_dicom_kinds import (  # noqa: E402
    make_enhanced,
    make_projection,
    strip_preamble,
)

GRID = Grid((5, 4, 3), np.diag([-2.0, -1.5, 3.0, 1.0]))
MASK = make_mask(GRID)
TAGS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator", "Modality",
    "SliceThickness", "FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "SOPClassUID", "SeriesNumber",
)  # fmt: skip


def write_seg(folder, heads, mask=MASK, spoil=None):
    """Predict a series whose values are the mask's, and return its files and its SEG."""
    series = write_slices(folder / "series", heads)
    for file in sorted(series.iterdir()) if spoil else ():
        spoil(file)
    model = Echo()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        [path] = write_prediction(model.predict(series), folder / "out", stem="a")
    return series, path, " ".join(str(each.message) for each in caught)


def read_seg(path, series):
    """Return the classes 1, 2, 3 that highdicom reads, slices in the order of their places."""
    seg = highdicom.seg.segread(path)
    heads = [pydicom.dcmread(file, force=True) for file in series.iterdir()]
    heads = sorted(heads, key=lambda head: head.ImagePositionPatient[2])
    instances = [
        head.get("SOPInstanceUID") or head.file_meta.MediaStorageSOPInstanceUID for head in heads
    ]
    pixels = seg.get_pixels_by_source_instance(instances, assert_missing_frames_are_empty=True)
    return pixels.transpose(3, 2, 1, 0) > 0, seg


def planes_of(mask):
    return np.stack([mask == value for value in (1, 2, 4)])


@settings(max_examples=12, deadline=None)
@given(
    states=st.dictionaries(st.sampled_from(TAGS), st.sampled_from(["missing", "empty"]), min_size=1)
)
def test_missing_and_empty_tags_are_filled_in(tmp_path_factory, states):
    folder = tmp_path_factory.mktemp("tags")
    heads = make_slices(MASK.astype(int), GRID)
    for head in heads:
        for name, state in states.items():
            if state == "missing":
                delattr(head, name)
            else:
                setattr(head, name, None)
    series, path, said = write_seg(folder, heads)
    classes, seg = read_seg(path, series)
    np.testing.assert_array_equal(classes, planes_of(MASK))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == 3
    for name, state in states.items():
        quiet = state == "empty" and name in TAGS[:10]
        kept = name in ("SOPInstanceUID", "SOPClassUID", "SeriesNumber")
        assert (name in said) or quiet or kept
    volume = seg.get_volume()
    assert volume is not None and len({seg.StudyInstanceUID, seg.SeriesInstanceUID, ""}) == 3


ODD = {
    "PatientBirthDate": "unknown",
    "StudyDate": "1999/12/31",
    "StudyTime": "noon",
    "PatientSex": "\u00e4" * 3,
    "PatientAge": "forty",
}


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("name", ODD)
def test_values_of_another_type_are_written_empty(tmp_path, name):
    heads = make_slices(MASK.astype(int), GRID)
    for head in heads:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            element = pydicom.DataElement(
                pydicom.datadict.tag_for_keyword(name),
                pydicom.datadict.dictionary_VR(name),
                ODD[name],
                validation_mode=pydicom.config.IGNORE,
            )
            head[name] = element
    series, path, said = write_seg(tmp_path, heads)
    classes, seg = read_seg(path, series)
    np.testing.assert_array_equal(classes, planes_of(MASK))
    assert f"{name} written empty, as its value" in said
    assert not seg.get(name)


def test_a_private_class_is_named_in_the_references(tmp_path):
    private = "1.3.12.2.1107.5.9.1"
    heads = make_slices(MASK.astype(int), GRID)
    for head in heads:
        head.SOPClassUID = head.file_meta.MediaStorageSOPClassUID = private
    series, path, said = write_seg(tmp_path, heads)
    classes, seg = read_seg(path, series)
    np.testing.assert_array_equal(classes, planes_of(MASK))
    assert private in said
    items = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {str(item.ReferencedSOPClassUID) for item in items} == {private}


def test_a_series_without_preambles_gets_its_masks(tmp_path):
    series, path, _ = write_seg(tmp_path, make_slices(MASK.astype(int), GRID), spoil=strip_preamble)
    np.testing.assert_array_equal(read_seg(path, series)[0], planes_of(MASK))


def test_a_complete_series_is_written_without_a_word(tmp_path):
    said = write_seg(tmp_path, make_slices(MASK.astype(int), GRID))[2]
    assert "DICOM SEG" not in said


def test_an_enhanced_file_gets_masks_on_its_frames(tmp_path):
    series, path, _ = write_seg(tmp_path, [make_enhanced(MASK.astype(int), GRID, slope=1)])
    seg = highdicom.seg.segread(path)
    (file,) = series.iterdir()
    source = pydicom.dcmread(file)
    pixels = seg.get_pixels_by_source_frame(
        source.SOPInstanceUID, range(1, 4), assert_missing_frames_are_empty=True
    )
    heights = [
        float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        for frame in source.PerFrameFunctionalGroupsSequence
    ]
    assert heights != sorted(heights)
    in_order = pixels[np.argsort(heights)].transpose(3, 2, 1, 0) > 0
    np.testing.assert_array_equal(in_order, planes_of(MASK))


def test_a_projection_gets_a_mask_without_a_place(tmp_path):
    head = make_projection()
    mask = make_mask(Grid((4, 3, 1), GRID.affine))
    head.PixelData = np.ascontiguousarray(mask[:, :, 0].T, "<i2").tobytes()
    series, path, _ = write_seg(tmp_path, [head])
    seg = highdicom.seg.segread(path)
    (file,) = series.iterdir()
    pixels = seg.get_pixels_by_source_instance(
        [pydicom.dcmread(file).SOPInstanceUID], assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels.transpose(3, 2, 1, 0)[..., 0] > 0, planes_of(mask)[..., 0])
