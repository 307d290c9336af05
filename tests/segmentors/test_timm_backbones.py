"""timm's backbones: their weights, their layouts and sizes, and the light decoder on them."""

import pytest
import torch
from torch.testing import assert_close

from hidiff import weights
from hidiff.segmentors import SegmentorSettings, make_segmentor
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators

declare_torchvision_operators()
timm = pytest.importorskip("timm", reason="the extra timm is not installed")


def make(backbone, channels=3, **options):
    options = {"backbone": backbone, "width": 8, **options}
    return make_segmentor(SegmentorSettings(name="timm", options=options), channels, 2).eval()


@pytest.fixture
def trained(tmp_path):
    """A classifier of timm's, and the file it was saved to."""
    classifier = timm.create_model("test_convnext", num_classes=5).eval()
    weights.save(tmp_path / "convnext.safetensors", classifier.state_dict(), {})
    return classifier, str(tmp_path / "convnext.safetensors")


def test_a_backbone_starts_from_timms_file(trained):
    classifier, path = trained
    encoder = make("test_convnext", encoder_weights=path).network.encoder
    image = torch.randn(1, 3, 64, 64)
    assert_close(encoder(image), classifier.forward_intermediates(image, intermediates_only=True))


def test_a_grey_image_is_seen_by_a_trained_backbone_as_three_equal_channels(trained):
    classifier, path = trained
    encoder = make("test_convnext", 1, encoder_weights=path).network.encoder
    grey = torch.randn(1, 1, 64, 64)
    colour = classifier.forward_intermediates(grey.expand(-1, 3, -1, -1), intermediates_only=True)
    assert_close(encoder(grey), colour, rtol=1e-3, atol=1e-5)


def test_maps_with_channels_last_are_turned():
    options = {"img_size": 64, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
    segmentor = make("swin_tiny_patch4_window7_224", window_size=2, **options)
    assert segmentor.input_size == (64, 64)
    assert segmentor.feature_channels == (8, 8, 8, 8)
    assert segmentor(torch.randn(1, 3, 64, 64)).logits.shape == (1, 2, 64, 64)


def test_a_backbone_of_a_fixed_size_says_so():
    options = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
    segmentor = make("swin_tiny_patch4_window7_224", **options)
    assert segmentor.input_size == (224, 224)
    with pytest.raises(ValueError, match="takes 224x224 only"):
        segmentor(torch.randn(1, 3, 64, 64))


def test_weights_of_another_backbone_are_refused(trained):
    _, path = trained
    with pytest.raises(ValueError, match="only 0 are there"):
        make("test_resnet", encoder_weights=path)


def test_an_unknown_backbone_or_one_of_a_hub_is_refused():
    with pytest.raises(ValueError, match=r"do not fit timm.*resnet_of_mine"):
        make("resnet_of_mine")
    with pytest.raises(ValueError, match="nothing is downloaded"):
        make("hf-hub:somebody/model")
