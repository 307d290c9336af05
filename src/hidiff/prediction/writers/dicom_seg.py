"""DICOM SEG: masks as a DICOM object that refers to the series they belong to."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hidiff._version import __version__
from hidiff.extras import import_extra
from hidiff.images import DataError, dicom_slices, first_file
from hidiff.prediction.endings import ENDINGS
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.common import Files, PredictionFormat
from hidiff.prediction.writers.dicom_tags import complete_headers
from hidiff.prediction.writers.nifti import soft_nifti_files

SCHEME = "99HIDIFF"  # of codes: the user's class names stand in no terminology that we know of


def dicom_files_of(prediction: Prediction, uncertainty: bool) -> Files:
    """Write labels as one DICOM SEG, which refers to the series that the image was read from.

    A SEG holds no soft maps of ours: those that are kept or asked for become NIfTI beside it.
    """
    source, labels = prediction.source, prediction.labels
    assert source is not None
    series, names = first_file(source), prediction.classes.class_names
    yield ".dcm", lambda path: write_dicom_seg(path, labels, names, series)
    yield from soft_nifti_files(prediction, uncertainty)


def write_dicom_seg(
    path: Path,
    labels: UInt8[np.ndarray, "x y z"] | UInt8[np.ndarray, "k x y z"],
    class_names: Sequence[str],
    series: Path,
) -> None:
    """Write one binary segment for each class; `labels` are on the series' own grid.

    Raises DataError for a series that lacks more than `complete_headers` can fill in.
    """
    highdicom = import_extra("highdicom", "dicom", series)
    slices = dicom_slices(series)
    sources = complete_headers(series, slices)
    # slices, rows, columns (, segments), as highdicom wants them
    planes = np.moveaxis(labels, 0, -1) if labels.ndim == 4 else labels
    planes = np.moveaxis(planes, (2, 1, 0), (0, 1, 2))
    if slices[0].frame is not None:  # in the order of the file's frames
        planes = planes[np.argsort([int(slice.frame or 0) for slice in slices])]
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=[source.head for source in sources],
            pixel_array=np.ascontiguousarray(planes),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _describe(highdicom, number, name)
                for number, name in enumerate(class_names, start=1)
            ],
            series_instance_uid=highdicom.UID(),
            series_number=int(sources[0].head.get("SeriesNumber") or 0) + 1000,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="HiDiff",
            manufacturer_model_name="HiDiff",
            software_versions=__version__,
            device_serial_number="0",
        )
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"no DICOM SEG can be made for {series} ({error}). Use the format nifti."
        ) from error
    _restore_classes(segmentation, {each.instance: each.sop_class for each in sources})
    segmentation.save_as(path)


def _restore_classes(segmentation: Any, sop_classes: dict[str, str]) -> None:
    """Let references name the files' own SOP classes, for which highdicom was given others."""

    def restore(dataset: Any, element: Any) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and str(element.value) in sop_classes:
            dataset.ReferencedSOPClassUID = sop_classes[str(element.value)]

    segmentation.walk(restore)


def _describe(highdicom: Any, number: int, name: str) -> Any:
    codes = import_module("pydicom.sr.codedict").codes
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=highdicom.sr.CodedConcept(f"{number}", SCHEME, name[:64]),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="HiDiff", version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )


DICOM = PredictionFormat(ENDINGS["dicom"], dicom_files_of)
