"""A client that sends a byte at a time does not hold a connection; one that is only slow does."""

import asyncio
import itertools
import socket
import time

import pytest

from hidiff.serve.body import Body
from hidiff.serve.connections import PatientProtocol

PATIENCE = 300  # seconds until a test gives up; a busy machine is slow


class Clock:
    """A clock that goes forward when it is told to, in place of `time.monotonic`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("hidiff.serve.body.time", made)
    return made


def read_all(clock: Clock, size: int, pause: float, count: int) -> Body:
    """Read a body of `count` pieces of `size` bytes with seconds between them; return it."""
    numbers = itertools.count(1)

    async def receive() -> dict:
        await asyncio.sleep(0)
        clock.now += pause
        more = next(numbers) != count
        return {"type": "http.request", "body": b"0" * size, "more_body": more}

    async def read() -> Body:
        body = Body(receive, most_bytes=2**30, seconds=30.0)
        while True:
            message = await body.receive()
            if message["type"] == "http.disconnect" or not message["more_body"]:
                return body

    return asyncio.run(read())


def test_a_body_that_comes_a_byte_at_a_time_is_refused(clock):
    body = read_all(clock, size=1, pause=1.0, count=10_000)
    assert body.refused is not None
    status, line = body.refused
    assert status == 408 and "less than 10 KiB a second" in line
    assert 29 <= clock.now <= 32


def test_a_long_body_is_read_to_its_end_if_it_comes_fast_enough(clock):
    body = read_all(clock, size=2**20, pause=10.0, count=20)
    assert body.refused is None and clock.now == 200


def test_a_body_that_stops_is_refused():
    async def receive() -> dict:
        await asyncio.sleep(10 * PATIENCE)
        return {"type": "http.disconnect"}

    body = Body(receive, most_bytes=2**30, seconds=0.1)
    assert asyncio.run(body.receive()) == {"type": "http.disconnect"}
    assert body.refused is not None and body.refused[0] == 408


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_a_head_that_never_ends_closes_its_connection(live, monkeypatch):
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.5)
    with connect(live().address) as opened:
        opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        until = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < until:
                opened.sendall(b"a")
                time.sleep(0.05)
        except OSError:
            return
    raise AssertionError("the connection is still open")


def test_a_connection_is_kept_between_whole_requests(live, monkeypatch):
    monkeypatch.setattr(PatientProtocol, "head_seconds", PATIENCE)
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connect(live().address) as opened:
        for _ in range(3):
            opened.sendall(request)
            answer = b""
            while not answer.endswith(b'{"ok":true}'):
                answer += opened.recv(4096)
            assert b" 200 " in answer
