"""State files: everything comes back, and what does not fit says so."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hidiff import weights
from hidiff.training.state import (
    FORMER_STATE_FILE,
    STATE_FILE,
    Progress,
    find_state,
    load_model,
    load_state,
    read_progress,
    save_model,
    save_state,
)
from tests.tiny import same_tensors


def make(width=3):
    network = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))
    return network, torch.optim.AdamW(network.parameters(), lr=0.1)


def train(network, optimizer, steps):
    for step in range(steps):
        draws = torch.Generator().manual_seed(step)
        network(torch.randn(8, 2, generator=draws)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_restored_optimizer_goes_on_bit_for_bit(tmp_path):
    network, optimizer = make()
    train(network, optimizer, 3)
    progress = Progress("stage1", 3, best=0.25, ema_updates=2, seconds=1.5)
    path = tmp_path / "state.safetensors"
    save_state(path, progress, {"a": network}, {"a": optimizer}, {"recipe": "{}"})
    twin, twins_optimizer = make()
    load_state(path, {"a": twin}, {"a": twins_optimizer})
    assert same_tensors(twin.state_dict(), network.state_dict())
    for each, its_optimizer in ((network, optimizer), (twin, twins_optimizer)):
        train(each, its_optimizer, 2)
    assert same_tensors(twin.state_dict(), network.state_dict())
    assert read_progress(path)[0] == progress
    assert read_progress(path)[1]["recipe"] == "{}"


def test_an_optimizer_that_has_not_moved_has_no_moments(tmp_path):
    network, optimizer = make()
    path = tmp_path / "state.safetensors"
    save_state(path, Progress("stage1", 0), {"a": network}, {"a": optimizer}, {})
    other, others_optimizer = make()
    load_state(path, {"a": other}, {"a": others_optimizer})
    assert not others_optimizer.state_dict()["state"]


def test_networks_whose_names_begin_alike_are_kept_apart(tmp_path):
    networks = {name: make()[0] for name in ("refiner", "refiner2", "live_refiner")}
    path = tmp_path / "state.safetensors"
    save_state(path, Progress("stage1", 0), networks, {}, {})
    twins = {name: make()[0] for name in networks}
    load_state(path, twins, {})
    for name, network in networks.items():
        assert same_tensors(twins[name].state_dict(), network.state_dict())


def test_a_model_file_holds_both_networks(tmp_path):
    segmentor, refiner = make()[0], make(5)[0]
    save_model(tmp_path / "m.safetensors", segmentor, refiner, {"step": "7"})
    tensors, metadata = weights.load(tmp_path / "m.safetensors")
    twins = make()[0], make(5)[0]
    load_model(tensors, *twins)
    x = torch.randn(4, 2)
    assert_close(twins[0](x), segmentor(x))
    assert_close(twins[1](x), refiner(x))
    assert metadata == {"step": "7"}


def test_networks_of_another_shape_are_refused_by_name(tmp_path):
    network = make()[0]
    save_model(tmp_path / "m.safetensors", network, network, {})
    tensors, _ = weights.load(tmp_path / "m.safetensors")
    longer = nn.Sequential(*make()[0], nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"the checkpoint's refiner.*2 tensors missing.*'3\.bias"):
        load_model(tensors, make()[0], longer)
    with pytest.raises(ValueError, match=r"the checkpoint's segmentor.*2 too many"):
        load_model(tensors, make()[0][:2], network)
    with pytest.raises(ValueError, match=r"the checkpoint's segmentor.*7 of another size"):
        load_model(tensors, make(4)[0], network)


# Of two states the one that reads


def states(tmp_path, steps=(1, 2, 3)):
    network, optimizer = make()
    for step in steps:
        train(network, optimizer, 1)
        save_state(
            tmp_path / STATE_FILE, Progress("stage1", step), {"a": network}, {"a": optimizer}, {}
        )
    return tmp_path / STATE_FILE, tmp_path / FORMER_STATE_FILE


def test_the_state_before_is_kept(tmp_path):
    latest, former = states(tmp_path)
    assert read_progress(latest)[0].step == 3
    assert read_progress(former)[0].step == 2
    assert find_state(tmp_path) == latest


def test_a_state_that_does_not_read_is_passed_over_loudly(tmp_path):
    latest, former = states(tmp_path)
    latest.write_bytes(latest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"state\.safetensors does not read.*passed over.*step 2"):
        assert find_state(tmp_path) == former


def test_a_run_killed_between_the_two_renames_goes_on_from_the_state_before(tmp_path):
    latest, former = states(tmp_path)
    latest.unlink()
    assert find_state(tmp_path) == former


def test_where_a_run_stands_is_read_from_the_head_alone(tmp_path, monkeypatch):
    latest, _ = states(tmp_path)
    monkeypatch.delattr(weights, "load")
    assert find_state(tmp_path) == latest


def test_a_file_that_is_no_state_is_passed_over(tmp_path):
    latest, former = states(tmp_path)
    weights.save(latest, {"a": torch.zeros(1)}, {"recipe": "{}"})
    with pytest.warns(UserWarning, match="does not say where its run stood"):
        assert find_state(tmp_path) == former


def test_a_run_of_which_no_state_reads_is_refused_and_an_empty_folder_is_not(tmp_path):
    assert find_state(tmp_path) is None
    for path in states(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of its states reads.*--overwrite"):
        find_state(tmp_path)
