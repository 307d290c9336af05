"""Every arm takes its own best rate on validation cases, and only that one is tested."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml

from hidiff.labels import MEAN
from hidiff.recipe import write_recipe
from hidiff.suites import benchmark as machinery
from hidiff.suites import list_runs, read_results, read_suite, run_suite
from hidiff.suites.rates import choose_rate, list_candidates
from hidiff.suites.suite import SuiteError
from hidiff.training import Trainer
from tests.tiny import make_tiny, skip_counting

RATES = (1e-4, 0.05)
ARMS = {
    "stage1": None,
    "segmentor_only": None,
    "hybrid": None,
    "frozen": {"training.segmentor": "frozen"},
    "its own": {"training.segmentor_rate": 2e-4},
}


def write_suite(folder: Path, rates: Sequence[float] = RATES) -> Path:
    write_recipe(make_tiny(folder), folder / "tiny.yaml")
    content = {
        "name": "rates",
        "seeds": [0, 1],
        "arms": ARMS,
        "recipes": {"curves": {"recipe": "tiny.yaml", "rates": list(rates)}},
    }
    file = folder / "rates.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def runs_of(file: Path):
    return list_runs(read_suite(file), file, lambda path: path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """The suite's file, and the folders of its results and its runs."""
    folder = tmp_path_factory.mktemp("rates")
    file = write_suite(folder)
    with pytest.MonkeyPatch.context() as patch:
        skip_counting(patch)
        run_suite(
            runs_of(file),
            read_results(folder / "results"),
            folder / "runs",
            torch.device("cpu"),
            lambda text: None,
        )
    return file, folder / "results", folder / "runs"


def rows_of(results, arm: str, seed: int):
    """Return the rows of an arm and a seed, in their order."""
    return [row for row in results.rows if (row["arm"], row["seed"]) == (arm, seed)]


def test_arms_that_train_the_segmentor_try_every_rate_and_test_the_best(done):
    results = read_results(done[1])
    for arm in ("segmentor_only", "hybrid"):
        rows = {row["evaluation"]: row for row in rows_of(results, arm, 0)}
        assert rows.keys() == {"rate 0.0001", "rate 0.05", "test"}
        source = "prior" if arm == "segmentor_only" else "refined"
        scores = {
            rate: rows[f"rate {rate:g}"]["metrics"][MEAN]["dice"][source][0] for rate in RATES
        }
        best = max(scores, key=scores.__getitem__)
        assert scores[RATES[0]] != scores[RATES[1]]
        assert rows["test"]["rates"] == {f"{rate:g}": dice for rate, dice in scores.items()}
        assert rows["test"]["changes"] == {"training.segmentor_rate": best}
        trained = results.recipes[rows["test"]["resolved_recipe"]]["training"]
        assert trained["segmentor_rate"] == best


def test_the_first_seed_chooses_for_all(done):
    results = read_results(done[1])
    for arm in ("segmentor_only", "hybrid"):
        *_, first = rows_of(results, arm, 0)
        (second,) = rows_of(results, arm, 1)
        assert first["evaluation"] == second["evaluation"] == "test"
        assert second["rates"] == first["rates"] and second["changes"] == first["changes"]


def test_rates_are_compared_on_validation_cases(done):
    results = read_results(done[1])
    cases = {
        row["evaluation"]: {case["case"] for case in results.cases(row)}
        for row in results.rows
        if row["arm"] == "hybrid"
    }
    assert cases["rate 0.0001"] == cases["rate 0.05"]
    assert not cases["rate 0.0001"] & cases["test"]


def test_arms_without_a_choice_are_trained_once(done):
    for row in read_results(done[1]).rows:
        if row["arm"] in ("stage1", "frozen", "its own"):
            assert row["evaluation"] == "test" and row["rates"] is None
    trained = [folder.name for folder in done[2].iterdir()]
    assert sum("_hybrid_seed0_" in name for name in trained) == 2
    assert len([name for name in trained if "_seed0_" in name]) == 1 + 2 + 2 + 1 + 1
    assert len([name for name in trained if "_seed1_" in name]) == 1 + 1 + 1 + 1 + 1


def test_twice_chooses_the_same_and_trains_nothing(done, monkeypatch):
    file, folder, runs = done
    before = (folder / "rows.jsonl").read_text(encoding="utf-8")
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(machinery, "judge_model", lambda *_: pytest.fail("judged again"))
    run_suite(runs_of(file), read_results(folder), runs, torch.device("cpu"), lambda text: None)
    assert (folder / "rows.jsonl").read_text(encoding="utf-8") == before


def test_a_row_at_one_rate_does_not_count_as_chosen(done):
    file, folder, _ = done
    results = read_results(folder)
    run = next(run for run in runs_of(file) if run.arm == "hybrid")
    rows = [
        results.find(machinery.identify_row(candidate, name, evaluation))
        for candidate in list_candidates(run)
        for name, evaluation in candidate.evaluations.items()
    ]
    chosen = choose_rate(run, [row for row in rows if row])
    wanted = machinery.identify_row(chosen, "test", chosen.evaluations["test"])
    row = results.find(wanted)
    assert row is not None
    del row["rates"]  # as in rows that are older than the choice
    assert results.find(wanted) is None


def scored(**dice: float) -> dict:
    return {"metrics": {MEAN: {"dice": {source: [value] for source, value in dice.items()}}}}


@pytest.mark.parametrize(
    "rows, best",
    [
        ([scored(prior=0.5), scored(prior=0.6)], RATES[1]),
        ([scored(prior=0.6), scored(prior=0.5)], RATES[0]),
        ([scored(prior=0.5), scored(prior=0.5)], RATES[0]),
        ([scored(prior=float("nan")), scored(prior=0.1)], RATES[1]),
        ([scored(prior=0.9, refined=0.1), scored(prior=0.1, refined=0.2)], RATES[1]),
    ],
)
def test_the_best_is_the_highest_of_the_arms_own_masks(tmp_path, rows, best):
    _, run, *_ = runs_of(write_suite(tmp_path))
    chosen = choose_rate(run, rows)
    assert chosen.recipe.training.segmentor_rate == best
    assert chosen.evaluations == run.evaluations
    rates = [each.recipe.training.segmentor_rate for each in list_candidates(run)]
    assert tuple(rates) == RATES


def test_no_dice_on_validation_is_an_error(tmp_path):
    _, run, *_ = runs_of(write_suite(tmp_path))
    nothing = scored(prior=float("nan"))
    with pytest.raises(SuiteError, match=r"curves, segmentor_only, seed 0: no rate has a Dice"):
        choose_rate(run, [nothing, nothing])


@pytest.mark.parametrize("rates", [[1e-3, 1e-3], [0], [-1e-3]])
def test_rates_must_be_above_0_and_differ(tmp_path, rates):
    with pytest.raises(SuiteError, match=r"curves\.rates: rates are .* must be above 0 and differ"):
        read_suite(write_suite(tmp_path, rates))
