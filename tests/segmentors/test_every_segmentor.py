"""The suite that every segmentor of the registry passes; a new one joins by its name."""

import copy
import inspect
import re
import subprocess
import sys

import pytest
import torch

from hidiff import weights
from hidiff.diffusion import LossWeights
from hidiff.experiment import make_hybrid
from hidiff.extras import import_extra
from hidiff.recipe import make_recipe
from hidiff.segmentors import SEGMENTORS, STRIDES, Segmentor, SegmentorSettings, make_segmentor
from hidiff.training.steps import Batch, draw_noise, refiner_step, segmentor_step
from tests.segmentors.small import (
    OPTIONS,
    an_image,
    every_segmentor,
    make_small,
    needs,
    sizes,
)
from tests.tiny import shake

# Parameters that their library makes and does not use: frozen, so that nobody waits for them.
UNUSED = {
    # outputs of deep supervision
    "monai.BasicUNetPlusPlus": r"final_conv_0_[123]\.",
    # the norm before a cross-attention that is not there
    "monai.UNETR": r"norm_cross_attn\.",
    # of the classifier that Swin is, after the last map that is asked for
    "transformers.UperNet": r"backbone\.swin\.layernorm\.",
}


@every_segmentor
@pytest.mark.parametrize("planes", [1, 3])
def test_logits_and_features_are_of_the_promised_shape(name, planes):
    segmentor = make_small(name, planes=planes)
    assert isinstance(segmentor, Segmentor)
    assert (segmentor.image_channels, segmentor.num_planes) == (3, planes)
    for size in sizes(segmentor):
        logits, features, _ = segmentor(torch.randn(2, 3, *size))
        assert logits.shape == (2, planes, *size)
        assert [tuple(feature.shape) for feature in features] == [
            (2, channels, size[0] // stride, size[1] // stride)
            for channels, stride in zip(segmentor.feature_channels, STRIDES, strict=True)
        ]


@every_segmentor
def test_one_channel_is_enough(name):
    segmentor = make_small(name, channels=1)
    assert segmentor(an_image(segmentor)).logits.shape == (2, 2, *sizes(segmentor)[0])


@every_segmentor
def test_its_own_loss_reaches_every_parameter_that_it_uses(name):
    segmentor = make_small(name).train()
    with torch.no_grad():  # timm's ResNets start with branches that are multiplied by zero
        for each in segmentor.parameters():
            if not each.any():
                each.fill_(0.1)
    logits, _, auxiliary = segmentor(an_image(segmentor))
    sum(each.square().mean() for each in (logits, *auxiliary)).backward()
    named = dict(segmentor.named_parameters())
    frozen = {n for n, p in named.items() if not p.requires_grad}
    pattern = UNUSED.get(name)
    assert frozen == {n for n in named if pattern and re.search(pattern, n)}
    assert all(p.grad is not None for n, p in named.items() if n not in frozen)
    silent = [n for n in named.keys() - frozen if not named[n].grad.any()]
    # a bias before a batch norm changes nothing: its gradient is rounding, or exactly 0
    assert all(n.endswith("bias") for n in silent)


@every_segmentor
def test_every_feature_teaches_the_segmentor(name):
    segmentor = make_small(name).train()
    for feature in segmentor(an_image(segmentor)).features:
        segmentor.zero_grad()
        feature.square().mean().backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.any() for p in segmentor.parameters())


@every_segmentor
def test_in_eval_batch_mates_do_not_matter_and_nothing_moves(name):
    segmentor = make_small(name).eval()
    before = copy.deepcopy(segmentor.state_dict())
    image = an_image(segmentor, 3)
    with torch.no_grad():
        together, alone = segmentor(image).logits[:1], segmentor(image[:1]).logits
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in segmentor.state_dict().items())


@every_segmentor
def test_a_copy_is_a_network_of_its_own(name):
    segmentor = make_small(name).eval()
    twin = copy.deepcopy(segmentor)
    image = an_image(segmentor, 1)
    before = twin(image).logits
    with torch.no_grad():
        for parameter in segmentor.parameters():
            parameter.zero_()
    assert torch.equal(twin(image).logits, before)


