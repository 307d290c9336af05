"""The networks of a trained nnU-Net: logits, features and weights are those of its own library."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff import weights
from hidiff.diffusion import LossWeights
from hidiff.experiment import make_hybrid
from hidiff.recipe import make_recipe
from hidiff.segmentors.nnunet import make_unet, read_plans
from hidiff.training.steps import Batch, draw_noise, segmentor_step
from tests.nnunet_plans import ARCHITECTURES, LABELS, STAGES, make, plans_of, write

pytest.importorskip("dynamic_network_architectures", reason="the extra nnunet is not installed")


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


def test_weights_of_several_processes_fit_too(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    network = train(folder, prefix="module.")
    image = torch.randn(1, 1, 64, 96)
    assert_close(make(folder).eval()(image).logits, network(image))


def test_one_label_and_background_may_be_one_plane_of_the_same_probability(tmp_path):
    folder = write(tmp_path / "results", plans_of(), {"background": 0, "vessel": 1})
    network = train(folder)
    image = torch.randn(1, 1, 64, 96)
    single = make(folder, planes=1).eval()(image).logits
    assert_close(single.sigmoid(), network(image).softmax(dim=1)[:, 1:])
    assert make(folder, planes=2)(image).logits.shape[1] == 2


def test_what_can_learn_does_and_the_heads_of_deep_supervision_are_frozen(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    train(folder)
    segmentor = make(folder).train()
    segmentor(torch.randn(2, 1, 64, 96)).logits.square().mean().backward()
    for name, parameter in segmentor.named_parameters():
        idle = "seg_layers" in name and f"seg_layers.{STAGES - 2}." not in name
        assert parameter.requires_grad != idle
        assert idle or parameter.grad is not None


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


def test_images_of_another_intensity_are_warned_of(tmp_path):
    folder = write(tmp_path / "results", plans_of(), LABELS)
    train(folder)
    with pytest.warns(UserWarning, match=r"trained on images of intensity .*zscore.* at 1 x 1 mm"):
        make_hybrid(recipe_on(folder, intensity={"kind": "unit"}))
