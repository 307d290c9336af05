"""A killed server's files are deleted by the next one; those of a living one are not."""

import multiprocessing
import os
import signal
import tempfile
import time

import pytest

from hidiff.serve.private import NEW_SECONDS, PrivateFolder


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files that is this test's alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold_folder(connection) -> None:
    folder = PrivateFolder()
    (folder.path / "eye.png").write_bytes(b"an image")
    connection.send(folder.path)
    time.sleep(600)


def start_server(temporary):
    """Return a process that holds a private folder, and the folder, made to look an hour old."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold_folder, args=(there,))
    process.start()
    path = here.recv()
    make_old(path.parent)
    return process, path


def make_old(folder) -> None:
    before = time.time() - 2 * NEW_SECONDS
    os.utime(folder, (before, before))


def test_the_folder_of_a_killed_server_is_deleted_and_that_of_a_living_one_is_not(temporary):
    living, kept = start_server(temporary)
    killed, left = start_server(temporary)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    own = PrivateFolder()
    try:
        own.remove_left_behind()
        assert (kept / "eye.png").is_file()
        assert not left.parent.exists()
        assert own.path.is_dir()
    finally:
        own.remove()
        living.kill()
        living.join()
    assert list(temporary.iterdir()) == [kept.parent]


def test_a_folder_that_is_new_or_no_folder_is_left_alone(temporary):
    new = PrivateFolder()
    new._lock.release()  # as in the moment before it is locked
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    make_old(elsewhere)
    link = temporary / "hidiff-serve-link"
    link.symlink_to(elsewhere)
    own = PrivateFolder()
    own.remove_left_behind()
    assert new.path.is_dir() and link.is_symlink() and list(elsewhere.iterdir()) == []


def test_others_cannot_look_in():
    folder = PrivateFolder()
    assert folder.path.stat().st_mode & 0o077 == 0
    assert folder.path.parent.stat().st_mode & 0o077 == 0
    folder.remove()
    assert not folder.path.parent.exists()
