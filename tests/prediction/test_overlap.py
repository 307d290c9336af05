"""Reading, predicting and writing at once: each item whole, memory bounded, errors its own."""

import threading
import time

import pytest

from hidiff.prediction.overlap import Stages, overlap


class Numbers(Stages):
    """Doubles numbers, and notes what happens to each and in which thread."""

    def __init__(self, weight=0, bad=(), seconds=0.0):
        self.weight, self.bad, self.seconds = weight, bad, seconds
        self.written, self.ended, self.dropped = [], [], []
        self.in_work, self.most_in_work = 0, 0
        self.threads = {}
        self.lock = threading.Lock()

    def note(self, stage, item):
        self.threads.setdefault(stage, set()).add(threading.current_thread().name)
        time.sleep(self.seconds)
        if (stage, item) in self.bad:
            self.count(-1)
            raise ValueError(f"{stage} {item}")

    def count(self, change):
        with self.lock:
            self.in_work += change
            self.most_in_work = max(self.most_in_work, self.in_work)

    def weigh(self, item):
        return self.weight

    def read(self, item):
        self.count(1)
        self.note("read", item)
        if ("skip", item) in self.bad:
            self.count(-1)
            return None
        return item

    def predict(self, item, read):
        self.note("predict", item)
        return 2 * read

    def write(self, item, result):
        self.note("write", item)
        self.written.append((item, result))
        self.count(-1)

    def end(self, item, error):
        self.ended.append((item, str(error or "")))

    def drop(self, item):
        self.dropped.append(item)


def test_every_item_is_written_once_and_in_order():
    numbers = Numbers()
    overlap(range(50), numbers, 100)
    assert numbers.written == [(n, 2 * n) for n in range(50)]
    assert numbers.ended == [(n, "") for n in range(50)]
    assert numbers.threads["predict"] == {threading.current_thread().name}
    assert len(set.union(*numbers.threads.values())) == 3


def test_stages_run_at_the_same_time():
    numbers = Numbers(seconds=0.02)
    start = time.monotonic()
    overlap(range(20), numbers, 100)
    assert time.monotonic() - start < 0.85 * 3 * 20 * 0.02


def test_an_error_ends_its_own_item_alone():
    bad = [("read", 3), ("predict", 5), ("write", 7), ("skip", 9)]
    numbers = Numbers(bad=bad)
    overlap(range(12), numbers, 100)
    assert [n for n, _ in numbers.written] == [0, 1, 2, 4, 6, 8, 10, 11]
    errors = {n: error for n, error in numbers.ended if error}
    assert errors == {3: "read 3", 5: "predict 5", 7: "write 7"}
    assert sorted(n for n, _ in numbers.ended) == list(range(12))


@pytest.mark.parametrize(("weight", "most"), [(10, 3), (60, 1), (300, 1)])
def test_items_in_work_never_weigh_more_than_is_allowed(weight, most):
    numbers = Numbers(weight=weight, seconds=0.002, bad=[("read", 3), ("predict", 5), ("write", 7)])
    overlap(range(20), numbers, 35 if weight == 10 else 100)
    assert numbers.most_in_work == most
    assert len(numbers.ended) == 20


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_was_predicted_is_written_before_all_ends(stop):
    class Stopped(Numbers):
        def predict(self, item, read):
            if item == 5:
                raise stop
            return super().predict(item, read)

    numbers = Stopped(seconds=0.005)
    with pytest.raises(stop):
        overlap(range(20), numbers, 100)
    assert numbers.written == [(n, 2 * n) for n in range(5)]
    assert [n for n, _ in numbers.ended] == list(range(5))
    # those that were read ahead are given up, and hold nothing any more
    assert numbers.dropped[0] == 5 and len(numbers.dropped) <= 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_an_error_that_all_would_meet_ends_all():
    class Full(Numbers):
        def end(self, item, error):
            super().end(item, error)
            if error:
                raise error

    numbers = Full(bad=[("write", 2)])
    with pytest.raises(ValueError, match="write 2"):
        overlap(range(50), numbers, 100)
    assert len(numbers.ended) < 20
