"""segmentation-models-pytorch: the weights of an encoder, and what is refused."""

import pytest
import torch
from torch.testing import assert_close

from hidiff import weights
from hidiff.segmentors import SegmentorSettings, make_segmentor
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators

declare_torchvision_operators()
smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="the extra smp is not installed", exc_type=ImportError
)

NARROW = {"decoder_channels": [8, 8, 8, 8, 8]}


def make(channels=3, **options):
    settings = SegmentorSettings(name="smp.Unet", options={**NARROW, **options})
    return make_segmentor(settings, channels, 2).eval()


@pytest.fixture
def trained(tmp_path):
    """An encoder of the library with weights of its own, and the file it was saved to."""
    encoder = smp.encoders.get_encoder("mobileone_s0", weights=None).eval()
    weights.save(tmp_path / "encoder.safetensors", encoder.state_dict(), {})
    return encoder, str(tmp_path / "encoder.safetensors")


def test_the_network_is_the_librarys_own_and_keeps_its_names():
    segmentor = make(encoder_name="tu-test_resnet")
    own = smp.Unet("tu-test_resnet", encoder_weights=None, classes=2, **NARROW).eval()
    own.load_state_dict(segmentor.network.state_dict())
    image = torch.randn(1, 3, 64, 64)
    assert_close(segmentor(image).logits, own(image))
    assert_close(segmentor(image).features[3], own.encoder(image)[5])


def test_an_encoder_starts_from_a_file(trained):
    encoder, path = trained
    segmentor = make(encoder_name="mobileone_s0", encoder_weights=path)
    image = torch.randn(1, 3, 64, 64)
    for found, expected in zip(segmentor(image).features, encoder(image)[2:], strict=True):
        assert_close(found, expected)


def test_a_grey_image_is_seen_by_a_trained_encoder_as_three_equal_channels(trained):
    encoder, path = trained
    segmentor = make(1, encoder_name="mobileone_s0", encoder_weights=path).double()
    grey = torch.randn(1, 1, 64, 64, dtype=torch.float64)
    expected = encoder.double()(grey.expand(-1, 3, -1, -1))[5]
    # the weights of the three channels are summed up in float32
    assert_close(segmentor(grey).features[3], expected, rtol=1e-3, atol=1e-3)


@pytest.fixture
def timms(tmp_path):
    """A classifier of timm's, and the file it was saved to."""
    classifier = pytest.importorskip("timm").create_model("test_convnext", num_classes=5).eval()
    weights.save(tmp_path / "convnext.safetensors", classifier.state_dict(), {})
    return classifier, str(tmp_path / "convnext.safetensors")


def test_timms_encoders_start_from_timms_files(timms):
    classifier, path = timms
    segmentor = make(encoder_name="tu-test_convnext", encoder_weights=path)
    image = torch.randn(1, 3, 64, 64)
    expected = classifier.forward_intermediates(image, intermediates_only=True)
    for found, wanted in zip(segmentor(image).features, expected, strict=True):
        assert_close(found, wanted)


def test_timms_weights_of_another_encoder_are_refused(timms):
    _, path = timms
    with pytest.raises(ValueError, match="only 0 are there"):
        make(encoder_name="tu-test_resnet", encoder_weights=path)


def test_names_of_weights_that_would_be_downloaded_are_refused():
    with pytest.raises(ValueError, match=r"smp\.Unet: imagenet is not a file"):
        make(encoder_name="mobileone_s0", encoder_weights="imagenet")
    with pytest.raises(ValueError, match="nothing is downloaded"):
        make(encoder_name="tu-hf-hub:somebody/model")


def test_weights_of_another_encoder_are_refused(tmp_path, trained):
    _, path = trained
    with pytest.raises(ValueError, match=r"encoder\.safetensors, do not fit"):
        make(encoder_name="resnet18", encoder_weights=path)


def test_an_unknown_encoder_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"do not fit smp\.Unet.*resnet34"):
        make(encoder_name="resnet35")
