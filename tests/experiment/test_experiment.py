"""Recipe to objects and back: what a checkpoint keeps, and what a run can start from."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file

import hidiff
from hidiff import datasets, experiment, weights
from hidiff.datasets import MissingSplit
from hidiff.images import DataError
from hidiff.recipe import RETIRED, make_recipe, read_recipe
from hidiff.training.stages import BASELINE, IN_TURNS
from tests.nnunet_sets import write_nnunet
from tests.tiny import COSTS, make_tiny, same_tensors, shake
from tests.training.test_trainer import Killed, killed_at

OPTIONS = {"cpu": True, "validate": False, "budget": COSTS}
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


def same(left, right):
    names = ("labels", "probability", "uncertainty", "prior", "prior_labels")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A recipe, the folder of a short run of it, and what the run's own networks predict."""
    folder = tmp_path_factory.mktemp("build")
    recipe = make_tiny(folder, training={"stage1_steps": 1, "stage2_steps": 1})
    trainer = experiment.make_trainer(recipe, folder / "run", **OPTIONS)
    shake(trainer.hybrid)
    shake(trainer.predicting())
    trainer.run()
    predictor = experiment.make_predictor(trainer.predicting(), recipe)
    return recipe, folder / "run", predictor.predict(IMAGE, steps=2)


# Making


def test_the_seed_alone_decides_the_weights(tmp_path):
    recipe = make_tiny(tmp_path)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = experiment.make_hybrid(recipe).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert same_tensors(first, experiment.make_hybrid(recipe).state_dict())
    other = experiment.make_hybrid(recipe.model_copy(update={"seed": 1})).state_dict()
    assert not same_tensors(first, other)


@pytest.mark.parametrize(("kind", "planes"), [("one_class", 1), ("exclusive", 3), ("regions", 2)])
def test_networks_fit_the_recipe(tmp_path, kind, planes):
    recipe = make_tiny(tmp_path, kind, refiner={"width": 16}, diffusion={"num_steps": 7})
    hybrid = experiment.make_hybrid(recipe)
    assert hybrid.segmentor.num_planes == planes
    assert hybrid.refiner.input.out_channels == 16
    assert hybrid.schedule.num_steps == 7


def take(recipe, step, count, rank=0, world=1, **training):
    settings = recipe.training.model_copy(update=training)
    place = Mock(spec=Accelerator, process_index=rank, num_processes=world, device="cpu")
    loaded = experiment.load_cases(recipe, experiment.list_cases(recipe, "train"))
    stream = experiment.batches(recipe, settings, loaded, place, "stage1", step)
    return [next(stream) for _ in range(count)]


def test_batches_go_on_from_any_step(tmp_path):
    recipe = make_tiny(tmp_path)
    whole, rest = take(recipe, 0, 5), take(recipe, 3, 2)
    for left, right in zip(whole[3:], rest, strict=True):
        assert left.names == right.names
        assert torch.equal(left.image, right.image) and torch.equal(left.y0, right.y0)


@pytest.mark.parametrize(("outside", "share"), [("background", 1.0), ("ignored", 0.5)])
def test_what_lies_outside_a_field_of_view_is_background_unless_told(tmp_path, outside, share):
    recipe = make_tiny(tmp_path, training={"batch_size": 5})
    data = recipe.data.model_copy(update={"outside_field_of_view": outside})
    field = np.zeros((64, 64), np.uint8)
    field[:, :32] = 255
    fields = Path(data.path) / "fields_of_view"
    fields.mkdir()
    for image in Path(data.path, "images").iterdir():
        Image.fromarray(field).save(fields / image.name)
    batch = take(recipe.model_copy(update={"data": data}), 0, 1)[0]
    assert batch.field_of_view.mean() == share
    assert batch.y0.any()


