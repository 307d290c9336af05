"""A suite on drawn images: finished runs are skipped, and an interrupted run continues."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from hidiff import experiment
from hidiff.recipe import write_recipe
from hidiff.suites import Results, list_runs, read_results, read_suite, run_suite
from hidiff.suites import benchmark as machinery
from hidiff.suites.rows import MEASURED
from hidiff.suites.suite import SuiteError
from hidiff.training import Trainer
from tests.tiny import make_tiny, skip_counting

CPU = torch.device("cpu")


def write_suite(folder: Path) -> Path:
    """Two seeds of three arms; one more arm, sizes, noise; stage 1 from elsewhere: 9 trainings."""
    write_recipe(make_tiny(folder, prediction={"steps": 2}), folder / "tiny.yaml")
    write_recipe(make_tiny(folder, training={"stage1_steps": 1}), folder / "other.yaml")
    content = {
        "name": "tiny_suite",
        "seeds": [0, 1],
        "arms": {
            "stage1": None,
            "segmentor_only": None,
            "hybrid": None,
            "real": {"refiner.precision": "real"},
        },
        "recipes": {
            "curves": {"recipe": "tiny.yaml", "arms": ["stage1", "segmentor_only", "hybrid"]},
            "the same": {
                "recipe": "tiny.yaml",
                "seeds": [0],
                "arms": ["segmentor_only", "hybrid", "real"],
                "sizes": "objects",
                "evaluations": {
                    "test": None,
                    "two samples": {"prediction": {"samples": 2}, "arms": ["hybrid"]},
                    "packed": {"packed": True, "arms": ["segmentor_only", "hybrid"]},
                    "clicks": {"corrections": [0, 3], "arms": ["segmentor_only", "hybrid"]},
                },
                "corruptions": ["noise"],
                "corrupted_arms": ["segmentor_only", "hybrid"],
            },
            "from elsewhere": {
                "recipe": "tiny.yaml",
                "stage1": "other.yaml",
                "seeds": [0],
                "arms": ["stage1", "hybrid"],
            },
        },
    }
    file = folder / "tiny_suite.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def run_it(file: Path, results: Path, runs: Path, say=lambda text: None) -> Results:
    found = read_results(results)
    run_suite(list_runs(read_suite(file), file, lambda path: path), found, runs, CPU, say)
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """The suite's file, and the folders of its results and its runs."""
    folder = tmp_path_factory.mktemp("suite")
    file = write_suite(folder)
    with pytest.MonkeyPatch.context() as patch:
        skip_counting(patch)
        run_it(file, folder / "results" / "tiny_suite", folder / "runs")
    return file, folder / "results" / "tiny_suite", folder / "runs"


def text_of(results: Path) -> str:
    return (results / "rows.jsonl").read_text(encoding="utf-8")


def test_every_run_and_evaluation_has_a_row(done):
    rows = read_results(done[1]).rows
    # 3 arms of two seeds; 3 arms at home, 2 under noise of 5 strengths, two samples, 2 packed, 2
    # with clicks, 2 from elsewhere
    assert len(rows) == 2 * 3 + 3 + 2 * 5 + 1 + 2 + 2 + 2
    assert {row["arm"] for row in rows} == {"stage1", "segmentor_only", "hybrid", "real"}
    assert all((done[1] / row["cases"]).is_file() for row in rows)


def test_a_row_with_corrections_has_the_scores_after_each_number_of_clicks(done):
    found = read_results(done[1])
    rows = [row for row in found.rows if row["evaluation"] == "clicks"]
    assert {row["arm"] for row in rows} == {"segmentor_only", "hybrid"}
    for row in rows:
        [name] = row["corrected"]
        assert list(row["corrected"][name]) == ["0 clicks", "3 clicks"]
        before, after = (row["corrected"][name][each] for each in ("0 clicks", "3 clicks"))
        assert after["dice"][0] > before["dice"][0] and before["collateral"][0] == 0
        cases = found.cases(row, "corrections")
        means = {
            band: np.mean([each["dice"] for each in cases if each["band"] == band])
            for band in ("0 clicks", "3 clicks")
        }
        assert means["3 clicks"] == pytest.approx(after["dice"][0])
    assert not any("corrected" in row for row in found.rows if row not in rows)


