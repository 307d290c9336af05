"""The paper's checkpoint, read by ours, computes what the paper's code computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff.refiner import read_published
from hidiff.refiner.published import from_state_dict
from tests.refiner import published_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def published():
    return from_state_dict(published_checkpoint.checkpoint())


@pytest.fixture(scope="module")
def golden():
    stages = np.load(GOLDEN / "refiner_stages.npz")
    return {name: torch.from_numpy(stages[name]) for name in stages.files}


def test_every_tensor_is_mapped_but_the_norm_that_is_never_used(published):
    names = set(published_checkpoint.checkpoint())
    assert set(published.mapped) | set(published.dropped) == names
    assert len(published.mapped) + len(published.dropped) == len(names)
    assert published.dropped
    assert all("layernorm_before" in name for name in published.dropped)
    assert set(published.mapped.values()) == set(published.refiner.state_dict())


def stages(refiner, golden):
    """Each stage of our network, fed the golden outputs of the stages before it."""
    given = published_checkpoint.inputs()
    one = {k: [f[:1] for f in v] if isinstance(v, list) else v[:1] for k, v in given.items()}
    prepared = refiner.prepare(one["features"])
    time = torch.nn.functional.silu(golden["time_embed"])
    blocks = zip(refiner.condition_blocks, prepared, strict=True)
    conditions = [block(part, time) for block, part in blocks]
    yield "input_conv", refiner.input(torch.cat([one["image"], one["yt"], one["prior"]], dim=1))
    x = golden["input_conv"]
    skips = []
    for i in range(5):
        yield f"block{i + 1}_conv", refiner.encoder[i](x, time)
        x = golden[f"block{i + 1}_conv"]
        if i >= 2:
            yield f"concat{i - 1}", refiner.fusions[i - 2](x, conditions[i - 2], time)
            x = golden[f"concat{i - 1}"]
        skips.append(x)
        yield f"block{i + 1}_down", refiner.downs[i](x, time)
        x = golden[f"block{i + 1}_down"]
    yield "middle_block1", refiner.middle1(x, time)
    yield "cross1", refiner.cross(golden["middle_block1"], conditions[3], time)
    yield "middle_block2", refiner.middle2(golden["cross1"], time)
    x = golden["middle_block2"]
    for i in range(5):
        yield f"up_block{i + 1}_up", refiner.ups[i](x, time)
        both = torch.cat([golden[f"up_block{i + 1}_up"], skips.pop()], dim=1)
        yield f"up_block{i + 1}_conv", refiner.decoder[i](both, time)
        x = golden[f"up_block{i + 1}_conv"]
    yield "out", refiner.output(torch.nn.functional.silu(refiner.output_norm(x)))


@torch.no_grad()
def test_each_stage_is_the_published_one(published, golden):
    names = []
    for name, ours in stages(published.refiner, golden):
        assert_close(ours, golden[name], rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        names.append(name)
    assert set(names) == set(golden) - {"time_embed", "flip"}
    assert_close(golden["out"].sigmoid(), golden["flip"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_time_embedding_is_the_published_one(published, golden):
    ours = published.refiner.embedding(torch.tensor([4]))
    assert_close(ours, torch.nn.functional.silu(golden["time_embed"]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_whole_network_is_close_to_the_published_one(published):
    """Loose on purpose: a sign within rounding of zero may flip, and changes all after it."""
    given = published_checkpoint.inputs()
    refiner = published.refiner
    raw = refiner(**given)
    golden = np.load(GOLDEN / "refiner_forward.npz")["binary/output"]
    assert np.abs(raw.sigmoid().numpy() - golden).mean() < 0.05


def test_a_checkpoint_under_a_prefix_is_read_from_its_file(tmp_path):
    tensors = {f"module.{name}": value for name, value in published_checkpoint.checkpoint().items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "model.pt")
    published = read_published(tmp_path / "model.pt")
    assert published.refiner.settings.width == 32
    assert published.refiner.settings.published_layout


def test_another_checkpoint_is_refused_by_name(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt.*no refiner of the paper"):
        read_published(tmp_path / "other.pt")


def test_pickled_code_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3), "hook": pytest.raises}, tmp_path / "code.pt")
    with pytest.raises(ValueError, match=r"code\.pt.*refused"):
        read_published(tmp_path / "code.pt")