def test_parts_and_ranks_share_out_the_same_patches(tmp_path):
    recipe = make_tiny(tmp_path, training={"batch_size": 4})
    whole = take(recipe, 1, 1)[0]
    parts = take(recipe, 1, 2, accumulation=2)
    ranks = [take(recipe, 1, 1, rank=rank, world=2)[0] for rank in range(2)]
    for pieces in (parts, ranks):
        assert [name for piece in pieces for name in piece.names] == whole.names
        assert torch.equal(torch.cat([piece.image for piece in pieces]), whole.image)


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"batch_size is 3, which .* 2 does not divide"):
        make_tiny(tmp_path, training={"batch_size": 3, "accumulation": 2})


# Checkpoints


def test_a_loaded_model_predicts_as_before_it_was_saved(run):
    _, folder, before = run
    for path in (folder, folder / "last.safetensors", str(folder)):
        predictor = hidiff.load(path)
        assert same(predictor.predict(IMAGE, steps=2), before)
    assert not np.array_equal(before.probability, before.prior)


def test_a_checkpoint_carries_its_recipe(run):
    recipe, folder, _ = run
    for name in ("stage1.safetensors", "last.safetensors", "recipe.yaml"):
        found = folder / name
        if found.suffix == ".yaml":
            continue
        assert experiment.load_recipe(found) == recipe
    metadata = weights.load(folder / "last.safetensors")[1]
    assert metadata["hidiff_version"] == hidiff.__version__
    assert (metadata["stage"], metadata["step"]) == ("in_turns", "1")


def test_a_run_writes_its_recipe_and_returns_its_model(tmp_path):
    recipe = make_tiny(tmp_path, training={"stage1_steps": 1, "stage2_steps": 1})
    path = experiment.train(recipe, tmp_path / "run", **OPTIONS)
    assert path == tmp_path / "run" / "last.safetensors"
    assert read_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    assert not [file.name for file in path.parent.iterdir() if file.name.startswith(".")]


def test_a_folder_that_holds_a_run_is_not_trained_into(run, tmp_path):
    recipe, folder, _ = run
    (tmp_path / "best.safetensors").write_bytes((folder / "last.safetensors").read_bytes())
    with pytest.raises(FileExistsError, match=r"holds a run already \(best\.safetensors\)"):
        experiment.train(recipe, tmp_path, **OPTIONS)
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


def test_a_model_without_a_trained_refiner_answers_with_its_prior(run):
    predictor = hidiff.load(run[1] / "stage1.safetensors")
    found = predictor.predict(IMAGE)
    assert not predictor.refines
    assert np.array_equal(found.probability, found.prior)


def test_the_best_model_of_a_folder_is_taken_first(run, tmp_path):
    _, folder, _ = run
    for name in ("stage1", "last"):
        content = (folder / f"{name}.safetensors").read_bytes()
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    assert experiment.open_model(tmp_path).path.name == "last.safetensors"
    (tmp_path / "best.safetensors").write_bytes(content)
    assert experiment.open_model(tmp_path).path.name == "best.safetensors"


def test_what_is_no_model_is_refused_by_name(run, tmp_path):
    tensors, metadata = weights.load(run[1] / "last.safetensors")
    with pytest.raises(ValueError, match=r"holds none of best.*no model was trained there yet"):
        hidiff.load(tmp_path)
    with pytest.raises(ValueError, match=r"none\.safetensors is not a file"):
        hidiff.load(tmp_path / "none.safetensors")
    content = (run[1] / "last.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.safetensors does not read as safetensors"):
        hidiff.load(tmp_path / "cut.safetensors")
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors is no HiDiff checkpoint.*nothing"):
        hidiff.load(tmp_path / "other.safetensors")
    weights.save(tmp_path / "new.safetensors", tensors, {**metadata, "format": "hidiff-9"})
    with pytest.raises(ValueError, match=r"\(it says hidiff-9\)"):
        hidiff.load(tmp_path / "new.safetensors")