def test_a_packed_model_says_what_the_trained_one_says(done):
    results = read_results(done[1])
    rows = {
        row["evaluation"]: row
        for row in results.rows
        if (row["data"], row["arm"]) == ("the same", "hybrid")
    }
    assert rows["packed"]["look"] == {"packed": True} and "packed" not in rows["test"]["look"]
    assert rows["packed"]["resolved_recipe"] == rows["test"]["resolved_recipe"]
    packed, plain = (
        [row["dice"] for row in results.cases(rows[name])] for name in ("packed", "test")
    )
    assert packed == pytest.approx(plain, abs=0.01)


def test_stage_1_is_trained_once_a_seed_and_equal_runs_are_shared(done):
    trained = [folder.name for folder in done[2].iterdir()]
    assert sum("_stage1_" in name for name in trained) == 2 + 1
    assert len(trained) == 2 * 3 + 1 + 2


def test_a_segmentor_from_elsewhere_is_judged_and_trained_on_here(done):
    rows = [row for row in read_results(done[1]).rows if row["seed"] == 0]
    here, came = (
        {row["arm"]: row for row in rows if row["data"] == data and row["evaluation"] == "test"}
        for data in ("curves", "from elsewhere")
    )
    assert came["hybrid"]["stage1"] == came["hybrid"]["recipe"] and "stage1" not in here["hybrid"]
    assert came["stage1"]["steps"] == {"stage1": 1}
    assert came["hybrid"]["steps"] == {"stage1": 1, "in_turns": 2}
    for arm in came:
        assert came[arm]["resolved_stage1"] != here[arm]["resolved_stage1"]
        assert came[arm]["judged_sha256"] == here[arm]["judged_sha256"]


def test_all_arms_begin_with_the_same_stage_1_and_the_baseline_has_the_hybrids_budget(done):
    rows = [row for row in read_results(done[1]).rows if row["data"] == "curves"]
    by_arm = {row["arm"]: row for row in rows if row["seed"] == 0}
    assert by_arm["stage1"]["steps"] == {"stage1": 2}
    # tests/tiny.py has a segmentor's step cost 2, and one in turns 3
    assert by_arm["hybrid"]["flops"] == {"stage1": 4, "in_turns": 6}
    assert by_arm["segmentor_only"]["flops"] == {"stage1": 4, "segmentor_only": 6}
    assert by_arm["segmentor_only"]["images"] == {"stage1": 4, "segmentor_only": 6}


def test_twice_gives_the_same_rows_and_trains_nothing(done, monkeypatch):
    before = text_of(done[1])
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(machinery, "judge_model", lambda *_: pytest.fail("judged again"))
    said = []
    run_it(*done, say=said.append)
    assert text_of(done[1]) == before
    assert all(text.endswith("done before") for text in said)


