"""Networks of transformers: the weights of an encoder out of a folder, and what is refused."""

import pytest
import torch
from torch.testing import assert_close

from hidiff.segmentors import SegmentorSettings, make_segmentor

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

SEGFORMER = {
    "depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 8,
    "num_attention_heads": [1, 1, 2, 2],
}  # fmt: skip
SWIN = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}


def make(name, channels=3, **options):
    settings = SegmentorSettings(name=f"transformers.{name}", options=options)
    return make_segmentor(settings, channels, 2).eval()


def test_segformers_logits_are_the_librarys_made_as_large_as_the_image():
    segmentor = make("Segformer", **SEGFORMER)
    image = torch.randn(1, 3, 64, 96)
    own = segmentor.network(image).logits
    assert own.shape == (1, 2, 16, 24)
    expected = torch.nn.functional.interpolate(own, (64, 96), mode="bilinear")
    assert_close(segmentor(image).logits, expected)


def test_segformers_encoder_starts_from_a_folder(tmp_path):
    config = transformers.SegformerConfig(**SEGFORMER, num_labels=7)
    trained = transformers.SegformerForImageClassification(config).eval()
    trained.save_pretrained(tmp_path)
    segmentor = make("Segformer", **SEGFORMER, encoder_weights=str(tmp_path))
    image = torch.randn(1, 3, 64, 64)
    expected = trained(image, output_hidden_states=True).hidden_states
    for found, wanted in zip(segmentor(image).features, expected, strict=True):
        assert_close(found, wanted)


def test_upernets_backbone_starts_from_a_folder_of_a_swin(tmp_path):
    trained = transformers.SwinForImageClassification(transformers.SwinConfig(**SWIN)).eval()
    trained.save_pretrained(tmp_path)
    segmentor = make("UperNet", hidden_size=8, backbone_config=SWIN, encoder_weights=str(tmp_path))
    ours = {name.split(".", 2)[-1]: value for name, value in segmentor.network.named_parameters()}
    theirs = {name.split(".", 1)[1]: value for name, value in trained.named_parameters()}
    shared = [name for name in theirs if name.startswith(("embeddings.", "encoder.", "layers."))]
    assert shared
    for name in shared:
        assert_close(ours[name], theirs[name])


@pytest.mark.parametrize("name", ["Segformer", "UperNet"])
def test_a_models_name_is_no_folder_and_is_refused(name):
    with pytest.raises(ValueError, match="no such folder is there"):
        make(name, encoder_weights="nvidia/mit-b0")


def test_weights_of_another_size_are_refused(tmp_path):
    config = transformers.SegformerConfig(**{**SEGFORMER, "hidden_sizes": [8, 8, 16, 32]})
    transformers.SegformerModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="do not fit SegformerModel"):
        make("Segformer", **SEGFORMER, encoder_weights=str(tmp_path))