def test_tensors_and_recipe_of_a_checkpoint_must_agree(run, tmp_path):
    tensors, metadata = weights.load(run[1] / "last.safetensors")
    recipe = json.loads(metadata["recipe"])
    recipe["refiner"]["width"] = 16
    metadata["recipe"] = json.dumps(recipe)
    weights.save(tmp_path / "wide.safetensors", tensors, metadata)
    with pytest.raises(ValueError, match=r"wide\.safetensors: the checkpoint's refiner"):
        hidiff.load(tmp_path / "wide.safetensors")
    recipe["refiner"]["depth"] = 3
    metadata["recipe"] = json.dumps(recipe)
    weights.save(tmp_path / "odd.safetensors", tensors, metadata)
    with pytest.raises(ValueError, match=r"odd\.safetensors: refiner\.depth is no setting"):
        hidiff.load(tmp_path / "odd.safetensors")


def with_retired_settings(path):
    """Rewrite a file of tensors as HiDiff 0.1.0 wrote it: with every setting that it had."""
    tensors, metadata = weights.load(path)
    content = json.loads(metadata["recipe"])
    for name, retired in RETIRED.items():
        group, setting = name.split(".")
        content[group][setting] = retired.default
    weights.save(path, tensors, {**metadata, "recipe": json.dumps(content)})


def test_a_checkpoint_that_names_retired_settings_predicts_as_before(run, tmp_path):
    recipe, folder, before = run
    path = tmp_path / "last.safetensors"
    path.write_bytes((folder / "last.safetensors").read_bytes())
    with_retired_settings(path)
    assert same(hidiff.load(path).predict(IMAGE, steps=2), before)
    assert experiment.load_recipe(path) == recipe


def test_a_run_that_names_retired_settings_goes_on_as_if_it_did_not(tmp_path):
    recipe = make_tiny(tmp_path, training={"stage1_steps": 1, "stage2_steps": 2, "save_every": 1})
    whole = experiment.train(recipe, tmp_path / "whole", **OPTIONS)
    run = tmp_path / "run"
    trainer = killed_at(experiment.make_trainer(recipe, run, **OPTIONS), "in_turns", 1)
    with pytest.raises(Killed):
        trainer.run()
    with_retired_settings(run / "state.safetensors")
    again = experiment.train(recipe, run, **OPTIONS, resume=True)
    assert same_tensors(weights.load(again)[0], weights.load(whole)[0])


# Where a run starts from


def start(recipe, folder, **changes):
    content = {**recipe.model_dump()}
    for group, change in changes.items():
        content[group] = {**content[group], **change}
    return experiment.make_trainer(make_recipe(content), folder, **OPTIONS)


def test_fine_tuning_begins_with_both_networks_and_skips_stage_1(run, tmp_path):
    recipe, folder, _ = run
    trainer = start(recipe, tmp_path, training={"start_from": str(folder)})
    assert trainer.stages == {IN_TURNS: 1}
    tensors, _ = weights.load(folder / "last.safetensors")
    for name, network in trainer.saved_networks.items():
        prefix = name.removeprefix("live_")
        for key, value in network.state_dict().items():
            assert torch.equal(value, tensors[f"{prefix}.{key}"])


