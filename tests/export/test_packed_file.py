"""A packed model as a file: small, whole, and taken like any other."""

import copy

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff import experiment, weights
from hidiff.experiment.start import load_start
from hidiff.export import STORAGES, load_packed, pack_refiner, save_packed
from hidiff.export.pack import empty_packed
from hidiff.hybrid import HybridSegmentor
from hidiff.packed import int8
from hidiff.refiner import Refiner, RefinerSettings
from tests.tiny import make_tiny, shake


@pytest.fixture(params=[{"condition": "each_step"}, {"fine": True}], ids=["each_step", "fine"])
def hybrid(tmp_path, request):
    recipe = make_tiny(tmp_path, refiner=request.param)
    return shake(experiment.make_hybrid(recipe)).eval(), experiment.checkpoint_metadata(recipe)


def write(path, hybrid, metadata, storage="float32", steps=(4, 3, 2, 1), compute="float32"):
    packed = pack_refiner(hybrid.refiner, steps, compute)
    save_packed(path, hybrid.segmentor, packed, metadata, storage)
    return path


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_read_is_what_was_written(tmp_path, hybrid, storage):
    hybrid, metadata = hybrid
    path = write(tmp_path / "a.safetensors", hybrid, metadata, storage)
    read = experiment.load_hybrid(experiment.open_model(path)).refiner
    packed = pack_refiner(hybrid.refiner, (4, 3, 2, 1))
    assert read.table.steps == packed.table.steps
    exact = {"float32": 0, "half": 2**-11, "int8": 1 / 254}[storage]
    for name, value in packed.state_dict().items():
        found = read.state_dict()[name]
        assert found.dtype == value.dtype
        of_channel = value.abs().flatten(1).amax(dim=1) if value.ndim == 4 else None
        if name.startswith("condition_blocks.") and of_channel is not None:
            error = (found - value).abs().flatten(1).amax(dim=1)
            assert (error <= 1.01 * exact * of_channel).all()
        else:
            assert torch.equal(found, value)


def test_hint_planes_are_kept_in_floats_and_leave_no_trace_where_there_are_none(tmp_path):
    image = torch.rand(1, 3, 64, 64)
    files = {}
    for hints in (False, True):
        recipe = make_tiny(tmp_path, refiner={"hints": hints})
        hybrid = shake(experiment.make_hybrid(recipe)).eval()
        if hints:
            torch.nn.init.normal_(hybrid.refiner.hint_input.weight)
        metadata = experiment.checkpoint_metadata(recipe)
        files[hints] = write(tmp_path / f"{hints}.safetensors", hybrid, metadata)
    tensors = {hints: weights.load(path)[0] for hints, path in files.items()}
    added = tensors[True].pop("refiner.hint_input.weight")
    assert torch.equal(added, hybrid.refiner.hint_input.weight)
    assert tensors[True].keys() == tensors[False].keys()
    for name, value in tensors[False].items():
        assert torch.equal(tensors[True][name], value)
    read = experiment.load_hybrid(experiment.open_model(files[True]))
    assert read.refiner.reads_hints
    hints, uniform = torch.zeros(1, 1, 64, 64), torch.full((1, 1, 64, 64), 0.4)
    hints[..., 10:20, 30:40] = 1
    packed = HybridSegmentor(
        hybrid.segmentor, pack_refiner(hybrid.refiner, [4]), hybrid.labels, hybrid.settings
    )
    with torch.no_grad():
        steps = (
            each.refine(image, each.look(image), [4], [lambda t: uniform], hints=hints)
            for each in (read.eval(), packed)
        )
        again, before = (next(taken)[0].y0_hat for taken in steps)
    assert torch.equal(again, before)


@pytest.mark.parametrize("storage", STORAGES)
def test_the_segmentors_weights_come_back_as_floats(tmp_path, hybrid, storage):
    hybrid, metadata = hybrid
    packed = pack_refiner(hybrid.refiner, (4, 3, 2, 1))
    path = tmp_path / "a.safetensors"
    save_packed(path, hybrid.segmentor, packed, metadata, segmentor_storage=storage)
    read = experiment.load_hybrid(experiment.open_model(path)).segmentor.state_dict()
    exact = {"float32": 0, "half": 2**-11, "int8": 1 / 254}[storage]
    for name, value in hybrid.segmentor.state_dict().items():
        assert read[name].dtype == value.dtype
        if value.ndim < 2:  # of batch norms, biases, slopes
            assert torch.equal(read[name], value)
            continue
        of_first = value.abs().flatten(1).amax(dim=1)
        error = (read[name] - value).abs().flatten(1).amax(dim=1)
        assert (error <= 1.01 * exact * of_first).all()
    written = weights.load(path)[0]
    assert {v.dtype for k, v in written.items() if k.startswith("segmentor.") and v.ndim == 4} == {
        {"float32": torch.float32, "half": torch.float16, "int8": torch.int8}[storage]
    }


