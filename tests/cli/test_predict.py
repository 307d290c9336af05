"""`hidiff predict`: every good image is done, every bad one is named."""

import errno
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hidiff.prediction import writers


@pytest.fixture
def images(data, tmp_path):
    """A folder of three images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        shutil.copy(data / "images" / f"case-00{number}.png", folder)
    return folder


def test_a_folder_of_images_becomes_masks_of_their_size(hidiff, trained, images, tmp_path):
    Image.new("RGB", (90, 70)).save(images / "wide.png")
    out = tmp_path / "out"
    result = hidiff("predict", trained, images, "--output", out, "--steps", "1")
    assert result.exit_code == 0, result.output
    assert len(list(out.glob("*_labels.png"))) == 4
    with Image.open(out / "wide_labels.png") as mask:
        assert mask.size == (90, 70)


def test_options_reach_the_prediction(hidiff, trained, images, tmp_path):
    one = images / "case-000.png"
    words = ("--samples", "2", "--seed", "5", "--mirror", "--rule", "expected_dice")
    words += ("--window-size", "96", "64", "--overlap", "0.5")
    formats = ("--format", "npz", "--format", "tiff")
    result = hidiff("predict", trained, one, "--output", tmp_path / "out", *words, *formats)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "case-000_labels.tiff").is_file()
    with np.load(tmp_path / "out" / "case-000.npz") as arrays:
        assert "variance" in arrays  # of the two samples


def test_what_lies_outside_the_lit_view_is_cut_off_if_asked(hidiff, trained, images, tmp_path):
    one = images / "case-000.png"
    with Image.open(one) as picture:
        pixels = np.array(picture)
    pixels[:, : pixels.shape[1] // 2] = 0
    Image.fromarray(pixels).save(one)
    found = {}
    for word in ("--lit-view", "--no-lit-view"):
        out = tmp_path / word
        result = hidiff("predict", trained, one, "--output", out, "--format", "npz", word)
        assert result.exit_code == 0, result.output
        with np.load(out / "case-000.npz") as arrays:
            found[word] = arrays["probability"][..., : pixels.shape[1] // 2 - 4]
    assert not found["--lit-view"].any() and found["--no-lit-view"].any()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--window-size", "100", "100"), ("--window-size (100, 100):", "a multiple of 32")),
        (("--overlap", "1"), ("--overlap 1.0:", "less than 1")),
    ],
)
def test_windows_that_cannot_be_are_told_before_any_image(
    hidiff, trained, images, tmp_path, words, told
):
    result = hidiff("predict", trained, images, "--output", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert all(part in " ".join(result.stderr.split()) for part in told)
    assert not (tmp_path / "out").exists()


def test_a_bad_image_is_named_and_the_others_are_done(hidiff, trained, images, tmp_path):
    (images / "case-001.png").write_bytes(b"cut off")
    result = hidiff("predict", trained, images, "--output", tmp_path / "out", "--steps", "1")
    assert result.exit_code == 1
    assert "2 of 3 images are done" in result.stdout
    assert "case-001.png cannot be read" in result.stderr
    assert len(list((tmp_path / "out").glob("*_labels.png"))) == 2


@pytest.mark.parametrize("format", ["png", "tiff", "npz"])
def test_results_are_not_overwritten_unasked(hidiff, trained, images, tmp_path, format):
    words = (trained, images / "case-000.png", "--output", tmp_path / "out", "--format", format)
    assert hidiff("predict", *words).exit_code == 0
    again = hidiff("predict", *words)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert hidiff("predict", *words, "--overwrite").exit_code == 0


def test_only_what_is_missing_or_unfinished_is_done_with_continue(
    hidiff, trained, images, tmp_path
):
    out = tmp_path / "out"
    words = ("predict", trained, images, "--output", out, "--steps", "1")
    assert hidiff(*words).exit_code == 0
    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    (out / "case-001_labels.png").unlink()  # as a run leaves it that is killed while it writes
    (out / ".case-001_labels.png.abcd1234").mkdir()
    assert hidiff(*words).exit_code == 2
    result = hidiff(*words, "--continue")
    assert result.exit_code == 0, result.output
    assert "3 of 3 images are done, 2 of them before" in result.stdout
    after = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    assert after.keys() == before.keys()
    changed = {name for name in before if after[name] != before[name]}
    assert changed and all(name.startswith("case-001") for name in changed)
    assert "3 of them before" in hidiff(*words, "--continue").stdout


def test_a_case_that_cannot_be_written_is_named_and_the_others_done(
    hidiff, trained, images, tmp_path, monkeypatch
):
    write = writers.write_prediction

    def refuse_one(prediction, *args, **kwargs):
        if prediction.name == "case-001":
            raise AttributeError("no birth date")  # as libraries do, of tags that are missing
        return write(prediction, *args, **kwargs)

    monkeypatch.setattr(writers, "write_prediction", refuse_one)
    out = tmp_path / "out"
    result = hidiff("predict", trained, images, "--output", out, "--steps", "1")
    assert result.exit_code == 1
    assert "2 of 3 images are done" in result.stdout
    assert "case-001.png: AttributeError: no birth date" in result.stderr
    assert len(list(out.glob("*_labels.png"))) == 2
    assert not list(out.glob(".*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "vessel", "nowhere.png"), "Did you mean vessels?"),
        (("refine", "vessel", "nowhere.png", "--prior", "x", "--output", "y"), "mean vessels?"),
        (("evaluate", "vessel"), "Did you mean vessels?"),
        (("info", "vessel"), "Did you mean vessels?"),
        (("pack", "vessel"), "Did you mean vessels?"),
        (("predict", "vessels", "eye.png", "--output", "masks"), "holds results of 1 of these 1"),
        (("predict", "vessels", "eye.png", "--output", "file"), "is a file. Choose a folder."),
        (("predict", "vessels", "nowhere.png", "--output", "out"), "nothing lies at nowhere.png"),
        (("evaluate", "vessels", "--output", "judged"), "holds an evaluation already"),
        (("evaluate", "vessels", "--output", "new", "--data", "no"), "no folder at no (--data)"),
        (("refine", "vessels", "eye.png", "--prior", ".", "--output", "out"), "Use hidiff predict"),
        (("train", "nothing"), "there is no folder and no recipe nothing"),
    ],
)
def test_mistakes_are_told_without_torch(tmp_path, words, said):
    Image.new("RGB", (64, 64)).save(tmp_path / "eye.png")
    for file in ("masks/eye_labels.png", "file", "judged/rows.csv"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    # an import of torch is an error there
    code = "import sys; sys.modules['torch'] = None; from hidiff.cli.app import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 2, result.stderr
    assert said in " ".join(result.stderr.split())
    assert len(result.stderr.splitlines()) == 1


def test_two_images_of_one_name_are_refused(hidiff, trained, images, data, tmp_path):
    twice = (images / "case-000.png", data / "images" / "case-000.png")
    result = hidiff("predict", trained, *twice, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "would both be written as case-000" in result.stderr


def test_what_is_no_image_is_passed_over_and_said(hidiff, trained, images, tmp_path):
    (images / "notes.txt").write_text("hello")
    result = hidiff("predict", trained, images, "--output", tmp_path / "out", "--steps", "1")
    assert result.exit_code == 0
    assert "1 files" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.png", "--output", "out"), "nothing lies at nowhere.png"),
        (("empty", "--output", "out"), "holds no image"),
        (("image.png", "--output", "out", "--steps", "99"), "T = 3"),
    ],
)
def test_bad_usage_ends_at_once(hidiff, trained, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "image.png")
    result = hidiff("predict", trained, *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_full_disk_ends_the_command(hidiff, trained, images, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "out/case-000.png")

    monkeypatch.setattr(writers, "write_prediction", full)
    result = hidiff("predict", trained, images, "--output", tmp_path / "out", "--steps", "1")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr


def test_a_model_of_stage_1_gives_its_own_masks_and_says_so(hidiff, trained, images, tmp_path):
    words = (images / "case-000.png", "--output", tmp_path, "--format", "npz")
    result = hidiff("predict", trained / "stage1.safetensors", *words)
    assert result.exit_code == 0
    assert "no trained refiner" in result.stderr
    with np.load(tmp_path / "case-000.npz") as arrays:
        np.testing.assert_array_equal(arrays["labels"], arrays["prior_labels"])