def test_a_checkpoint_without_hint_planes_can_be_taught_to_read_hints(run, tmp_path):
    recipe, folder, _ = run
    refiner = {**recipe.refiner.model_dump(), "hints": True}
    trainer = start(recipe, tmp_path, refiner=refiner, training={"start_from": str(folder)})
    taught = trainer.hybrid.refiner
    tensors, _ = weights.load(folder / "last.safetensors")
    for name, value in taught.state_dict().items():
        if name == "hint_input.weight":
            assert value.shape == (recipe.refiner.width, 1, 3, 3) and not value.any()
        else:
            assert torch.equal(value, tensors[f"refiner.{name}"])
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    uniforms = [lambda t: torch.full((1, 1, 64, 64), 0.4)]
    results = []
    for hybrid in (trainer.hybrid, experiment.load_predictor(folder).hybrid):
        hybrid.eval()
        with torch.no_grad():
            *_, (last,) = hybrid.refine(image, hybrid.look(image), [4, 2], uniforms)
        results.append(last.y0_hat)
    assert torch.equal(*results)
    # everything else must match as ever, and hint planes do not go unnoticed
    wide = {**refiner, "width": 16}
    with pytest.raises(ValueError, match=r"start_from, .*the checkpoint's refiner"):
        start(recipe, tmp_path / "wide", refiner=wide, training={"start_from": str(folder)})
    tensors["refiner.hint_input.weight"] = torch.zeros(recipe.refiner.width, 1, 3, 3)
    metadata = weights.load_metadata(folder / "last.safetensors")
    weights.save(tmp_path / "hinted.safetensors", tensors, metadata)
    path = {"start_from": str(tmp_path / "hinted.safetensors")}
    with pytest.raises(ValueError, match=r"hinted\.safetensors: .*refiner\.hints is false"):
        start(recipe, tmp_path / "plain", training=path)


def test_a_run_trains_a_refiner_with_hint_planes_as_it_trains_one_without(run, tmp_path):
    content, files = run[0].model_dump(), []
    for hints in (True, False):
        content["refiner"]["hints"] = hints
        folder = tmp_path / str(hints)
        experiment.train(make_recipe(content), folder, cpu=True, validate=False)
        files.append(weights.load(folder / "last.safetensors")[0])
    ours, theirs = files
    # marks are still to come, so the weights of the hint planes rest
    assert not ours.pop("refiner.hint_input.weight").any()
    assert same_tensors(ours, theirs)


@pytest.mark.parametrize("form", ["checkpoint", "bare.pt", "wrapped.pth", "bare.safetensors"])
def test_trained_weights_of_the_segmentor_skip_stage_1(run, tmp_path, form):
    recipe, folder, _ = run
    tensors, _ = weights.load(folder / "last.safetensors")
    bare = {
        name.removeprefix("segmentor.network."): value
        for name, value in tensors.items()
        if name.startswith("segmentor.network.")
    }
    path = tmp_path / form
    if form == "checkpoint":
        path = folder / "last.safetensors"
    elif form == "bare.safetensors":
        save_file(bare, path)
    else:
        torch.save({"state_dict": bare} if form == "wrapped.pth" else bare, path)
    trainer = start(recipe, tmp_path / "run", segmentor={"weights": str(path)})
    assert trainer.stages == {IN_TURNS: 1}
    assert same_tensors(trainer.hybrid.segmentor.network.state_dict(), bare)
    fresh = experiment.make_hybrid(recipe).refiner.state_dict()
    assert same_tensors(trainer.hybrid.refiner.state_dict(), fresh)


@pytest.mark.parametrize("setting", ["training.start_from", "segmentor.weights"])
def test_a_run_goes_on_without_the_weights_that_it_began_with(run, tmp_path, setting):
    recipe, folder, _ = run
    (tmp_path / "first.safetensors").write_bytes((folder / "last.safetensors").read_bytes())
    group, name = setting.split(".")
    content = recipe.model_dump()
    content[group][name] = str(tmp_path / "first.safetensors")
    recipe = make_recipe(content)
    experiment.train(recipe, tmp_path / "run", **OPTIONS)
    (tmp_path / "first.safetensors").unlink()
    assert experiment.train(recipe, tmp_path / "run", resume=True, **OPTIONS).is_file()
    with pytest.raises(ValueError, match=r"first\.safetensors"):
        experiment.train(recipe, tmp_path / "other", resume=True, **OPTIONS)


