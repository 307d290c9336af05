"""Servers for tests: the application in memory, and one on a port of this machine."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the server needs the extra app")

import uvicorn
from fastapi.testclient import TestClient

from hidiff.serve.library import Library
from hidiff.serve.service import Service
from hidiff.serve.settings import ServeSettings
from hidiff.serve.web import make_app


@pytest.fixture(scope="session")
def library() -> Library:
    """The models that come with HiDiff, loaded once."""
    return Library()


def draw_eye(size: int = 96, seed: int = 0) -> np.ndarray:
    """A round field of view with a few dark lines, in colour."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    view = np.hypot(rows - size / 2, columns - size / 2) < 0.47 * size
    eye = np.stack([190 * view, 90 * view, 40 * view], axis=-1).astype(np.float64)
    for slope in (-0.6, 0.1, 0.9):
        line = np.abs(rows - size / 2 - slope * (columns - size / 2)) < 2
        eye[line & view] *= 0.55
    noise = draws.normal(0, 4, eye.shape) * view[..., None]
    return np.clip(eye + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def eye(tmp_path_factory) -> Path:
    """A picture that `vessels` takes."""
    path = tmp_path_factory.mktemp("eye") / "eye.png"
    Image.fromarray(draw_eye()).save(path)
    return path


Make = Callable[..., TestClient]


@pytest.fixture
def make_client(library, tmp_path) -> Iterator[Make]:
    """Return clients of the whole application, guard included."""
    opened: list[TestClient] = []

    def make(places: list[Path] | None = None, **settings: Any) -> TestClient:
        service = Service(ServeSettings(**settings), library, places or [], tmp_path / "masks")
        client = TestClient(
            make_app(service), base_url="http://127.0.0.1:1527", raise_server_exceptions=False
        )
        client.service = service
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.service.end()


@pytest.fixture
def client(make_client) -> TestClient:
    """A client of a server as it is without options."""
    return make_client()


def open_image(client: TestClient, *paths: Path, model: str = "vessels", **headers: str) -> dict:
    """Open an image and return the session once it is ready."""
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    answer = client.post("/api/v1/sessions", data={"model": model}, files=files, headers=headers)
    assert answer.status_code == 201, answer.text
    return wait_ready(client, answer.json()["id"], **headers)


def wait_ready(client: TestClient, key: str, **headers: str) -> dict:
    """Return a session that is opened, or has failed to."""
    for _ in range(20):
        session = client.get(f"/api/v1/sessions/{key}?wait=10", headers=headers).json()
        if session["state"] != "opening":
            return session
    raise AssertionError(f"the session is still opening: {session}")


class LiveServer:
    """A server on a free port, in a thread."""

    def __init__(self, library: Library, places: list[Path], output: Path, **settings: Any):
        self.service = Service(ServeSettings(**settings), library, places, output)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(make_app(self.service), log_config=None, ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    def start(self) -> "LiveServer":
        self.thread.start()
        for _ in range(300):
            if self.server.started:
                return self
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.service.end()


@pytest.fixture
def live(library, tmp_path) -> Iterator[Callable[..., LiveServer]]:
    """Return servers that are stopped after the test."""
    started: list[LiveServer] = []

    def start(places: list[Path] | None = None, **settings: Any) -> LiveServer:
        server = LiveServer(library, places or [], tmp_path / "masks", **settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()