def test_a_segmentors_own_integers_and_scales_are_left_alone(tmp_path, hybrid):
    hybrid, metadata = hybrid
    segmentor = hybrid.segmentor
    segmentor.register_buffer("table", torch.arange(6, dtype=torch.int8).reshape(2, 3))
    segmentor.register_parameter("logit", torch.nn.Parameter(torch.rand(3)))
    segmentor.register_parameter("logit_scale", torch.nn.Parameter(torch.rand(3)))
    packed = pack_refiner(hybrid.refiner, (4, 3, 2, 1))
    path = tmp_path / "a.safetensors"
    save_packed(path, segmentor, packed, metadata, segmentor_storage="half")
    tensors, words = weights.load(path)
    expected, again = segmentor.state_dict(), copy.deepcopy(segmentor)
    for each in again.parameters():
        torch.nn.init.zeros_(each)
    load_packed(tensors, words, again, hybrid.refiner)
    for name in ("table", "logit", "logit_scale"):
        assert torch.equal(again.state_dict()[name], expected[name])


def test_an_unknown_storage_is_refused(tmp_path, hybrid):
    hybrid, metadata = hybrid
    packed = pack_refiner(hybrid.refiner, (4, 3, 2, 1))
    with pytest.raises(ValueError, match=r"storage is 'quarter', but must be one of float32"):
        save_packed(tmp_path / "a", hybrid.segmentor, packed, metadata, segmentor_storage="quarter")


def test_prediction_is_the_float_models(tmp_path, hybrid):
    hybrid, metadata = hybrid
    path = write(tmp_path / "a.safetensors", hybrid, metadata)
    float_model = experiment.make_predictor(hybrid, experiment.load_recipe(path))
    packed = experiment.load_predictor(path)
    assert packed.refines
    image = np.random.default_rng(0).integers(0, 255, (80, 70, 3)).astype(np.uint8)
    for changes in ({}, {"steps": 4}, {"samples": 3, "temperature": 0.0, "steps": 2}):
        ours, theirs = (model.predict(image, **changes) for model in (packed, float_model))
        assert_close(ours.prior, theirs.prior)
        assert (ours.labels == theirs.labels).mean() > 0.995


@pytest.mark.skipif(bool(int8.int8_problem()), reason=int8.int8_problem())
def test_computed_in_int8_it_says_the_same_before_and_after_the_file(tmp_path, hybrid):
    hybrid, metadata = hybrid
    path = write(tmp_path / "a.safetensors", hybrid, metadata, compute="int8")
    packed = pack_refiner(hybrid.refiner, (4, 3, 2, 1), "int8")
    before = HybridSegmentor(hybrid.segmentor, packed, hybrid.labels, hybrid.settings)
    models = (
        experiment.load_predictor(path),
        experiment.make_predictor(before, experiment.load_recipe(path)),
    )
    image = np.random.default_rng(0).integers(0, 255, (80, 70, 3)).astype(np.uint8)
    after, before = (model.predict(image, steps=4, samples=2) for model in models)
    assert np.array_equal(after.probability, before.probability)


def test_a_file_for_int8_is_refused_where_that_cannot_be_computed(tmp_path, hybrid, monkeypatch):
    path = write(tmp_path / "a.safetensors", *hybrid)
    tensors, words = weights.load(path)
    weights.save(path, tensors, {**words, "condition_compute": "int8"})
    monkeypatch.setattr(int8, "int8_problem", lambda: "this processor has none")
    with pytest.raises(ValueError, match=r"a\.safetensors: int8 is asked for, but this processor"):
        experiment.load_predictor(path)


def test_an_unknown_compute_is_refused(hybrid):
    with pytest.raises(ValueError, match=r"condition_compute is 'int4', but must be one of float3"):
        pack_refiner(hybrid[0].refiner, (2, 1), "int4")


