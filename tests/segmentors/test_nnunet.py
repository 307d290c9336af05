"""plans.json of a trained nnU-Net: what is read from it, and what is refused."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff.images import Intensity, normalise
from hidiff.segmentors.nnunet import PlannedUNet, layers_of, read_plans
from tests.nnunet_plans import LABELS, make, plans_of, write


@pytest.mark.parametrize(
    ("scheme", "low", "high", "theirs"),
    [
        ("CTNormalization", -500, 900, lambda x: (x.clip(-160, 240) - 80) / 20),
        ("RGBTo01Normalization", 0, 255, lambda x: x / 255),
        ("ZScoreNormalization", 1, 255, lambda x: (x - x.mean()) / x.std()),
    ],
)
def test_the_network_sees_what_nnunets_normalisation_gives(tmp_path, scheme, low, high, theirs):
    plans = read_plans(write(tmp_path, plans_of(normalization_schemes=[scheme]), LABELS))
    raw = np.random.default_rng(0).uniform(low, high, (1, 8, 8)).astype(np.float32)
    ours = torch.from_numpy(normalise(raw, Intensity(**plans.trained_on.intensity)))[None]
    seen = PlannedUNet(torch.nn.Identity(), plans.scale, plans.shift, single=False)(ours)
    assert_close(seen[0].numpy(), theirs(raw), rtol=1e-4, atol=1e-4)


def test_strides_that_differ_by_direction_are_left_out(tmp_path):
    content = plans_of()
    content["configurations"]["base"]["architecture"]["arch_kwargs"]["strides"] = [
        [1, 1], [2, 2], [2, 2], [2, 1], [1, 2], [2, 2],
    ]  # fmt: skip
    plans = read_plans(write(tmp_path, content, LABELS))
    assert layers_of(plans) == {
        4: "unet.decoder.stages.2",
        8: "unet.decoder.stages.0",
        16: "unet.encoder.stages.5",
    }


@pytest.mark.parametrize(
    ("labels", "heads"),
    [
        (LABELS, 3),
        ({**LABELS, "ignore": 3}, 3),
        ({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, 3),
    ],
)
def test_planes_are_counted_as_nnunet_does(tmp_path, labels, heads):
    assert read_plans(write(tmp_path, plans_of(), labels)).num_heads == heads


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        ({"patch_size": [64, 40]}, r"patch_size is \(64, 40\), but two multiples of 32"),
        ({"patch_size": [64, 64, 64]}, "two multiples of 32"),
        ({"normalization_schemes": ["NoNormalization"]}, "by NoNormalization, which data"),
        ({"normalization_schemes": ["ZScoreNormalization", "CTNormalization"]}, "same for all"),
        ({"architecture": {"network_class_name": "a.b.Primus"}}, r"network a\.b\.Primus, but must"),
        ({"architecture": {}}, "2-D nnU-Net of version 2.4 or newer.*network_class_name"),
    ],
)
def test_plans_that_cannot_be_followed_are_refused(tmp_path, planned, words):
    with pytest.raises(ValueError, match=words):
        read_plans(write(tmp_path, plans_of(**planned), LABELS))


@pytest.mark.parametrize("layer", ["os.system", "torch.nn.Conv3d", "torch.nn.functional.relu"])
def test_plans_can_name_no_class_but_layers_of_torch(tmp_path, layer):
    content = plans_of()
    content["configurations"]["base"]["architecture"]["arch_kwargs"]["conv_op"] = layer
    with pytest.raises(ValueError, match="plans' conv_op is"):
        read_plans(write(tmp_path, content, LABELS))


def test_planes_and_channels_that_differ_are_refused(tmp_path):
    folder = write(tmp_path, plans_of(), LABELS, channels=2)
    with pytest.raises(ValueError, match="has 2 channels, but the images have 1"):
        make(folder)
    with pytest.raises(ValueError, match="has 3 planes, but the recipe's labels want 5"):
        make(folder, channels=2, planes=5)


def test_a_folder_that_is_not_nnunets_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"plans\.json does not read.*results folder"):
        make(tmp_path)
