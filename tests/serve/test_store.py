"""Requests go before the work in the background."""

import threading
import time
from pathlib import Path

from hidiff.serve.store import Entry


def test_a_waiting_request_goes_before_work_in_the_background():
    entry = Entry("id", "owner", Path(), "model")
    order = []

    def segment() -> None:
        with entry.idle_turn():
            order.append("background")

    def ask() -> None:
        with entry.turn():
            order.append("request")

    threads = [threading.Thread(target=segment), threading.Thread(target=ask)]
    with entry.turn():
        threads[0].start()
        time.sleep(0.2)  # it would be the first in a queue
        threads[1].start()
        while entry.requests < 2:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert order == ["request", "background"]
