"""Runs that share a folder: who holds a case, what a dead run leaves, who takes over."""

import json
import multiprocessing
import os
import socket
import time

import psutil

from hidiff.cli import claims as claims_module
from hidiff.cli.claims import SCRATCH, SILENCE, Claims, others_at_work, sweep


def dead_process() -> int:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    return process.pid


def write_lock(file, pid, host=None, started=0.0):
    file.write_text(json.dumps({"host": host or socket.gethostname(), "pid": pid,
                                "started": started}))  # fmt: skip


def take(folder, stems, results):
    """Claim every case, and hold each for a moment."""
    with Claims(folder) as claims:
        for stem in stems:
            with claims.claim(stem) as held:
                if held and not (folder / stem).exists():
                    time.sleep(0.002)
                    with open(folder / stem, "x"):  # raises if another process is here too
                        results.put(stem)


def test_processes_do_each_case_once(tmp_path):
    stems = [f"case{number}" for number in range(40)]
    for stem in stems[::4]:  # leftovers, which all processes want to take over
        write_lock(tmp_path / f".{stem}.case.lock", dead_process())
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=take, args=(tmp_path, stems, results)) for _ in range(4)]
    for process in processes:
        process.start()
    done = [results.get(timeout=60) for _ in stems]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(done) == sorted(stems)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_case_held_by_a_living_process_is_left_alone(tmp_path):
    started = psutil.Process(os.getppid()).create_time()
    lock = tmp_path / ".a.case.lock"
    write_lock(lock, os.getppid(), started=started)
    with Claims(tmp_path) as claims, claims.claim("a") as held:
        assert not held
    assert lock.exists()


def test_another_machine_is_believed(tmp_path):
    write_lock(tmp_path / ".a.case.lock", dead_process(), host="elsewhere")
    with Claims(tmp_path) as claims, claims.claim("a") as held:
        assert not held


def test_a_machine_that_gives_no_sign_of_life_is_not_believed_any_more(tmp_path):
    case, run = tmp_path / ".a.case.lock", tmp_path / ".elsewhere-1.run.lock"
    for lock in (case, run):
        write_lock(lock, 1, host="elsewhere")
    with Claims(tmp_path) as claims:
        assert others_at_work(tmp_path)
        with claims.claim("a") as held:
            assert not held
        silent = time.time() - SILENCE - 5
        os.utime(run, (silent, silent))
        with claims.claim("a") as held:
            assert held
    with Claims(tmp_path):
        assert not run.exists()


def test_a_run_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_module, "SIGN_OF_LIFE", 0.01)
    with Claims(tmp_path):
        (run,) = tmp_path.glob(".*.run.lock")
        os.utime(run, (1, 1))
        end = time.monotonic() + 10
        while run.stat().st_mtime < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert run.stat().st_mtime > 2


def test_a_number_that_another_process_has_now_is_no_claim(tmp_path):
    write_lock(tmp_path / ".a.case.lock", os.getppid(), started=1.0)
    with Claims(tmp_path) as claims, claims.claim("a") as held:
        assert held


def test_a_run_is_seen_by_others_until_it_ends(tmp_path):
    assert not others_at_work(tmp_path)
    with Claims(tmp_path):
        assert others_at_work(tmp_path)
    assert not others_at_work(tmp_path)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_dead_runs_go_and_those_of_living_ones_stay(tmp_path):
    write_lock(tmp_path / ".dead.case.lock", dead_process())
    for name in (f".dead{SCRATCH}abcd1234", ".dead_labels.png.abcd_123", ".lost.nii.gz.abcd1234"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    parent = psutil.Process(os.getppid()).create_time()
    write_lock(tmp_path / ".live.case.lock", os.getppid(), started=parent)
    kept = [tmp_path / f".live{SCRATCH}abcd1234", tmp_path / ".git", tmp_path / "a.png"]
    for path in kept:
        path.mkdir()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / ".live.case.lock"])
