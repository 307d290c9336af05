"""Connecting to a Ray cluster, and what is told of one that cannot be used."""

import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hidiff import cluster
from hidiff.cluster import ClusterError, connect, shared_files
from hidiff.extras import MissingExtra


@pytest.fixture
def ray(monkeypatch):
    """Stands for Ray where it is not installed."""

    def init(**options):
        raise module.error

    module = SimpleNamespace(init=init, error=ConnectionError("no instance"))
    monkeypatch.setattr(cluster, "import_extra", lambda *_: module)
    return module


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"ray is not installed. .*hidiff\[ray\]"):
        connect("auto")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("auto", "no Ray cluster runs here .*ray start --head"),
        ("ray://node:10001", "--ray ray://node:10001 is no address. Give auto or HOST:PORT"),
        ("node", "is no address"),
        ("127.0.0.1:99999", "nothing answers at 127.0.0.1:99999"),
    ],
)
def test_a_cluster_that_is_not_there_is_told_at_once(ray, address, said):
    with pytest.raises(ClusterError, match=said):
        connect(address)


def test_a_port_where_nothing_listens(ray):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ClusterError, match=f"nothing answers at 127.0.0.1:{port}"):
        connect(f"127.0.0.1:{port}")


def test_a_cluster_of_another_version_is_refused(ray):
    ray.error = RuntimeError("Version mismatch: The cluster was\n started with Ray: 2.0")
    with pytest.raises(ClusterError, match="cannot be used: Version mismatch: The cluster was st"):
        connect("auto")


def test_a_node_that_sees_the_same_files_has_no_problem(tmp_path):
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"weights")
    with shared_files([model, "vessels"], [tmp_path / "out"]) as files:
        assert files.problem() == ""
        missing = replace(files, models=((tmp_path / "no.safetensors", "0"),))
        assert missing.problem().startswith(f"does not have the model {tmp_path}/no.safetensors")
        other = replace(files, models=((model, "0"),))
        assert other.problem().startswith(f"has another model at {model}")
        assert "not 0.0: install the same" in replace(files, version="0.0").problem()
    assert f"does not share the folder {tmp_path}/out" in files.problem()  # as on another disk
    assert list((tmp_path / "out").iterdir()) == []
