"""The rows of a run: what is kept of them when it is resumed."""

import json

import pytest

from hidiff.training import log
from hidiff.training.log import RunLog
from hidiff.training.state import Progress

STEPS = [("stage1", 1), ("stage1", 2), ("stage1", 3), ("in_turns", 1), ("in_turns", 2)]


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder, resumed=None, steps=STEPS, **options):
    log = RunLog(folder, resumed, **options)
    for stage, step in steps:
        log.row("train", stage, step, loss=step / 10)
    log.close()


def test_a_row_a_step_in_the_order_of_the_run(tmp_path):
    write(tmp_path / "new")
    rows = rows_of(tmp_path / "new")
    assert [(row["stage"], row["step"]) for row in rows] == STEPS
    assert [row["loss"] for row in rows] == [0.1, 0.2, 0.3, 0.1, 0.2]
    assert all(row["kind"] == "train" and row["seconds"] >= 0 for row in rows)


@pytest.mark.parametrize(
    ("stage", "step", "kept"),
    [("stage1", 2, 2), ("stage1", 3, 3), ("in_turns", 1, 4), ("in_turns", 2, 5), ("other", 0, 5)],
)
def test_rows_after_the_checkpoint_are_dropped_those_of_later_stages_too(
    tmp_path, stage, step, kept
):
    write(tmp_path)
    write(tmp_path, Progress(stage, step), steps=[])
    assert [(row["stage"], row["step"]) for row in rows_of(tmp_path)] == STEPS[:kept]


@pytest.mark.parametrize("torn", ['{"kind": "train", "sta', '{"stage": "in_turns", "step": 2}'])
def test_a_row_that_the_kill_tore_is_dropped(tmp_path, torn):
    write(tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    write(tmp_path, Progress("in_turns", 2), steps=[("in_turns", 3)])
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2, 3, 1, 2, 3]


def test_a_new_run_begins_a_new_file(tmp_path):
    write(tmp_path)
    write(tmp_path, steps=STEPS[:1])
    assert len(rows_of(tmp_path)) == 1


def test_the_clock_goes_on_where_it_stopped(tmp_path):
    write(tmp_path, Progress("stage1", 0, seconds=3600.0), steps=STEPS[:1])
    assert 3600 <= rows_of(tmp_path)[0]["seconds"] < 3700


def test_a_silent_log_writes_nothing(tmp_path):
    log = RunLog(tmp_path / "none", silent=True)
    log.begin("stage1", 0, 3)
    log.row("train", "stage1", 1, loss=1.0)
    log.advance({"loss": 1.0})
    log.say("hello")
    log.close()
    assert not (tmp_path / "none").exists()


def test_without_a_terminal_a_line_comes_every_half_minute(tmp_path, monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    run = log.RunLog(tmp_path)
    run.begin("stage1", 0, 300)
    for step in range(150):
        clock[0] += 1.0
        run.advance({"segmentor": 0.5} if step == 10 else {})
    run.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "stage1: step 0 of 300"
    assert lines[1] == "stage1: step 31 of 300, segmentor 0.500, 1 s a step, " + (
        "about 4 min left in this stage"
    )
    assert len(lines) == 1 + 4  # at 31, 62, 93 and 124 s
