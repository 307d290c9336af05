"""A client that sends a byte at a time does not hold a connection; one that is only slow does."""

import asyncio
import itertools
import socket
import time

from hidiff.serve.body import Body
from hidiff.serve.connections import PatientProtocol

PATIENCE = 60  # seconds until a test gives up; a busy machine is slow


def read_all(size: int, pause: float, seconds: float, count: int | None) -> Body:
    """Read a body that comes in pieces of so many bytes with pauses; `count` None: without end."""
    numbers = itertools.count(1)

    async def receive() -> dict:
        await asyncio.sleep(pause)
        more = next(numbers) != count
        return {"type": "http.request", "body": b"0" * size, "more_body": more}

    async def read() -> Body:
        body = Body(receive, most_bytes=2**30, seconds=seconds)
        while True:
            message = await body.receive()
            if message["type"] == "http.disconnect" or not message["more_body"]:
                return body

    return asyncio.run(read())


def test_a_body_that_comes_a_byte_at_a_time_is_refused():
    body = read_all(size=1, pause=0.02, seconds=0.3, count=None)
    assert body.refused is not None
    status, line = body.refused
    assert status == 408 and "less than 10 KiB a second" in line


def test_a_body_that_stops_is_refused():
    body = read_all(size=2**20, pause=PATIENCE, seconds=0.3, count=None)
    assert body.refused is not None and body.refused[0] == 408


def test_a_long_body_is_read_to_its_end_if_it_comes_fast_enough():
    body = read_all(size=2**20, pause=0.05, seconds=0.3, count=20)
    assert body.refused is None


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
    monkeypatch.setattr(PatientProtocol, "head_seconds", 20)
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connect(live().address) as opened:
        for _ in range(3):
            opened.sendall(request)
            answer = b""
            while not answer.endswith(b'{"ok":true}'):
                answer += opened.recv(4096)
            assert b" 200 " in answer
