"""Shares of many images: the same ones whatever their order, killed and continued as one run."""

import itertools
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from hidiff.cli.errors import Mistake
from hidiff.cli.shares import Share, find_share


@pytest.fixture
def images(data, tmp_path):
    """Twelve images, all different."""
    folder = tmp_path / "images"
    folder.mkdir()
    files = sorted((data / "images").iterdir())
    for number in range(12):
        shutil.copy(files[number % len(files)], folder / f"eye{number}.png")
    return folder


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("parts", [1, 3, 4, 16])
def test_shares_are_even_and_do_not_depend_on_the_order(parts):
    names = [f"case{number}" for number in range(13)]
    shuffled = random.Random(0).sample(names, len(names))
    shares = [Share(part, parts).choose(names, str) for part in range(1, parts + 1)]
    assert shares == [Share(part, parts).choose(shuffled, str) for part in range(1, parts + 1)]
    assert sorted(itertools.chain(*shares)) == sorted(names)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("part", "parts", "said"),
    [
        (5, 4, "--part 5 --parts 4: shares are counted from 1 to 4"),
        (0, 4, "--part 0 --parts 4: shares are counted from 1 to 4"),
        (1, None, "--part needs --parts too"),
        (None, 4, "--parts needs --part too"),
        (1, 0, "--parts is 0"),
    ],
)
def test_shares_that_cannot_be_are_refused(part, parts, said):
    with pytest.raises(Mistake, match=said):
        find_share(part, parts)


def test_the_command_refuses_them_before_the_model_is_loaded(hidiff, images, tmp_path):
    words = (images, "--output", tmp_path / "out", "--part", 5, "--parts", 4)
    result = hidiff("predict", "vessels", *words)
    assert result.exit_code == 2
    assert "--part 5 --parts 4: shares are counted from 1 to 4." in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_share_that_holds_nothing_is_done(hidiff, images, tmp_path):
    words = (images / "eye1.png", "--output", tmp_path / "out", "--part", 2, "--parts", 2)
    result = hidiff("predict", "vessels", *words)
    assert result.exit_code == 0, result.output
    assert "0 of 0 images of part 2 of 2 are done" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_share_stopped_and_continued_equals_one_run_byte_for_byte(
    hidiff, trained, images, tmp_path, number
):
    one, shared = tmp_path / "one", tmp_path / "shared"
    options = ("--steps", "1", "--device", "cpu", "--threads", "1")
    assert hidiff("predict", trained, images, "--output", one, *options).exit_code == 0

    files = sorted(images.iterdir(), reverse=True)  # another order than the folder's
    words = ("predict", trained, *files, "--output", shared, *options, "--continue", "--parts", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "hidiff", *map(str, words), "--part", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not list(shared.glob("*_labels.png")) and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(number)
    if number == signal.SIGTERM:
        assert process.wait(timeout=60) == 143
        assert not list(shared.glob(".*"))  # nothing half written, and no lock
    else:
        assert process.wait() == -number
    before = len(list(shared.glob("*_labels.png")))
    assert 1 <= before < 6

    for part in (2, 1):
        result = hidiff(*words, "--part", part)
        assert result.exit_code == 0, result.output
        assert f"6 of 6 images of part {part} of 2 are done" in result.stdout
    assert f"{before} of them before" in result.stdout
    assert content(shared) == content(one)  # and so nothing hidden, such as locks