@every_segmentor
def test_saved_and_loaded_it_answers_the_same(name, tmp_path):
    segmentor, other = make_small(name).eval(), make_small(name, seed=1).eval()
    image = an_image(segmentor, 1)
    weights.save(tmp_path / "it.safetensors", segmentor.state_dict(), {})
    with torch.no_grad():
        expected = segmentor(image)
        assert not torch.equal(other(image).logits, expected.logits)
        other.load_state_dict(weights.load(tmp_path / "it.safetensors")[0])
        found = other(image)
    assert torch.equal(found.logits, expected.logits)
    assert all(map(torch.equal, found.features, expected.features))


@every_segmentor
def test_it_learns_with_a_refiner(name):
    """One iteration in turns: every used parameter of both networks moves, and stays finite."""
    size = sizes(make_small(name))[0]
    hybrid = shake(make_hybrid(recipe_with(name, size))).train()
    image, y0 = torch.randn(2, 3, *size), (torch.rand(2, 1, *size) < 0.3).float()
    batch = Batch(["a", "b"], image, y0, torch.ones_like(y0))
    draws = draw_noise(batch, 4, 0, "test")
    before = {n: p.clone() for n, p in hybrid.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(hybrid.parameters(), lr=1.0)
    look = hybrid.look(image)
    refiner_step(hybrid, hybrid.refiner, look, batch, draws, LossWeights())["loss"].backward()
    segmentor_step(hybrid, look, batch, draws, LossWeights(), 1.0)["loss"].backward()
    optimizer.step()
    after = dict(hybrid.named_parameters())
    assert all(after[n].isfinite().all() for n in before)
    still = [n for n in before if torch.equal(after[n], before[n])]
    # biases before batch norms, once more, and weights whose gradient is lost in rounding
    assert len(still) < 0.1 * len(before), still


def recipe_with(name, size):
    return make_recipe(
        {
            "name": "tiny",
            "data": {"path": "unused", "patch_size": list(size)},
            "labels": {"kind": "one_class", "classes": {"thing": [255]}},
            "segmentor": {"name": name, "options": OPTIONS.get(name, {})},
            "refiner": {"width": 8, "condition": "once"},
            "diffusion": {"num_steps": 4},
        }
    )


@every_segmentor
def test_its_memory_can_be_counted_without_any(name):
    with torch.device("meta"):
        segmentor = make_small(name).train()
        assert {p.device.type for p in segmentor.parameters()} == {"meta"}
        logits = segmentor(torch.empty(2, 3, *sizes(segmentor)[0])).logits
    logits.sum().backward()
    assert logits.device.type == "meta"


@every_segmentor
def test_an_option_that_it_does_not_have_is_refused(name):
    assert inspect.getdoc(SEGMENTORS[name])
    with pytest.raises(ValueError, match=rf"segmentor\.options do not fit {name}.*wdth"):
        make_segmentor(SegmentorSettings(name=name, options={"wdth": 8}), 3, 1)


# Refused


def test_an_unknown_name_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"segmentor\.name is 'unnet'.*one of unet"):
        make_segmentor(SegmentorSettings(name="unnet"), 3, 1)


@pytest.mark.parametrize("name", [name for name in SEGMENTORS if needs(name)])
def test_a_missing_library_is_answered_with_the_command_that_installs_it(name, monkeypatch):
    module, extra = needs(name)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    command = re.escape(f"pip install -c constraints.txt 'hidiff[{extra}]'")
    with pytest.raises(ValueError, match=rf"{module} is not installed.*{command}"):
        make_small(name)


def test_a_library_that_does_not_import_is_answered_with_what_is_wrong(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("raise RuntimeError('operator x does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"half_installed is installed.*operator x does not exist"):
        import_extra("half_installed", "timm")


def test_no_library_of_an_extra_is_imported_before_it_is_asked_for():
    extras = {needs(name)[0] for name in SEGMENTORS if needs(name)}
    code = f"import sys, hidiff.segmentors; assert not {extras!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
