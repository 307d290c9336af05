"""Servers for tests: the application in memory, and one on a port of this machine."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from hidiff.experiment import Model
from hidiff.serve.connections import PatientProtocol
from hidiff.serve.offered import OfferedModels
from hidiff.serve.service import Service
from hidiff.serve.settings import ServeSettings
from hidiff.serve.web import make_app
from tests.correction.models import make_model, save_networks

SIZE = (70, 100)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """Untrained models with opinions, of every kind of labels."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for kind in ("one_class", "exclusive", "regions"):
        paths[kind] = folder / f"{kind}.safetensors"
        save_networks(paths[kind], *make_model(folder, kind))
    return paths


@pytest.fixture(scope="session")
def offered(models) -> OfferedModels:
    """These models, the one of a single class first, and those that come with HiDiff."""
    return OfferedModels(list(models.values()))


@pytest.fixture(scope="session")
def model(offered) -> Model:
    """The model of one class, which is the default of the servers here."""
    return offered.get("one_class")


def draw_picture(seed: int = 0) -> np.ndarray:
    """Bright spots on grey."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    picture = draws.normal(90, 12, SIZE)
    for row, column in draws.uniform(10, 60, (6, 2)):
        picture += 110 * (np.hypot(rows - row, columns - 1.5 * column) < 9)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def eye(tmp_path_factory) -> Path:
    """A picture that the models take."""
    path = tmp_path_factory.mktemp("eye") / "eye.png"
    Image.fromarray(draw_picture()).save(path)
    return path


@pytest.fixture(scope="session")
def volume(tmp_path_factory) -> Path:
    """A volume of five slices."""
    values = np.stack([draw_picture(seed) for seed in range(5)]).transpose(2, 1, 0)
    path = tmp_path_factory.mktemp("volume") / "heart.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([-1.5, -1.5, 4, 1])), path)
    return path


Make = Callable[..., TestClient]


@pytest.fixture
def make_client(offered, tmp_path) -> Iterator[Make]:
    """Return clients of the whole application, guard included."""
    opened: list[TestClient] = []

    def make(places: list[Path] | None = None, **settings: Any) -> TestClient:
        service = Service(ServeSettings(**settings), offered, places or [], tmp_path / "masks")
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


def open_image(client: TestClient, *paths: Path, model: str = "one_class", **headers: str) -> dict:
    """Open an image and return the session once it is ready."""
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    answer = client.post("/api/v1/sessions", data={"model": model}, files=files, headers=headers)
    assert answer.status_code == 201, answer.text
    return wait_ready(client, answer.json()["id"], **headers)


def wait_ready(client: TestClient, key: str, **headers: str) -> dict:
    """Return a session that is opened, or has failed to."""
    for _ in range(60):
        session = client.get(f"/api/v1/sessions/{key}?wait=10", headers=headers).json()
        if session["state"] != "opening":
            return session
    raise AssertionError(f"the session is still opening: {session}")


class LiveServer:
    """A server on a free port, in a thread."""

    def __init__(self, offered: OfferedModels, places: list[Path], output: Path, **settings: Any):
        self.service = Service(ServeSettings(**settings), offered, places, output)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(
            make_app(self.service), http=PatientProtocol, log_config=None, ws="none"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    def start(self) -> "LiveServer":
        self.thread.start()
        for _ in range(6000):  # a busy machine is slow
            if self.server.started:
                return self
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.service.end()


@pytest.fixture
def live(offered, tmp_path) -> Iterator[Callable[..., LiveServer]]:
    """Return servers that are stopped after the test."""
    started: list[LiveServer] = []

    def start(
        places: list[Path] | None = None, offered: OfferedModels = offered, **settings: Any
    ) -> LiveServer:
        server = LiveServer(offered, places or [], tmp_path / "masks", **settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()
