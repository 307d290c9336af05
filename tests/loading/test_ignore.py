"""Pixels with an ignored value count nowhere: not in losses, and not in metrics."""

import numpy as np
import pytest
import torch
from PIL import Image

from hidiff.datasets import Case, load_split
from hidiff.evaluation import evaluate, read_truth
from hidiff.experiment import list_cases, load_cases, make_hybrid, make_predictor
from hidiff.hybrid import segmentor_loss
from hidiff.images import Intensity, to_slices
from hidiff.labels import Labels
from hidiff.loading import LoadedCases, Reading
from tests.tiny import make_tiny, shake
from tests.volumes import make_grid, write_nifti

DRAWS = np.random.default_rng(0)
GRID = make_grid(40, 32, 3)
LABELS = {
    "one_class": Labels(kind="one_class", classes={"a": (1,)}, ignore=(255, 7)),
    "exclusive": Labels(kind="exclusive", classes={"a": (1,), "b": (2,)}, ignore=(255, 7)),
    "regions": Labels(kind="regions", classes={"ab": (1, 2), "b": (2,)}, ignore=(255, 7)),
}


def values_of(kind, shape):
    return DRAWS.choice([0, 1, 255, 7] + ([] if kind == "one_class" else [2]), shape)


@pytest.mark.parametrize("cache", [True, "disk", False])
@pytest.mark.parametrize("kind", LABELS)
def test_of_a_volume_the_ignored_voxels_do_not_count(tmp_path, kind, cache, monkeypatch):
    monkeypatch.setenv("HIDIFF_CACHE", str(tmp_path / "cache"))
    masks = [values_of(kind, GRID.shape).astype(np.int16) for _ in range(2)]
    seen = DRAWS.integers(0, 2, GRID.shape).astype(np.uint8)
    image = write_nifti(tmp_path / "image.nii.gz", DRAWS.normal(size=GRID.shape), GRID)
    files = tuple(
        write_nifti(tmp_path / f"m{n}.nii.gz", mask, GRID) for n, mask in enumerate(masks)
    )
    field = write_nifti(tmp_path / "seen.nii.gz", seen, GRID)
    undecided = np.isin(masks[0], [255, 7]) | np.isin(masks[1], [255, 7])
    for view, inside in ((None, ~undecided), (field, ~undecided & (seen > 0))):
        case = Case("a", image, files, view, "a")
        loaded = LoadedCases([case], Reading(LABELS[kind], 1, Intensity(kind="zscore")), cache)
        wanted = to_slices(inside[None], GRID, "axial")[0]
        for number in range(len(loaded)):
            item = loaded[number]
            assert np.array_equal(item["field_of_view"][0].numpy() > 0, wanted[number])


@pytest.mark.parametrize("kind", LABELS)
def test_a_logit_of_an_ignored_pixel_has_no_gradient(tmp_path, kind):
    mask = values_of(kind, (64, 64)).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask).save(tmp_path / "image.png")
    case = Case("a", tmp_path / "image.png", tmp_path / "mask.png", None, "a")
    item = LoadedCases([case], Reading(LABELS[kind], 1, Intensity()))[0]
    logits = torch.randn_like(item["y0"])[None].requires_grad_()
    loss = segmentor_loss(logits, item["y0"][None], LABELS[kind], item["field_of_view"][None])
    loss.backward()
    moved = (logits.grad[0] != 0).any(dim=0).numpy()
    assert not moved[np.isin(mask, [255, 7])].any()
    assert moved[~np.isin(mask, [255, 7])].all()


def ignoring(folder):
    """A tiny recipe whose masks have a square of 255 in a corner."""
    recipe = make_tiny(folder, labels={"ignore": 255})
    for file in (folder / "tiny-one_class" / "masks").iterdir():
        mask = np.asarray(Image.open(file)).copy()
        mask[:24, :24] = 255
        Image.fromarray(mask).save(file)
    return recipe


def test_training_leaves_them_out_even_where_outside_the_view_is_background(tmp_path):
    recipe = ignoring(tmp_path)
    assert recipe.data.outside_field_of_view == "background"
    loaded = load_cases(recipe, list_cases(recipe, "train"))
    for number in range(len(loaded)):
        item = loaded[number]
        assert not item["field_of_view"][0, :24, :24].any()
        assert item["field_of_view"].sum() == 64 * 64 - 24 * 24
        assert not item["y0"][0, :24, :24].any()


def test_metrics_leave_them_out(tmp_path):
    recipe = ignoring(tmp_path)
    predictor = make_predictor(shake(make_hybrid(recipe)), recipe)
    case = load_split("folder", recipe.data.root, "train")[0]
    truth = read_truth(case, predictor)
    assert not truth.inside[:24, :24].any() and truth.inside.sum() == 64 * 64 - 24 * 24
    made = {}
    rows = evaluate(predictor, [case], steps=1, done=lambda *each: made.update(p=each[1]))
    for row in rows:
        maps = made["p"].spatial("prior_labels" if row["source"] == "prior" else "labels")
        mask, wanted = (each[truth.inside] > 0 for each in (maps, truth.labels))
        dice = 2 * (mask & wanted).sum() / max(mask.sum() + wanted.sum(), 1)
        assert row["dice"] == pytest.approx(dice)
