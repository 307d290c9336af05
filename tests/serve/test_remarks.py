"""A warning of the library reaches the person whose image it is about, and nobody else."""

import threading
import warnings

import pytest

from hidiff.serve.remarks import caught_warnings


def test_each_thread_catches_its_own_warnings_alone():
    met = threading.Barrier(3)
    lines = {}

    def work(name: str) -> None:
        with caught_warnings() as caught:
            met.wait()
            warnings.warn(f"about the image of {name}", stacklevel=1)
            met.wait()
        lines[name] = caught

    threads = [threading.Thread(target=work, args=(name,)) for name in ("Ann", "Bob")]
    for thread in threads:
        thread.start()
    with caught_warnings() as own:
        met.wait()
        met.wait()
    for thread in threads:
        thread.join()
    assert own == []
    assert lines == {name: [f"about the image of {name}"] for name in ("Ann", "Bob")}


def test_the_same_warning_is_caught_each_time_and_once_a_time():
    for _ in range(2):
        with caught_warnings() as caught:
            for _ in range(3):
                warnings.warn("again", stacklevel=1)
        assert caught == ["again"]


def test_a_warning_outside_is_shown_as_ever():
    with caught_warnings():
        pass
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", stacklevel=1)
