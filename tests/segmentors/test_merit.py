"""MERIT: two branches, four heads, the sums that are trained, and weights of timm's."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from hidiff.segmentors import SegmentorSettings, make_segmentor
from hidiff.segmentors.merit import BACKBONE, maxvit, merit, mutations
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators

declare_torchvision_operators()
timm = pytest.importorskip("timm", reason="the extra timm is not installed")

TINY = {"sizes": (96, 64), "channels": (32, 32, 64, 64), "depths": (1, 1, 1, 1)}


def tiny(channels=3, planes=2, **options):
    torch.manual_seed(0)
    return make_segmentor(
        SegmentorSettings(name="merit", options={**TINY, **options}), channels, planes
    )


def test_the_paper_network_has_nearly_the_published_parameters_and_cost():
    """147.86 M parameters and 33.31 G multiply-adds are published for Synapse."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        segmentor = merit(3, 9)  # which looks at one trial image
    assert sum(p.numel() for p in segmentor.parameters()) == 146_741_694
    assert counter.get_total_flops() / 2 == pytest.approx(33.31e9, rel=0.01)
    assert segmentor.feature_channels == (96, 192, 384, 768)
    assert segmentor.input_size == (256, 256)


def test_every_sum_of_heads_is_made_once():
    heads = [torch.tensor(float(value)) for value in (1, 2, 4, 8)]
    sums = [each.item() for each in mutations(heads)]
    # of powers of two every subset has a sum of its own, in binary its members
    assert sorted(sums) == list(range(1, 16))
    assert sums[-1] == 15


def test_the_answer_is_the_sum_of_the_heads_and_is_the_same_in_training_but_for_batch_norm():
    segmentor = tiny().eval()
    image = torch.randn(1, 3, 96, 96)
    answer = segmentor(image)
    assert answer.auxiliary == ()
    segmentor.network.training = True  # the flag alone: its batch norms stay as they are
    trained = segmentor(image)
    assert_close(trained.logits, answer.logits)
    assert len(trained.auxiliary) == 14
    assert {each.shape for each in trained.auxiliary} == {answer.logits.shape}
    heads = trained.auxiliary[:4]
    assert_close(sum(heads), answer.logits)
    assert_close(trained.auxiliary[4], heads[0] + heads[1])


def test_the_second_branch_is_steered_by_the_first():
    """Through the image it looks at, and through the features beside its own."""
    segmentor = tiny().eval()
    network = segmentor.network
    seen = []
    network.backbones[1].register_forward_hook(lambda module, args, output: seen.append(args[0]))
    image = torch.randn(1, 3, 96, 96)
    torch.nn.init.zeros_(network.interest[0].weight)
    for bias in (50.0, -50.0):
        torch.nn.init.constant_(network.interest[0].bias, bias)
        segmentor(image)
    assert seen[0].shape == (1, 3, 64, 64)
    whole = torch.nn.functional.interpolate(image, (64, 64), mode="bilinear")
    assert_close(seen[0], whole)
    assert_close(seen[1], torch.zeros_like(whole))
    gradient = torch.autograd.grad(
        segmentor(image).logits.sum(), network.backbones[0].stages_0.blocks[0].conv.norm1.weight
    )
    assert gradient[0].any()


def test_gradients_reach_every_parameter():
    segmentor = tiny(channels=4).train()
    segmentor(torch.randn(2, 4, 96, 96)).logits.square().mean().backward()
    silent = [n for n, p in segmentor.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before a batch norm changes nothing
    assert all(name.endswith("bias") for name in silent)


def test_timms_own_file_starts_both_branches(tmp_path):
    torch.manual_seed(5)
    changes = {"embed_dim": TINY["channels"], "depths": TINY["depths"], "img_size": 128}
    classifier = timm.create_model(BACKBONE, num_classes=7, **changes).eval()
    path = tmp_path / "maxvit.pth"
    torch.save(classifier.state_dict(), path)
    segmentor = tiny(encoder_weights=str(path)).eval()
    image = torch.randn(1, 3, 64, 64)
    same_size = timm.create_model(BACKBONE, num_classes=7, **{**changes, "img_size": 64}).eval()
    same_size.load_state_dict(classifier.state_dict())
    with torch.no_grad():
        expected = same_size.stages(same_size.stem(image))
        assert_close(segmentor.network.backbones[1](image)[3], expected)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"stem.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"encoder_weights.*other\.pth, does not hold timm's"):
        tiny(encoder_weights=str(path))
    with pytest.raises(ValueError, match=r"none\.pth is not a file"):
        tiny(encoder_weights=str(tmp_path / "none.pth"))


def test_a_size_that_has_no_stride_32_is_refused():
    with pytest.raises(ValueError, match="sizes has 100, but multiples of 32"):
        maxvit(100, (32, 32, 64, 64), (1, 1, 1, 1))
