"""Files of tensors: whole or not at all, and never a way to run code."""

import errno
import os
import stat
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from hidiff import weights
from tests.tiny import same_tensors

TENSORS = {
    "conv.weight": torch.randn(4, 3, 3, 3),
    "count": torch.tensor(7),
    "half": torch.randn(5).half(),
    "empty": torch.zeros(0, 2),
}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tensors_and_words_come_back_as_they_were(tmp_path):
    weights.save(tmp_path / "new" / "a.safetensors", TENSORS, {"recipe": "grün: 1\n"})
    tensors, metadata = weights.load(tmp_path / "new" / "a.safetensors")
    assert same_tensors(tensors, TENSORS)
    assert metadata == {"recipe": "grün: 1\n"}
    assert files(tmp_path / "new") == ["a.safetensors"]


def test_views_channels_last_and_gradients_are_written_as_plain_numbers(tmp_path):
    image = torch.randn(2, 3, 4, 4)
    tensors = {
        "last": image.contiguous(memory_format=torch.channels_last),
        "view": image[:, 1:, ::2],
        "parameter": torch.nn.Parameter(torch.ones(3)),
    }
    weights.save(tmp_path / "a.safetensors", tensors, {})
    assert same_tensors(weights.load(tmp_path / "a.safetensors")[0], tensors)


def test_two_names_of_one_tensor_come_back_and_take_the_room_of_one(tmp_path):
    shared = torch.randn(100, 100)
    tensors = {"encoder": shared, "decoder": shared, "row": shared[0]}
    weights.save(tmp_path / "a.safetensors", tensors, {"step": "1"})
    loaded, metadata = weights.load(tmp_path / "a.safetensors")
    assert same_tensors(loaded, tensors) and metadata == {"step": "1"}
    assert (tmp_path / "a.safetensors").stat().st_size < 1.2 * shared.nbytes


# Atomic writing


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    weights.save(path, TENSORS, {"version": "old"})

    def fill_the_disk(tensors, temporary, metadata):
        temporary.write_bytes(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr(weights, "save_file", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        weights.save(path, TENSORS, {"version": "new"})
    assert files(tmp_path) == ["a.safetensors"]
    assert weights.load(path)[1] == {"version": "old"}


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with weights.atomic_write(path) as temporary:
        assert temporary.parent.parent == path.parent and temporary.name == path.name
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert files(tmp_path) == ["a.txt"]


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), weights.atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert files(tmp_path) == []


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        weights.save(tmp_path / "a.safetensors", TENSORS, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o640


def test_what_was_there_before_is_kept_if_asked_for(tmp_path):
    path, former = tmp_path / "a.safetensors", tmp_path / "before.safetensors"
    for version in ("1", "2", "3"):
        weights.save(path, TENSORS, {"version": version}, former=former)
    assert weights.load(path)[1] == {"version": "3"}
    assert weights.load(former)[1] == {"version": "2"}
    assert files(tmp_path) == ["a.safetensors", "before.safetensors"]


def test_a_failing_write_moves_nothing(tmp_path):
    path, former = tmp_path / "a.txt", tmp_path / "before.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), weights.atomic_write(path, former):
        raise RuntimeError
    assert files(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    for name in (".a.txt.12345678", ".b.txt.12345678", ".a.csv.12345678", ".a.txt.d"):
        (tmp_path / name).mkdir()
    (tmp_path / ".a.txt.12345678" / ".tmpAbCdEf").touch()  # as safetensors names its own
    (tmp_path / "a.txt").touch()
    weights.remove_unfinished(tmp_path / "a.txt")
    assert files(tmp_path) == [".a.csv.12345678", ".a.txt.d", ".b.txt.12345678", "a.txt"]


def test_what_a_writer_makes_of_its_own_goes_too(tmp_path):
    with (
        pytest.raises(RuntimeError),
        weights.atomic_write(tmp_path / "a.txt") as temporary,
    ):
        (temporary.parent / ".tmpAbCdEf").touch()
        raise RuntimeError
    assert files(tmp_path) == []


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    def fill_the_disk(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space (os error 28)")

    monkeypatch.setattr(weights, "save_file", fill_the_disk)
    with pytest.raises(OSError) as caught:
        weights.save(tmp_path / "a.safetensors", TENSORS, {})
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "a.safetensors")


# Files that are not as they should be


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    weights.save(path, TENSORS, {})
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(ValueError, match=r"cut\.safetensors does not read as safetensors"):
        weights.load(path)


def test_another_format_and_a_missing_file_are_refused_by_name(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello, this is no checkpoint")
    with pytest.raises(ValueError, match=r"text\.safetensors does not read"):
        weights.load(tmp_path / "text.safetensors")
    for read in (weights.load, weights.load_foreign):
        with pytest.raises(ValueError, match=r"none\.pt is not a file"):
            read(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="is not a file"):
        weights.load(tmp_path)


# Other people's checkpoints


@pytest.mark.parametrize("wrap", [dict, lambda t: {"state_dict": t, "epoch": 3}, "model"])
def test_a_foreign_checkpoint_is_opened_wherever_its_tensors_lie(tmp_path, wrap):
    content = {"model": TENSORS} if wrap == "model" else wrap(TENSORS)
    torch.save(content, tmp_path / "a.pt")
    assert same_tensors(weights.load_foreign(tmp_path / "a.pt"), TENSORS)


def test_a_foreign_safetensors_needs_no_metadata(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    assert same_tensors(weights.load_foreign(tmp_path / "a.safetensors"), TENSORS)
    assert weights.load(tmp_path / "a.safetensors")[1] == {}


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_file_that_could_run_code_is_refused_and_does_not(tmp_path):
    torch.save({"state_dict": TENSORS, "extra": Trap(tmp_path / "ran")}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt does not read.*state_dict\(\) as safetensors"):
        weights.load_foreign(tmp_path / "a.pt")
    assert files(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True)])
def test_single_numbers_of_numpy_are_let_through(tmp_path, number):
    torch.save({"network_weights": TENSORS, "init_args": {"best": [number]}}, tmp_path / "a.pth")
    assert same_tensors(weights.load_foreign(tmp_path / "a.pth"), TENSORS)


def test_a_number_as_numpy_1_wrote_it_is_let_through_too(tmp_path):
    torch.save({"state_dict": TENSORS, "best": np.float64(0.5)}, tmp_path / "a.pt")
    with ZipFile(tmp_path / "a.pt") as new, ZipFile(tmp_path / "old.pt", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multi", b"numpy.core.multi"))
    assert same_tensors(weights.load_foreign(tmp_path / "old.pt"), TENSORS)


@pytest.mark.parametrize("value", [np.zeros(2), np.array([{}]), np.str_("a")])
def test_nothing_else_of_numpy_is(tmp_path, value):
    torch.save({"state_dict": TENSORS, "extra": value}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt does not read"):
        weights.load_foreign(tmp_path / "a.pt")


def test_a_foreign_file_without_a_state_dict_says_what_it_holds(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds a list"):
        weights.load_foreign(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"b\.pt does not read"):
        weights.load_foreign(tmp_path / "b.pt")
