"""The page of organs shows each organ's own gain, and whether small ones gain more."""

import numpy as np
import pytest

from hidiff.metrics import write_csv
from hidiff.suites import Results
from research.pages import organs_page, reading
from tests.research.made_up import HERE

GAINS = dict(zip(organs_page.ORGANS, np.linspace(0.08, 0.01, 8), strict=True))


def add(results: Results, arm: str, **changes) -> None:
    """Add a row of 12 patients, each organ with its gain; ties would make the test slow."""
    cases = [
        {
            **{"case": f"case{n}", "group": f"case{n}", "class": organ, "source": source},
            "dice": 0.5 + 0.01 * n + (gain + 1e-5 * n if source == "refined" else 0.0),
            "hd95": 9.0 - (gain + 1e-5 * n if source == "refined" else 0.0),
        }
        for n in range(12)
        for organ, gain in GAINS.items()
        for source in ("prior", "refined")
    ]
    file = f"cases/{arm}.csv"
    (results.folder / "cases").mkdir(parents=True, exist_ok=True)
    write_csv(cases, results.folder / file)
    row = {
        "version": 2, "suite": "abdomen_brain", "data": "Synapse, FPN", "arm": arm, "seed": 0,
        "evaluation": "test", "hardware": HERE, "judged_sha256": "same", "look": {},
        "flops": {"stage1": 3, "joint": 1}, "cases": file, **changes,
    }  # fmt: skip
    results.add(row)


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path / "abdomen_brain")


def page_of(results, tmp_path, monkeypatch) -> str:
    monkeypatch.setattr(organs_page, "read_suites", lambda: {"abdomen_brain": results})
    monkeypatch.setattr(organs_page, "DOCS", tmp_path)
    organs_page.main()
    return (tmp_path / "organs.md").read_text(encoding="utf-8")


def test_each_organ_has_its_own_gain_and_small_ones_gain_most(results, tmp_path, monkeypatch):
    add(results, "frozen")
    page = page_of(results, tmp_path, monkeypatch)
    assert "| gallbladder | +0.080 [+0.080, +0.080] |" in page
    assert "| liver | +0.010 [+0.010, +0.010] |" in page
    assert "| 1,200 steps | 25 % | frozen, its own prior | 0.555 | 0.600 | +0.045 [+0.045" in page
    gap = np.mean(list(GAINS.values())[:3]) - np.mean(list(GAINS.values())[-3:])
    assert f"| +{gap:.3f} [+{gap:.3f}, +{gap:.3f}] (better) |" in page


def test_only_comparisons_that_have_rows_are_shown(results, tmp_path, monkeypatch):
    add(results, "frozen")
    assert page_of(results, tmp_path, monkeypatch).count("\n| 1,200 steps") == 1
    add(results, "hybrid", rates={"0.001": 0.5})
    add(results, "segmentor_only", rates={"0.001": 0.5})
    assert page_of(results, tmp_path, monkeypatch).count("\n| 1,200 steps") == 4
    add(results, "frozen, last fifth", data="Synapse after 6000 steps, FPN")
    assert page_of(results, tmp_path, monkeypatch).count("\n| 6,000 steps") == 1


def test_rows_of_one_rate_make_way_for_those_of_the_best():
    plain = {"data": "eyes", "look": {}, "rates": None}
    former, kept = ({**plain, "arm": arm} for arm in ("hybrid", "stage1"))
    other = {**former, "data": "heart"}
    best = {**former, "rates": {"0.001": 0.5}}
    tried = {**former, "look": {"split": "validation"}}
    rows = [former, tried, kept, other, best]
    assert reading.without_former_rates(rows) == [kept, other, best]
    assert reading.without_former_rates([former, tried, kept]) == [former, kept]
