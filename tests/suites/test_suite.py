"""Suites are read with clear errors, and all suites of research/ are valid."""

import tomllib
from pathlib import Path

import pytest

from hidiff.cli.recipes import find_recipe
from hidiff.suites import SuiteError, list_runs, read_suite
from hidiff.suites.identity import identify

ROOT = Path(__file__).parents[2]
SUITES = ROOT / "research" / "suites"
NAMES = sorted(file.stem for file in SUITES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_holds_and_is_called_like_its_file(name):
    file = SUITES / f"{name}.yaml"
    suite = read_suite(file)
    assert suite.name == name
    assert list_runs(suite, file, find_recipe)


@pytest.mark.parametrize("name", NAMES)
def test_suites_stay_within_the_small_budget(name):
    file = SUITES / f"{name}.yaml"
    for run in list_runs(read_suite(file), file, find_recipe):
        assert run.recipe.refiner.width <= 16
        assert max(run.recipe.data.patch_size) <= 128


def test_all_arms_but_those_that_change_it_share_stage_1():
    file = SUITES / "main.yaml"
    runs = list_runs(read_suite(file), file, find_recipe)
    for data in {run.data for run in runs}:
        first, *others = [run for run in runs if (run.data, run.seed) == (data, 0)]
        assert others and all(identify(run.stage1) == identify(first.stage1) for run in others)


def test_neither_wheel_nor_sdist_has_research():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert build["wheel"]["packages"] == ["src/hidiff"]
    assert build["wheel"]["force-include"] == {"recipes": "hidiff/recipes"}
    assert "/research" in build["sdist"]["exclude"]


GOOD = "name: mine\nrecipes:\n  eyes: {recipe: drive}\n"


@pytest.mark.parametrize(
    "text, message",
    [
        (GOOD + "seed: 1\n", r"mine.yaml: seed is no key of a suite. Known here: name, seeds"),
        (GOOD.replace("recipe:", "recipy:"), r"recipes.eyes.recipy is no key.*Known here: recipe"),
        ("name: mine\n", "recipes is missing"),
        (GOOD.replace("drive}", "drive, stage1_changes: {seed: 1}}"), "but no stage1 that"),
        ("- 1\n", "holds no suite"),
        ("a: [\n", "is not YAML"),
        (GOOD + "arms: {hybrid: {refiner.width: 8}}\n", "arm hybrid changes nothing"),
        (GOOD.replace("drive}", "drive, arms: [best]}"), "wants the arm 'best'"),
        (
            GOOD.replace("drive}", "drive, corruptions: [fog]}"),
            "corruption is 'fog', but must be one of blur",
        ),
    ],
)
def test_what_does_not_hold_is_said_with_its_place(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(SuiteError, match=message):
        read_suite(file)


def test_a_bare_name_is_refused_and_the_message_says_where_suites_are():
    with pytest.raises(FileNotFoundError, match=r"no suite at main\..*research/suites/main.yaml"):
        read_suite(Path("main"))


def test_a_segmentor_from_elsewhere_must_be_of_the_same_kind(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\nrecipes: {eyes: {recipe: mini/drive.yaml, stage1: mini/kvasir_seg.yaml}}\n"
    )
    with pytest.raises(SuiteError, match="brings the segmentor efficientnet_lite0_unet from"):
        list_runs(read_suite(file), file, lambda path: SUITES / path)


def test_an_arm_may_train_on_other_patients_than_stage_1_did():
    file = SUITES / "held_out.yaml"
    runs = {run.arm: run for run in list_runs(read_suite(file), file, find_recipe)}
    assert all(run.stage1 == runs["hybrid"].stage1 for run in runs.values())
    folds = {arm: run.recipe.data.splitting.fold for arm, run in runs.items()}
    assert folds == {"stage1": 0, "hybrid": 0, "held-out priors": 1}
    for run in runs.values():
        assert run.stage1.data.splitting.fold == 0 and run.stage1.data.splitting.folds == 2
        assert run.recipe.segmentor == run.stage1.segmentor
