"""A trained nnU-Net as segmentor: read from its folder as nnU-Net would, and nothing unpickled."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff import weights
from hidiff.diffusion import LossWeights
from hidiff.experiment import make_hybrid
from hidiff.images import Intensity, normalise
from hidiff.recipe import make_recipe
from hidiff.segmentors import SegmentorSettings, make_segmentor
from hidiff.segmentors.nnunet import PlannedUNet, layers_of, make_unet, read_plans
from hidiff.training.steps import Batch, draw_noise, segmentor_step

needs_architectures = pytest.mark.skipif(
    find_spec("dynamic_network_architectures") is None, reason="the extra nnunet is not installed"
)
STAGES = 6
PACKAGE = "dynamic_network_architectures.architectures.unet"
ARCHITECTURES = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}


def plans_of(kind="PlainConvUNet", **planned):
    """plans.json as nnU-Net 2.5 writes it, in the parts that a network needs; 2d inherits."""
    configuration = {
        "patch_size": [64, 96],
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "architecture": {
            "network_class_name": f"{PACKAGE}.{kind}",
            "arch_kwargs": {
                "n_stages": STAGES,
                "features_per_stage": [4, 5, 6, 7, 8, 9],
                "conv_op": "torch.nn.modules.conv.Conv2d",
                "kernel_sizes": [[3, 3]] * STAGES,
                "strides": [[1, 1]] + [[2, 2]] * (STAGES - 1),
                ARCHITECTURES[kind]: [1] * STAGES,
                "n_conv_per_stage_decoder": [1] * (STAGES - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    ct = {"mean": 80.0, "std": 20.0, "percentile_00_5": -160.0, "percentile_99_5": 240.0}
    return {
        "plans_name": "nnUNetPlans",
        "foreground_intensity_properties_per_channel": {"0": ct},
        "configurations": {"base": configuration, "2d": {"inherits_from": "base", **planned}},
    }


def write(folder, plans, labels, channels=1):
    folder.mkdir(exist_ok=True)
    names = {str(number): f"channel {number}" for number in range(channels)}
    dataset = {"channel_names": names, "labels": labels, "file_ending": ".nii.gz"}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


LABELS = {"background": 0, "liver": 1, "tumour": 2}


def make(folder, channels=1, planes=3, **options):
    settings = SegmentorSettings(name="nnunet", options={"folder": str(folder), **options})
    return make_segmentor(settings, channels, planes)


def train(folder, prefix=""):
    """The network of a folder, and its checkpoint, with the numbers that nnU-Net keeps in one."""
    torch.manual_seed(1)
    network = make_unet(read_plans(folder))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    content = {
        "network_weights": {prefix + name: t for name, t in network.state_dict().items()},
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "logging": {"ema_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.5)]},
        "_best_ema": np.float64(0.5),
        "init_args": {"fold": 0, "device": torch.device("cpu"), "seen": np.int64(3)},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }
    (folder / "fold_0").mkdir()
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    return network.eval()


@needs_architectures
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_trained_folder_gives_the_logits_of_its_own_network(tmp_path, architecture):
    folder = write(tmp_path / "results", plans_of(architecture), LABELS)
    network = train(folder)
    segmentor = make(folder).eval()
    image = torch.randn(2, 1, 64, 96)
    logits, features, _ = segmentor(image)
    assert_close(logits, network(image))
    assert [tuple(f.shape[1:]) for f in features] == [(6, 16, 24), (7, 8, 12), (8, 4, 6), (9, 2, 3)]
    assert_close(features[3], network.encoder(image)[-1])
    assert segmentor.input_size == (64, 96)
    assert segmentor.trained_on == ({"kind": "zscore"}, (1.0, 1.0))


@needs_architectures
def test_weights_of_several_processes_fit_too(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    network = train(folder, prefix="module.")
    image = torch.randn(1, 1, 64, 96)
    assert_close(make(folder).eval()(image).logits, network(image))


@needs_architectures
def test_one_label_and_background_may_be_one_plane_of_the_same_probability(tmp_path):
    folder = write(tmp_path / "results", plans_of(), {"background": 0, "vessel": 1})
    network = train(folder)
    image = torch.randn(1, 1, 64, 96)
    single = make(folder, planes=1).eval()(image).logits
    assert_close(single.sigmoid(), network(image).softmax(dim=1)[:, 1:])
    assert make(folder, planes=2)(image).logits.shape[1] == 2


@needs_architectures
def test_what_can_learn_does_and_the_heads_of_deep_supervision_are_frozen(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    train(folder)
    segmentor = make(folder).train()
    segmentor(torch.randn(2, 1, 64, 96)).logits.square().mean().backward()
    for name, parameter in segmentor.named_parameters():
        idle = "seg_layers" in name and f"seg_layers.{STAGES - 2}." not in name
        assert parameter.requires_grad != idle
        assert idle or parameter.grad is not None


@needs_architectures
def test_weights_of_another_plan_are_refused(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    train(folder)
    write(folder, plans_of(), {"background": 0, "liver": 1})
    with pytest.raises(ValueError, match=r"checkpoint_final\.pth does not fit the plans beside it"):
        make(folder, planes=2)
    with pytest.raises(ValueError, match=r"fold_3.checkpoint_final\.pth is not a file"):
        make(folder, planes=2, fold=3)


def recipe_on(folder, **data):
    return make_recipe(
        {
            "name": "tiny",
            "data": {"path": "unused", "channels": 1, "patch_size": [64, 96], **data},
            "labels": {"kind": "exclusive", "classes": {"liver": [1], "tumour": [2]}},
            "segmentor": {"name": "nnunet", "options": {"folder": str(folder)}},
            "refiner": {"width": 8, "condition": "once"},
            "diffusion": {"num_steps": 4},
        }
    )


@needs_architectures
def test_it_learns_with_a_refiner_and_is_saved_whole(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    train(folder)
    hybrid = make_hybrid(recipe_on(folder, intensity={"kind": "zscore"})).train()
    image, y0 = torch.randn(2, 1, 64, 96), torch.eye(3)[torch.randint(3, (2, 64, 96))]
    y0 = y0.movedim(-1, 1).contiguous()
    batch = Batch(["a", "b"], image, y0, torch.ones_like(y0[:, :1]))
    draws = draw_noise(batch, 4, 0, "test")
    losses = segmentor_step(hybrid, hybrid.look(image), batch, draws, LossWeights(), 1.0)
    losses["loss"].backward()
    torch.optim.SGD(hybrid.segmentor.parameters(), lr=0.1).step()
    weights.save(tmp_path / "it.safetensors", hybrid.segmentor.state_dict(), {})
    other = make(folder).eval()
    expected = hybrid.segmentor.eval()(image).logits
    assert not torch.equal(other(image).logits, expected)
    other.load_state_dict(weights.load(tmp_path / "it.safetensors")[0])
    assert torch.equal(other(image).logits, expected)


@needs_architectures
def test_images_of_another_intensity_are_warned_of(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    train(folder)
    with pytest.warns(UserWarning, match=r"trained on images of intensity .*zscore.* at 1 x 1 mm"):
        make_hybrid(recipe_on(folder, intensity={"kind": "unit"}))


# Its normalisation


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


# What plans may say


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
