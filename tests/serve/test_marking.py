"""Corrections run one after another, and raise and warn where they were asked for."""

import threading
import time
import warnings

import pytest

from hidiff.serve.marking import MarkQueue
from hidiff.serve.remarks import caught_warnings


@pytest.fixture
def queue():
    queue = MarkQueue()
    yield queue
    queue.end()


def test_corrections_run_one_at_a_time_and_in_their_order(queue):
    running, most, order = 0, 0, []
    started = [threading.Event() for _ in range(5)]

    def work(number):
        def task():
            nonlocal running, most
            running += 1
            most = max(most, running)
            if number == 0:
                assert started[4].wait(60)  # until all others wait
                time.sleep(0.05)
            order.append(number)
            running -= 1

        started[number].set()
        queue.run(task)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        assert started[number].wait(60)
        while number and queue._pool._work_queue.qsize() < number:
            time.sleep(0.001)
    for thread in threads:
        thread.join(60)
    assert most == 1 and order == [0, 1, 2, 3, 4]


def test_errors_and_warnings_reach_whoever_asked(queue):
    def fail():
        warnings.warn("a remark", UserWarning, stacklevel=1)
        raise ValueError("no such place")

    with caught_warnings() as mine, pytest.raises(ValueError, match="no such place"):
        queue.run(fail)
    assert mine == ["a remark"]
    with caught_warnings() as others:
        assert queue.run(lambda: 3) == 3
    assert others == []
