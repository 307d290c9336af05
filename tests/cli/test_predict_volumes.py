"""`hidiff predict` of volumes: found in files, folders and channels, written on their own grid."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.volumes import Echo, make_grid, make_mask, write_nifti

GRID = make_grid(6, 5, 3)


@pytest.fixture
def echo(monkeypatch):
    """The command, with a model that answers with the image itself."""
    import importlib

    from hidiff import experiment, weights
    from hidiff.models import ModelHead

    model = Echo()
    schedule = type("", (), {"num_steps": 3})
    model.hybrid = type("", (), {"schedule": schedule})
    monkeypatch.setattr(experiment, "load_predictor", lambda *_, **__: model)
    monkeypatch.setattr(experiment, "find_model", Path)

    def read_head(path):
        return ModelHead(Path(path), {}, {"data": {"channels": model.channels}})

    command = importlib.import_module("hidiff.cli.predict")
    monkeypatch.setattr(command, "read_head", read_head)
    monkeypatch.setattr(weights, "load_metadata", lambda _: {})
    return model


def test_a_folder_of_volumes_becomes_masks_that_other_tools_can_judge(hidiff, echo, tmp_path):
    images, out = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    for name in ("a_0000", "b_0000"):
        write_nifti(images / f"{name}.nii.gz", make_mask(GRID), GRID)
    result = hidiff("predict", "model", images, "--output", out)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == ["a.nii.gz", "b.nii.gz"]
    came = nib.load(out / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(came.dataobj), make_mask(GRID))
    again = hidiff("predict", "model", images, "--output", out)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_channels_are_put_together_by_their_numbers(hidiff, echo, tmp_path):
    echo.channels = 2
    for number in (1, 0):
        write_nifti(tmp_path / f"a_000{number}.nii.gz", make_mask(GRID, seed=number), GRID)
    files = (tmp_path / "a_0001.nii.gz", tmp_path / "a_0000.nii.gz")
    result = hidiff("predict", "model", *files, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    # of 2 channels the Echo answers with the second
    came = np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(came, make_mask(GRID, seed=1))


def test_a_missing_modality_and_a_bad_volume_are_named(hidiff, echo, tmp_path):
    echo.channels = 2
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a_0000", "a_0001", "b_0000"):
        write_nifti(images / f"{name}.nii.gz", make_mask(GRID), GRID)
    result = hidiff("predict", "model", images, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "1 of 2 images are done" in result.stdout
    assert "b lacks b_0001" in " ".join(result.stderr.split())


def test_patients_whose_names_end_in_four_digits_stay_apart(hidiff, echo, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in (1, 2):
        write_nifti(images / f"amos_000{number}.nii.gz", make_mask(GRID, seed=number), GRID)
    result = hidiff("predict", "model", images, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for number in (1, 2):
        came = np.asarray(nib.load(tmp_path / "out" / f"amos_000{number}.nii.gz").dataobj)
        np.testing.assert_array_equal(came, make_mask(GRID, seed=number))
    one = images / "amos_0001.nii.gz"
    assert hidiff("predict", "model", one, "--output", tmp_path / "one").exit_code == 0
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["amos_0001.nii.gz"]
    echo.channels = 2  # each is refused for its own channels, none is a channel of the other
    result = hidiff("predict", "model", images, "--output", tmp_path / "two")
    assert result.exit_code == 2
    assert result.stderr.count("1 channels came, but 2 are wanted") == 2


def test_a_lost_channel_is_named_before_the_model_is_loaded(hidiff, echo, tmp_path, monkeypatch):
    from hidiff import experiment

    echo.channels = 2
    for number in (0, 2):
        write_nifti(tmp_path / f"p_000{number}.nii.gz", make_mask(GRID), GRID)
    monkeypatch.setattr(experiment, "load_predictor", lambda *_, **__: pytest.fail("it was loaded"))
    result = hidiff("predict", "model", tmp_path, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "p lacks p_0001" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_is_named_as_it_is_called_from_inside(hidiff, echo, tmp_path, monkeypatch):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    from tests.dicom_series import make_slices, write_slices

    grid = type(GRID)(GRID.shape, np.diag([-2.0, -2.0, 3.0, 1.0]))
    series = write_slices(tmp_path / "ct", make_slices(make_mask(grid).astype(int), grid))
    (series / "inner").mkdir()
    for start, place in ((series, "."), (series / "inner", "..")):
        monkeypatch.chdir(start)
        out = tmp_path / f"out{len(place)}"
        result = hidiff(
            "predict", "model", place, "--output", out, "--probability", "--uncertainty"
        )
        assert result.exit_code == 0, result.output
        assert "written beside it as NIfTI" in result.stdout
        names = sorted(file.name for file in out.iterdir())
        assert names[0] == "ct.dcm" and "ct_uncertainty.nii.gz" in names
        assert sum("_probability_" in name for name in names) == 4
        assert "ct.nii.gz" not in names


@pytest.mark.parametrize("depth", [1, 9])
def test_an_overlay_shows_the_fullest_slices(hidiff, echo, tmp_path, depth):
    from PIL import Image

    grid = make_grid(20, 16, depth)
    mask = make_mask(grid)
    mask[..., 1:-1] = 0  # the first and the last slice hold all
    file = write_nifti(tmp_path / "a.nii.gz", mask, grid)
    result = hidiff("predict", "model", file, "--output", tmp_path / "out", "--overlay")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out" / "a_overlay.png") as overlay:
        pixels = np.asarray(overlay.convert("RGB"))
    from hidiff.prediction.writers.overlay import CONTOURS, fullest_slices

    assert all((pixels == colour).all(axis=2).any() for colour in CONTOURS[:3])
    full = [np.moveaxis(mask == value, -1, 0) for value in (1, 2, 4)]
    assert fullest_slices(full) == sorted({0, depth - 1})


def test_more_is_written_on_request(hidiff, echo, tmp_path):
    file = write_nifti(tmp_path / "a.nii.gz", make_mask(GRID), GRID)
    words = ("--probability", "--uncertainty", "--format", "nifti", "--format", "npz")
    result = hidiff("predict", "model", file, "--output", tmp_path / "out", *words)
    assert result.exit_code == 0, result.output
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "a.nii.gz",
        "a.npz",
        "a_probability_0-background.nii.gz",
        "a_probability_1-rv.nii.gz",
        "a_probability_2-myo.nii.gz",
        "a_probability_3-lv.nii.gz",
        "a_uncertainty.nii.gz",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "png"), "can become nifti, npz, not png"),
        (("--format", "dicom"), "DICOM SEG is written beside DICOM only"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_at_once(hidiff, echo, tmp_path, words, said):
    file = write_nifti(tmp_path / "a.nii.gz", make_mask(GRID), GRID)
    result = hidiff("predict", "model", file, "--output", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_volume_is_not_replaced_by_its_masks(hidiff, echo, tmp_path):
    file = write_nifti(tmp_path / "a.nii.gz", make_mask(GRID), GRID)
    before = file.read_bytes()
    result = hidiff("predict", "model", file, "--output", tmp_path, "--overwrite")
    assert result.exit_code == 2
    assert file.read_bytes() == before


def test_a_folder_of_dicom_is_one_volume(hidiff, echo, tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    from tests.dicom_series import make_slices, write_slices

    grid = type(GRID)(GRID.shape, np.diag([-2.0, -2.0, 3.0, 1.0]))
    series = write_slices(tmp_path / "ct", make_slices(make_mask(grid).astype(int), grid))
    result = hidiff("predict", "model", series, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    seg = pydicom.dcmread(tmp_path / "out" / "ct.dcm")
    assert seg.Modality == "SEG"


def test_statistics_previews_and_a_report_are_written_of_the_classes_kept(hidiff, echo, tmp_path):
    import csv
    import json

    images, out = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    for name in ("a", "b"):
        write_nifti(images / f"{name}.nii.gz", make_mask(GRID), GRID)
    (images / "c.nii.gz").write_bytes(b"cut off")
    words = ["predict", "model", images, "--output", out, "--classes", "rv,lv", "--statistics"]
    words += ["--preview", "--report", tmp_path / "run.json"]
    result = hidiff(*words)
    assert result.exit_code == 1, result.output  # c failed
    names = [f"{case}{end}" for case in "ab" for end in (".nii.gz", "_preview.png")]
    names += ["a_statistics.json", "b_statistics.json", "statistics.csv"]
    assert sorted(file.name for file in out.iterdir()) == sorted(names)
    kept = np.asarray(nib.load(out / "a.nii.gz").dataobj)
    mask = make_mask(GRID)
    np.testing.assert_array_equal(kept, np.where(mask == 2, 0, mask))
    with open(out / "statistics.csv", newline="") as file:
        rows = [(row["case"], row["class"], int(row["voxels"])) for row in csv.DictReader(file)]
    counts = {name: int((mask == value).sum()) for name, value in (("rv", 1), ("lv", 4))}
    assert rows == [(case, name, count) for case in "ab" for name, count in counts.items()]
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["num_done"] == 2 and report["images"] == ["a", "b", "c"]
    assert len(report["failures"]) == 1 and "c.nii.gz" in report["failures"][0]
    assert report["written"]["classes"] == ["rv", "lv"] and report["seconds"] > 0
    assert report["libraries"]["torch"]
    # a preview that is missing is made again
    (out / "b_preview.png").unlink()
    again = hidiff(*words, "--continue")
    assert "2 of 3 images are done, 1 of them before" in again.output
    assert (out / "b_preview.png").is_file()


def test_a_class_that_the_model_lacks_is_refused(hidiff, echo, tmp_path):
    write_nifti(tmp_path / "a.nii.gz", make_mask(GRID), GRID)
    words = ["predict", "model", tmp_path / "a.nii.gz", "--output", tmp_path / "out"]
    result = hidiff(*words, "--classes", "liver")
    assert result.exit_code == 2
    assert "classes liver are asked for, but the model has rv, myo, lv" in result.stderr


def test_a_place_is_three_numbers_in_one_volume_of_a_model_of_crops(hidiff, echo, tmp_path):
    files = [write_nifti(tmp_path / f"{name}.nii.gz", make_mask(GRID), GRID) for name in "ab"]
    for given, at, says in (
        (files[:1], "1,2", "wants row,column,slice of a volume, counted from 0"),
        (files[:1], "1,2,nan", "wants row,column,slice"),
        (files, "1,2,1", "a place in one volume, but 2 images came"),
        (files[:1], "1,2,1", "at is for models of crops, but this one sees whole images"),
    ):
        result = hidiff("predict", "model", *given, "--at", at, "--output", tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert says in " ".join(result.stderr.split())
