"""The recipes that come with HiDiff hold, and are found by name."""

import tomllib
from pathlib import Path

import pytest

from hidiff.cli.recipes import find_recipe, shipped_recipes
from hidiff.recipe import read_recipe

ROOT = Path(__file__).parents[2]
NAMES = sorted(file.stem for file in (ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_holds_and_is_called_like_its_file(name):
    assert read_recipe(find_recipe(Path(name))).name == name


def test_a_path_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brain").write_text("name: mine")
    assert find_recipe(Path("brain")) == Path("brain")


def test_an_unknown_recipe_is_refused_with_those_that_there_are():
    with pytest.raises(FileNotFoundError, match=r"brian.*brain, .*drive"):
        find_recipe(Path("brian"))


def test_a_wheel_carries_the_recipes():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]["wheel"]
    assert wheel["force-include"]["recipes"] == "hidiff/recipes"


def test_all_recipes_are_found_by_name():
    assert list(shipped_recipes()) == NAMES
