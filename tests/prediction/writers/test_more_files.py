"""Statistics, previews and names of labels: they say of a case what its masks say."""

import csv
import json
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hidiff.images import Grid, read_label_names
from hidiff.prediction.writers import write_prediction
from hidiff.prediction.writers.preview import SIDE, write_preview
from hidiff.prediction.writers.statistics import write_statistics, write_statistics_table
from tests.volumes import LABELS, Echo, make_grid, make_mask, write_nifti

ANISOTROPIC = Grid((10, 8, 4), np.diag([0.5, -0.5, 5.0, 1.0]))


def predict(folder, mask, grid):
    file = write_nifti(folder / "in.nii.gz", mask, grid)
    return Echo().predict(file, name="a")


def test_volumes_are_in_millilitres_and_intensities_those_of_the_file(tmp_path):
    mask = make_mask(ANISOTROPIC)
    mask[mask == 2] = 0  # no myo
    prediction = predict(tmp_path, mask, ANISOTROPIC)
    write_statistics(prediction, tmp_path, "a")
    found = json.loads((tmp_path / "a_statistics.json").read_text())["classes"]
    voxel_ml = 0.5 * 0.5 * 5 / 1000
    assert found["rv"]["voxels"] == np.count_nonzero(mask == 1)
    assert found["rv"]["volume_ml"] == pytest.approx(found["rv"]["voxels"] * voxel_ml)
    # the Echo's image is its mask
    assert (found["rv"]["mean_intensity"], found["lv"]["mean_intensity"]) == (1.0, 4.0)
    assert found["myo"] == {"voxels": 0, "volume_ml": 0.0, "mean_intensity": None}
    write_statistics(prediction, tmp_path, "b")
    with open(write_statistics_table(tmp_path), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["class"]) for row in rows] == [
        (case, name) for case in "ab" for name in ("rv", "myo", "lv")
    ]
    assert float(rows[0]["volume_ml"]) == pytest.approx(found["rv"]["volume_ml"])


def test_a_preview_shows_three_directions_in_millimetres(tmp_path):
    mask = np.zeros(ANISOTROPIC.shape, np.uint8)
    mask[2:8, 2:6, 1:3] = 4
    write_preview(predict(tmp_path, mask, ANISOTROPIC), tmp_path / "a.png")
    shown = np.asarray(Image.open(tmp_path / "a.png"))
    # axial 4 by 5 mm; coronal 20 by 5 mm; sagittal 20 by 4 mm: heights 256, 320 and 320 pixels
    width = SIDE + SIDE * 5 // 20 + SIDE * 4 // 20 + 3 * 4
    assert shown.shape[1] == width and shown.shape[0] > SIDE
    colourful = np.ptp(shown[:SIDE].astype(int), axis=2) > 40
    assert colourful[100, SIDE // 2]  # the middle of the axial slice is in the class
    assert 0.1 < colourful[:256, :SIDE].mean() < 0.5


def test_the_header_of_labels_names_them_as_totalsegmentator_reads_it(tmp_path):
    grid = make_grid(4, 3, 2)
    prediction = predict(tmp_path, make_mask(grid), grid)
    write_prediction(prediction, tmp_path, stem="out")
    header = nib.load(tmp_path / "out.nii.gz").header
    content = header.extensions[0].get_content()  # TotalSegmentator takes the first
    text = content.decode() if isinstance(content, bytes) else content
    labels = ElementTree.fromstring(text.strip("\0 \n")).findall(
        "VolumeInformation/LabelTable/Label"
    )
    assert {int(each.attrib["Key"]): each.text for each in labels} == {1: "rv", 2: "myo", 4: "lv"}
    names = read_label_names(tmp_path / "out.nii.gz")
    assert names == {name: tuple(values) for name, values in LABELS["exclusive"].classes.items()}
