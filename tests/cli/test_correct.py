"""`hidiff correct`: marks from a file, sessions to go on with, and mistakes told at once."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def place(data, tmp_path, monkeypatch):
    """A folder with an image and its marks."""
    image = sorted((data / "images").iterdir())[0]
    shutil.copy(image, tmp_path / "eye.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_marks(*marks):
    with open("marks.json", "w", encoding="utf-8") as file:
        json.dump(marks, file)
    return "marks.json"


def read_labels(folder="masks"):
    with Image.open(f"{folder}/eye_labels.png") as opened:
        return np.asarray(opened) > 0


CLICK = {"point": [10, 20], "label": "curve", "radius": 3}


def test_marks_of_every_kind_are_obeyed(hidiff, trained, place):
    painted = np.zeros((64, 64), dtype=np.uint8)
    painted[40:44, 40:50] = 255
    Image.fromarray(painted).save("painted.png")
    marks = write_marks(
        CLICK,
        {"points": [[30, 5], [30, 25]], "label": "background", "radius": 1},
        {"mask": "painted.png", "label": "curve"},
        {"lock_mask": "painted.png"},
        {"point": [42, 45], "label": "background"},
        {"points": [[50, 5], [55, 25]], "label": "curve", "exact": False},
        {"lock": "curve"},
    )
    done = hidiff("correct", trained, "eye.png", "--marks", marks, "--reach-px", 8)
    assert done.exit_code == 0, done.output
    assert "7 marks are made" in done.stdout and "marked pixels are locked" in done.stderr
    labels = read_labels()
    assert labels[10, 20] and not labels[30, 15] and labels[40:44, 40:50].all()


def test_a_session_is_saved_and_gone_on_with(hidiff, trained, place):
    first = hidiff(
        "correct", trained, "eye.png", "--marks", write_marks(CLICK), "--session", "eye.session"
    )
    assert first.exit_code == 0 and "wrote eye.session" in first.stdout
    again = hidiff("correct", trained, "eye.png", "--session", "eye.session")
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    marks = write_marks({"point": [50, 50], "label": "curve", "radius": 3})
    words = ("correct", trained, "eye.png", "--marks", marks, "--session", "eye.session")
    second = hidiff(*words, "--output", "more")
    assert second.exit_code == 0, second.output
    labels = read_labels("more")
    assert labels[10, 20] and labels[50, 50]
    other = hidiff(*words, "--output", "other", "--steps", 2)
    assert other.exit_code == 2 and "there already, with its own start" in other.stderr


def test_a_given_mask_is_written_as_it_was_but_for_the_marks(hidiff, trained, place):
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:30, 20:30] = 255
    Image.fromarray(mask).save("old.png")
    done = hidiff(
        "correct", trained, "eye.png", "--mask", "old.png", "--marks",
        write_marks({"lock_mask": "old.png"}),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert np.array_equal(read_labels(), mask > 0)


MISTAKES = {
    "no marks": ([], None, "there is nothing to do"),
    "not JSON": (["--marks", "eye.png"], None, "eye.png does not read as JSON"),
    "no list": ([], {"point": [1, 2]}, "holds a dict, but a list of marks is wanted"),
    "unknown key": ([], [{"place": [1, 2], "label": "curve"}], "marks.json, mark 1: place:"),
    "two places": ([], [CLICK, {**CLICK, "mask": "a"}], "mark 2: it has point and mask"),
    "no label": ([], [{"point": [1, 2]}], "mark 1: it has no label"),
    "unknown label": ([], [{**CLICK, "label": "liver"}], "this model has curve, background"),
    "radius": ([], [{**CLICK, "radius": -1}], "radius: Input should be greater"),
    "no mask": ([], [{"mask": "no.png", "label": "curve"}], "nothing lies at no.png"),
    "outside": ([], [{**CLICK, "point": [1, 64]}], "mark 1 of 1: a mark's point is row 1"),
    "two starts": (["--mask", "a", "--prior", "b"], [CLICK], "leave one out"),
    "no start": (["--mask", "a.png"], [CLICK], "--mask a.png: nothing lies there"),
    "reach": (["--reach-px", "-1"], [CLICK], "reach-px"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_in_a_line(hidiff, trained, place, what):
    words, marks, message = MISTAKES[what]
    if marks is not None:
        with open("marks.json", "w", encoding="utf-8") as file:
            json.dump(marks, file)
        words = ["--marks", "marks.json", *words]
    done = hidiff("correct", trained, "eye.png", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output and not (place / "masks").exists()


def test_a_misspelt_label_is_told_before_torch_is_imported(trained, place):
    write_marks({**CLICK, "label": "curv"})
    code = (
        "import sys; from hidiff.cli import app\n"
        f"try: app(['correct', {str(trained)!r}, 'eye.png', '--marks', 'marks.json'])\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"], done.stderr