def test_a_row_that_is_lost_is_judged_again_without_training(done, tmp_path, monkeypatch):
    file, results, runs = done
    shutil.copytree(results, tmp_path / "results")
    lines = text_of(results).splitlines(keepends=True)
    (tmp_path / "results" / "rows.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("trained again"))
    again = run_it(file, tmp_path / "results", runs).rows[-1]
    assert without_times(again) == without_times(json.loads(lines[-1]))


def without_times(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in MEASURED}


def test_a_run_that_was_cut_off_goes_on_to_the_same_row(done, tmp_path, monkeypatch):
    """Killed after the first step in turns of seed 0, with a checkpoint of every step."""
    file = write_suite(tmp_path)
    recipe = make_tiny(tmp_path, prediction={"steps": 2}, training={
        "batch_size": 2, "stage1_steps": 2, "stage2_steps": 2, "log_every": 1, "save_every": 1,
    })  # fmt: skip
    write_recipe(recipe, tmp_path / "tiny.yaml")
    content = yaml.safe_load(file.read_text())
    content["seeds"], content["arms"] = [0], {"hybrid": None}
    content["recipes"] = {"curves": {"recipe": "tiny.yaml"}}
    file.write_text(yaml.safe_dump(content))
    skip_counting(monkeypatch)
    whole = run_it(file, tmp_path / "whole", tmp_path / "runs_whole").rows

    step, calls = Trainer.step, []

    def dying(self, stage, number, batches):
        calls.append((stage.name, number))
        if calls[-1] == ("in_turns", 1) and calls.count(calls[-1]) == 1:
            raise KeyboardInterrupt
        return step(self, stage, number, batches)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        run_it(file, tmp_path / "cut", tmp_path / "runs_cut")
    assert not (tmp_path / "cut" / "rows.jsonl").is_file()
    rows = run_it(file, tmp_path / "cut", tmp_path / "runs_cut").rows
    assert calls == [
        ("stage1", 0),
        ("stage1", 1),
        ("in_turns", 0),
        ("in_turns", 1),
        ("in_turns", 1),
    ]
    assert [without_times(row) for row in rows] == [without_times(row) for row in whole]


@pytest.mark.parametrize("way", ["all", "a detour", "stage 1"])
def test_who_trained_a_model_does_not_judge_it(tmp_path, monkeypatch, way):
    """Try a whole set, another path to it, and a stage 1 from elsewhere."""
    file = write_suite(tmp_path)
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    everyone = {"splitting.redraw": True, "splitting.fractions": [0, 0, 1]}
    recipe = dict(content["recipes"]["curves"], evaluations={"all": {"data": everyone}})
    if way == "a detour":
        path = make_tiny(tmp_path).data.root
        everyone["path"] = str(path / ".." / path.name)
    if way == "stage 1":
        splitting = {"redraw": True, "fractions": [0.2, 0.2, 0.6], "seed": 1}
        came = content["recipes"]["from elsewhere"]
        recipe = dict(came, changes={"data.splitting": splitting})
    content["recipes"] = {"curves": recipe}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.setattr(machinery, "train_run", lambda *_: pytest.fail("trained before it looked"))
    with pytest.raises(SuiteError, match=r"would judge it on .* of its own training"):
        run_it(file, tmp_path / "results", tmp_path / "runs")


def test_another_split_makes_the_row_anew(done, monkeypatch):
    file, results, _ = done
    run = list_runs(read_suite(file), file, lambda path: path)[0]
    evaluation = run.evaluations["test"]
    found = read_results(results)
    assert found.find(machinery.identify_row(run, "test", evaluation))
    listed = experiment.list_splits

    def other(recipe, **options):
        splits = listed(recipe, **options)
        return {**splits, "test": splits["test"] + splits["validation"], "validation": []}

    monkeypatch.setattr(experiment, "list_splits", other)
    assert found.find(machinery.identify_row(run, "test", evaluation)) is None


def test_rows_name_the_recipes_that_they_were_made_with(done):
    file, folder, _ = done
    results = read_results(folder)
    for run in list_runs(read_suite(file), file, lambda path: path):
        for name, evaluation in run.evaluations.items():
            row = results.find(machinery.identify_row(run, name, evaluation))
            assert row is not None
            assert results.recipes[row["resolved_recipe"]] == run.recipe.model_dump(mode="json")
            assert results.recipes[row["resolved_stage1"]] == run.stage1.model_dump(mode="json")


def find_first(done, change) -> bool:
    """Change every stored recipe, and say if the row of the first run that refines is found."""
    file, folder, _ = done
    results = read_results(folder)
    for content in results.recipes.values():
        change(content)
    run = next(run for run in list_runs(read_suite(file), file, Path) if run.arm == "hybrid")
    return results.find(machinery.identify_row(run, "test", run.evaluations["test"])) is not None


def test_a_setting_that_is_younger_than_the_row_counts_with_its_default(done):
    assert find_first(done, lambda content: None)
    assert find_first(done, lambda content: content["training"].pop("last_step_share"))


def test_a_default_that_has_changed_since_separates_rows(done):
    assert not find_first(done, lambda content: content["training"].update(last_step_share=0))
    assert not find_first(done, lambda content: content["training"].update(stage1_rate=0.1))
    assert not find_first(done, lambda content: content["data"].update(foreground_share=0.1))


def test_a_row_whose_recipe_todays_settings_refuse_is_no_row_of_any_run(done):
    assert not find_first(done, lambda content: content["training"].update(retired=1))


def test_a_row_of_an_unknown_recipe_is_no_row_of_any_run(done):
    file, folder, _ = done
    results = read_results(folder)
    for row in results.rows:
        row["resolved_recipe"] = row["resolved_stage1"] = "unknown"
    for run in list_runs(read_suite(file), file, Path):
        assert results.find(machinery.identify_row(run, "test", run.evaluations["test"])) is None


def test_a_row_of_stage_1_does_not_depend_on_settings_of_the_refiner(done):
    file, folder, _ = done
    results = read_results(folder)
    for content in results.recipes.values():
        content["training"]["last_step_share"] = 0
        content["refiner"]["width"] = 16
    found = {
        run.arm: results.find(machinery.identify_row(run, "test", run.evaluations["test"]))
        for run in list_runs(read_suite(file), file, Path)
        if run.data == "curves"
    }
    assert [arm for arm, row in found.items() if row] == ["stage1"]


def test_weights_and_a_recipes_name_do_not_matter(done):
    assert find_first(done, lambda content: content.update(name="other"))
    assert find_first(done, lambda content: content["segmentor"].update(weights="elsewhere"))
