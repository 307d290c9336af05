"""Prediction on a real Ray cluster: three emulated nodes, one of which is killed midway."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

ray = pytest.importorskip("ray")

IMAGES = 300


@pytest.fixture(scope="module")
def cluster():
    """A head without processors, and three nodes of one each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes_of_the_test = [made.add_node(num_cpus=1) for _ in range(3)]
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "images"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"eye{number}.png")
    return folder


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "hidiff", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def num_done(folder):
    return len(list(folder.glob("*_labels.png"))) if folder.is_dir() else 0


def test_a_killed_node_costs_nothing_and_the_files_are_those_of_one_process(
    trained, images, cluster, tmp_path
):
    one, many = tmp_path / "one", tmp_path / "many"
    options = ("--steps", "1", "--device", "cpu", "--threads", "1")
    process = start(
        "predict", trained, images, "--output", many, *options, "--ray", cluster.address
    )
    end = time.monotonic() + 1800
    while num_done(many) < IMAGES // 5 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert process.poll() is None
    before = num_done(many)
    cluster.remove_node(cluster.nodes_of_the_test.pop(), allow_graceful=False)
    stdout, stderr = process.communicate(timeout=3600)
    assert process.returncode == 0, stderr
    assert before < IMAGES  # it was killed midway
    assert f"{IMAGES} of {IMAGES} images are done:" in stdout  # each counted once
    assert "a process of the cluster is lost" in stderr

    serial = start("predict", trained, images, "--output", one, *options)
    assert serial.wait(timeout=3600) == 0
    assert content(many) == content(one)  # and so nothing hidden, such as locks


def test_an_image_that_fails_is_named_and_continue_does_what_is_missing(
    trained, images, cluster, tmp_path
):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number in range(6):
        shutil.copy(images / f"eye{number}.png", folder)
    (folder / "eye3.png").write_bytes(b"cut off")
    words = ("predict", trained, folder, "--output", out, "--steps", "1", "--ray", cluster.address)
    process = start(*words)
    stdout, stderr = process.communicate(timeout=1800)
    assert process.returncode == 1, stderr
    assert "5 of 6 images are done" in stdout
    assert f"{folder}/eye3.png cannot be read" in stderr and "Traceback" not in stderr
    shutil.copy(images / "eye3.png", folder)
    process = start(*words, "--continue")
    stdout, stderr = process.communicate(timeout=1800)
    assert process.returncode == 0, stderr
    assert "6 of 6 images are done, 5 of them before" in stdout


def test_a_model_that_no_node_has_is_told(trained, images, cluster, tmp_path):
    """The nodes look for it under the path of this machine, where the driver alone sees it."""
    from hidiff import cluster as own
    from hidiff.cli.on_ray import Loading, Worker

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        files = own.Files(models=((tmp_path / "no.safetensors", "0"),))
        actor = ray.remote(num_cpus=1)(Worker).remote(files, Loading((), "cpu", 1))
        problem = ray.get(actor.prepare.remote(), timeout=1800)
    finally:
        ray.shutdown()
    assert f"does not have the model {tmp_path}/no.safetensors" in problem
