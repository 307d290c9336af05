"""`hidiff pack`: a file that predict, evaluate and info take; what cannot be packed is told."""

import json
import shutil

import pytest

from hidiff.packed import int8
from hidiff.packed.int8 import int8_problem


def test_a_packed_model_is_taken_like_any_other(hidiff, trained, data, tmp_path):
    file = tmp_path / "small.safetensors"
    words = ("--steps", "2", "--condition-storage", "int8", "--segmentor-storage", "half")
    result = hidiff("pack", trained, "--output", file, *words)
    assert result.exit_code == 0, result.output
    assert "times smaller" in result.stdout

    described = hidiff("info", file)
    told = (
        "packed for the steps 3, 2, condition blocks in int8 (computed in float32), segmentor in "
        "half"
    )
    assert told in described.stdout.replace("\n", " ")
    image = sorted((data / "images").iterdir())[0]
    result = hidiff("predict", file, image, "--output", tmp_path / "masks")
    assert result.exit_code == 0, result.output
    assert list((tmp_path / "masks").glob("*.png"))
    result = hidiff("evaluate", file, "--output", tmp_path / "judged", "--no-report")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "judged" / "summary.json").read_text())["num_cases"] == 2

    again = hidiff("pack", trained, "--output", file)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


@pytest.mark.skipif(bool(int8_problem()), reason=int8_problem())
def test_a_model_computed_in_int8_says_so_and_predicts(hidiff, trained, data, tmp_path):
    file = tmp_path / "quick.safetensors"
    result = hidiff("pack", trained, "--output", file, "--condition-compute", "int8")
    assert result.exit_code == 0, result.output
    described = hidiff("info", file)
    assert "condition blocks in float32 (computed in int8)" in described.stdout.replace("\n", " ")
    image = sorted((data / "images").iterdir())[0]
    result = hidiff("predict", file, image, "--output", tmp_path / "masks")
    assert result.exit_code == 0, result.output


def test_where_int8_cannot_be_computed_it_is_refused_in_a_line(
    hidiff, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(int8, "int8_problem", lambda: "this processor has none")
    words = ("--output", tmp_path / "a.safetensors", "--condition-compute", "int8")
    result = hidiff("pack", trained, *words)
    assert result.exit_code == 2
    assert "--condition-compute float32" in " ".join(result.stderr.split())
    assert not (tmp_path / "a.safetensors").exists()


def test_without_output_it_lies_beside_the_model(hidiff, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    assert hidiff("pack", run).exit_code == 0
    assert (run / "packed.safetensors").is_file()
    assert "is packed already" in hidiff("pack", run / "packed.safetensors").stderr


def test_what_cannot_be_packed_is_told_in_a_line(hidiff, trained, tmp_path):
    output = ("--output", tmp_path / "a.safetensors")
    result = hidiff("pack", trained / "stage1.safetensors", *output)
    assert result.exit_code == 2
    assert "no trained refiner (it is of stage1)" in " ".join(result.stderr.split())
    result = hidiff("pack", trained, *output, "--steps", "4")
    assert result.exit_code == 2
    assert "T = 3" in result.stderr
    result = hidiff("pack", trained, "--output", tmp_path / "a.pt")
    assert result.exit_code == 2
    assert ".safetensors" in result.stderr