def test_weights_that_do_not_fit_are_refused_by_name(run, tmp_path):
    recipe, folder, _ = run
    wide = {"options": {"width": 16}}
    with pytest.raises(ValueError, match=r"segmentor\.weights, .*last.safetensors, do not fit"):
        start(recipe, tmp_path, segmentor={**wide, "weights": str(folder / "last.safetensors")})
    with pytest.raises(ValueError, match=r"training\.start_from, .*the checkpoint's segmentor"):
        start(recipe, tmp_path, segmentor=wide, training={"start_from": str(folder)})
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt, do not fit BasicUNet"):
        start(recipe, tmp_path, segmentor={"weights": str(tmp_path / "other.pt")})
    with pytest.raises(ValueError, match=r"there is no file .*none\.pt\. Put the trained"):
        start(recipe, tmp_path, segmentor={"weights": str(tmp_path / "none.pt")})


def test_the_baseline_continues_from_the_same_stage_1(run, tmp_path):
    recipe, folder, _ = run
    trainer = start(
        recipe, tmp_path,
        training={"arm": "segmentor_only", "stage2_steps": 4},
        segmentor={"weights": str(folder / "stage1.safetensors")},
    )  # fmt: skip
    assert trainer.stages == {BASELINE: 6}
    tensors, _ = weights.load(folder / "stage1.safetensors")
    for name, value in trainer.hybrid.segmentor.state_dict().items():
        assert torch.equal(value, tensors[f"segmentor.{name}"])


def recipe_of(root, source="nnunet"):
    labels = {"kind": "exclusive", "classes": {"wall": [1], "blood": [2]}}
    data = {"source": source, "path": str(root), "channels": 1, "intensity": {"kind": "zscore"}}
    return make_recipe({"name": "a", "data": data, "labels": labels})


def test_a_run_lists_its_splits_once(tmp_path, monkeypatch):
    recipe = make_tiny(tmp_path, training={"stage1_steps": 1, "stage2_steps": 1})
    listed = []

    def load_split(source, root, split, **options):
        listed.append(split)
        return datasets.load_split(source, root, split, **options)

    monkeypatch.setattr("hidiff.experiment.cases.load_split", load_split)
    experiment.train(recipe, tmp_path / "run", cpu=True, budget=COSTS)
    assert sorted(listed) == ["test", "train", "validation"]


def test_nothing_is_made_for_a_folder_that_holds_a_run(run, monkeypatch):
    recipe, folder, _ = run
    monkeypatch.setattr("hidiff.experiment.experiment.make_hybrid", pytest.fail)
    with pytest.raises(FileExistsError, match="holds a run already"):
        experiment.train(recipe, folder, cpu=True)


def test_a_data_set_without_test_cases_is_listed(tmp_path):
    root = write_nnunet(tmp_path, shapes=((4, 4, 1),) * 4)
    (root / "train.txt").write_text("p0\np1\n")
    (root / "validation.txt").write_text("p2\n")
    splits = experiment.list_splits(recipe_of(root))
    assert {split: len(cases) for split, cases in splits.items()} == {
        "train": 2, "validation": 1, "test": 0,
    }  # fmt: skip
    for place in ("train/images", "train/masks", "validation/images", "validation/masks"):
        (tmp_path / "polyps" / place).mkdir(parents=True)
        (tmp_path / "polyps" / place / "a.png").touch()
    assert experiment.list_splits(recipe_of(tmp_path / "polyps", "kvasir_seg"))["test"] == []


def test_a_split_that_is_not_needed_may_be_empty(tmp_path):
    root = write_nnunet(tmp_path, shapes=((4, 4, 1),) * 4)
    (root / "test.txt").write_text("p0\np1\np2\np3\n")
    with pytest.raises(MissingSplit, match="split train"):
        experiment.list_splits(recipe_of(root))
    assert len(experiment.list_splits(recipe_of(root), needed=["test"])["test"]) == 4


def test_what_is_wrong_with_the_test_cases_is_said_before_training(tmp_path):
    root = write_nnunet(tmp_path, shapes=((4, 4, 1),) * 4)
    write_nnunet(root, part="Ts", shapes=((4, 4, 1),) * 2)
    (root / "labelsTs" / "q1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"q1\.nii\.gz is not there"):
        experiment.list_splits(recipe_of(root))
    assert experiment.list_cases(recipe_of(root), "train")