def test_asked_for_on_a_gpu_it_warns_and_runs_on_the_processor(tmp_path, hybrid):
    path = write(tmp_path / "a.safetensors", *hybrid)
    with pytest.warns(UserWarning, match=r"a\.safetensors is packed, so it runs on the CPU"):
        predictor = experiment.load_predictor(path, "cuda")
    assert predictor.device.type == "cpu"
    image = np.zeros((64, 64, 3), np.uint8)
    again = experiment.load_predictor(path).predict(image)
    assert np.array_equal(predictor.predict(image).probability, again.probability)


def test_one_that_refines_priors_from_files_predicts_as_the_float_model(tmp_path):
    recipe = make_tiny(
        tmp_path,
        segmentor={"name": "files", "options": {}},
        training={"segmentor": "frozen", "stage1_steps": 0},
    )
    hybrid = shake(experiment.make_hybrid(recipe)).eval()
    path = write(tmp_path / "a.safetensors", hybrid, experiment.checkpoint_metadata(recipe))
    packed, float_model = experiment.load_predictor(path), experiment.make_predictor(hybrid, recipe)
    assert packed.hybrid.refiner.image_encoder is not None
    draws = np.random.default_rng(0)
    image = draws.integers(0, 255, (80, 70, 3)).astype(np.uint8)
    prior = draws.random((1, 80, 70)).astype(np.float32)
    ours, theirs = (model.predict(image, prior=prior) for model in (packed, float_model))
    assert_close(ours.prior, theirs.prior)
    assert not np.array_equal(ours.labels, ours.prior_labels)
    assert (ours.labels == theirs.labels).mean() > 0.995


def test_a_step_that_is_not_in_the_file_is_told(tmp_path, hybrid):
    path = write(tmp_path / "a.safetensors", *hybrid, steps=(4, 2))
    with pytest.raises(ValueError, match="packed for the steps 4, 2, but step 3 is asked for"):
        experiment.load_predictor(path).predict(np.zeros((64, 64, 3), np.uint8), steps=4)


def test_a_packed_model_is_not_compiled_further(tmp_path, hybrid):
    path = write(tmp_path / "a.safetensors", *hybrid)
    with pytest.raises(ValueError, match=r"a\.safetensors is packed: its kernels are compiled"):
        experiment.load_predictor(path, compiled=True)


def test_a_packed_model_is_not_trained_further(tmp_path, hybrid):
    hybrid, metadata = hybrid
    path = write(tmp_path / "a.safetensors", hybrid, metadata)
    recipe = make_tiny(tmp_path, training={"start_from": str(path)})
    with pytest.raises(ValueError, match=r"a\.safetensors.* packed model cannot be trained"):
        load_start(recipe, experiment.make_hybrid(recipe), print)


@pytest.mark.parametrize("lacking", ["steps", "refiner.middle1.signs", "segmentor"])
def test_a_file_that_lacks_a_part_is_named(tmp_path, hybrid, lacking):
    hybrid, metadata = hybrid
    path = write(tmp_path / "a.safetensors", hybrid, metadata)
    tensors, words = weights.load(path)
    tensors = {name: value for name, value in tensors.items() if not name.startswith(lacking)}
    words.pop(lacking, None)
    weights.save(path, tensors, words)
    with pytest.raises(ValueError, match=r"a\.safetensors.*Pack the model again"):
        experiment.load_predictor(path)


def test_at_width_128_the_sizes_are_as_promised():
    with torch.device("meta"):
        refiner = Refiner(3, 1, (32, 64, 128, 256), RefinerSettings(width=128))
        packed = empty_packed(refiner)
        packed.table.allocate(range(10, 0, -1), None)
    whole = sum(4 * value.numel() for value in refiner.state_dict().values())
    state = packed.state_dict()
    blocks = [v for k, v in state.items() if k.startswith("condition_blocks.") and v.ndim == 4]
    rest = sum(4 * value.numel() for value in state.values()) - 4 * sum(b.numel() for b in blocks)
    share = {size: (rest + size * sum(b.numel() for b in blocks)) / whole for size in (4, 2, 1)}
    assert share[4] < 1 / 6
    assert share[2] < 1 / 10
    assert share[1] < 1 / 10
