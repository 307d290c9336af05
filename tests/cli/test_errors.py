"""Mistakes become one clear message and exit code 2; our own faults keep their traceback."""

import errno

import pytest

from hidiff.cli.errors import DEBUG_VARIABLE, explain
from hidiff.images import DataError
from hidiff.recipe import RecipeError
from hidiff.training import NotFiniteError


@pytest.mark.parametrize("kind", [RecipeError, DataError, NotFiniteError, ImportError])
def test_our_errors_are_told_in_their_own_words(kind):
    assert explain(kind("what came, what is wanted")) == "what came, what is wanted"


def test_a_bare_value_error_says_how_to_see_its_place():
    assert DEBUG_VARIABLE in str(explain(ValueError("cannot reshape")))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_file_that_cannot_be_written_is_named(number):
    error = OSError(number, "what the system says", "runs/a.png")
    assert str(explain(error)).startswith("runs/a.png: what the system says.")


def test_faults_of_the_program_are_not_explained_away():
    assert explain(AssertionError()) is None
    assert explain(TypeError("no")) is None
    assert explain(BrokenPipeError()) is None


def test_a_mistake_is_red_words_and_exit_code_2(hidiff, tmp_path, monkeypatch):
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    result = hidiff("info", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {tmp_path} holds none of best.safetensors")
    assert "Traceback" not in result.output


def test_the_debug_variable_shows_the_place(hidiff, tmp_path, monkeypatch):
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    result = hidiff("info", tmp_path)
    assert isinstance(result.exception, ValueError)
