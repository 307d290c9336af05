"""A user's own module: trained, saved, loaded again; the page in the docs does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import hidiff
from hidiff import experiment, weights
from hidiff.datasets import write_synthetic
from hidiff.segmentors import SegmentorOutput
from tests.tiny import COSTS, make_tiny, same_tensors

PAGE = Path(__file__).parents[2] / "docs" / "your_own_segmentor.md"
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


class Mine(nn.Module):
    """A network as a user has it: no word of HiDiff."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.deep = nn.Conv2d(width, 6, 3, stride=2, padding=1)
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, image):
        return {"mask": self.head(self.deep(self.norm(self.stem(image)).relu()))}


class Ready(nn.Module):
    """A user's class that is a segmentor already."""

    image_channels, num_planes, feature_channels = 3, 1, (4, 4, 4, 4)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image):
        each = [nn.functional.avg_pool2d(self.conv(image), stride) for stride in (4, 8, 16, 32)]
        return SegmentorOutput(self.conv(image)[:, :1], tuple(each))


def recipe_of(folder, **changes):
    return make_tiny(folder, segmentor={"options": {}}, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run of a module of one's own, and the module."""
    folder = tmp_path_factory.mktemp("own")
    module = Mine()
    module_of_ours = hidiff.wrap(module)
    recipe = recipe_of(folder)
    experiment.train(recipe, folder / "run", segmentor=module_of_ours, cpu=True, budget=COSTS)
    return folder / "run", module


def test_a_module_of_a_users_own_is_trained_itself_and_loads_into_another(run):
    folder, trained = run
    found = hidiff.load(folder / "last.safetensors", segmentor=Mine())
    assert same_tensors(found.predictor.hybrid.segmentor.network.state_dict(), trained.state_dict())
    wrapped = hidiff.load(folder / "last.safetensors", segmentor=hidiff.wrap(Mine()))
    left, right = found.predict(IMAGE), wrapped.predict(IMAGE)
    assert np.array_equal(left.probability, right.probability)


def test_the_recipe_says_how_it_was_wrapped(run, tmp_path):
    settings = experiment.load_recipe(run[0]).segmentor
    assert settings.name == "own"
    assert settings.own_class == "tests.segmentors.test_own.Mine"
    assert settings.options == {"features": {"4": "norm", "8": "deep"}}
    module = hidiff.wrap(Mine(), {4: "stem"}, logits="mask", size=(64, 64))
    recipe = recipe_of(tmp_path, training={"stage1_steps": 1, "stage2_steps": 0})
    experiment.train(
        recipe, tmp_path / "run", segmentor=module, cpu=True, budget=COSTS, validate=False
    )
    settings = experiment.load_recipe(tmp_path / "run").segmentor
    assert settings.options == {"features": {"4": "stem"}, "logits": "mask", "size": [64, 64]}
    again = hidiff.load(tmp_path / "run", segmentor=Mine()).predictor.hybrid.segmentor
    assert (again.features, again.logits, again.input_size) == ({4: "stem"}, "mask", (64, 64))


def test_without_the_module_the_error_names_its_class(run):
    words = r"last\.safetensors: the segmentor is a module of your own, .*test_own\.Mine\. Pass"
    with pytest.raises(ValueError, match=words):
        hidiff.load(run[0] / "last.safetensors")


def test_a_module_of_another_shape_is_refused(run):
    words = r"last\.safetensors: the checkpoint's segmentor is of another shape"
    with pytest.raises(ValueError, match=words):
        hidiff.load(run[0] / "last.safetensors", segmentor=Mine(width=8))


def test_a_module_for_a_model_that_needs_none_is_refused(tmp_path):
    recipe = make_tiny(tmp_path, training={"stage1_steps": 1, "stage2_steps": 0})
    experiment.train(recipe, tmp_path / "run", cpu=True, budget=COSTS, validate=False)
    with pytest.raises(
        ValueError, match=r"trained with the segmentor unet, .* Leave segmentor= out"
    ):
        hidiff.load(tmp_path / "run", segmentor=Mine())


def test_a_class_that_is_a_segmentor_already_is_taken_as_it_is(tmp_path):
    recipe = recipe_of(tmp_path, training={"stage1_steps": 1, "stage2_steps": 1})
    ready = Ready()
    experiment.train(
        recipe, tmp_path / "run", segmentor=ready, cpu=True, budget=COSTS, validate=False
    )
    settings = experiment.load_recipe(tmp_path / "run").segmentor
    assert (settings.options, settings.own_class) == ({}, "tests.segmentors.test_own.Ready")
    found = hidiff.load(tmp_path / "run", segmentor=Ready()).predictor.hybrid.segmentor
    assert same_tensors(found.state_dict(), ready.state_dict())


def test_a_run_of_a_module_goes_on(run, tmp_path):
    recipe = recipe_of(tmp_path, training={"save_every": 1})
    with pytest.raises(FileExistsError):
        experiment.train(recipe, run[0], segmentor=Mine(), cpu=True, budget=COSTS)
    changed = recipe_of(tmp_path, training={"stage2_steps": 3})
    experiment.train(
        changed, run[0], segmentor=Mine(), cpu=True, budget=COSTS, validate=False, resume=True
    )
    _, metadata = weights.load(run[0] / "last.safetensors")
    assert (metadata["stage"], metadata["step"]) == ("in_turns", "3")


def test_a_module_of_one_size_wants_patches_of_it(tmp_path):
    recipe = recipe_of(tmp_path)
    module = hidiff.wrap(Mine(), size=(96, 96))
    with pytest.raises(ValueError, match=r"patch_size is 64x64, but the segmentor .* 96x96 only"):
        experiment.train(recipe, tmp_path / "run", segmentor=module, cpu=True, budget=COSTS)


def test_windows_of_a_module_of_one_size_have_that_size(tmp_path):
    class Fixed(Mine):
        def forward(self, image):
            assert image.shape[2:] == (64, 64)
            return super().forward(image)

    recipe = recipe_of(tmp_path, training={"stage1_steps": 1, "stage2_steps": 1})
    module = hidiff.wrap(Fixed(), size=(64, 64))
    experiment.train(
        recipe, tmp_path / "run", segmentor=module, cpu=True, budget=COSTS, validate=False
    )
    predictor = hidiff.load(tmp_path / "run", segmentor=Fixed())
    assert predictor.predict(IMAGE[:, :50], steps=1).probability.shape == (1, 64, 50)


def test_the_page_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIDIFF_DATA", raising=False)
    write_synthetic(tmp_path / "mine", num_cases=5, size=64)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    first, second = blocks
    names = {"__name__": "page"}
    exec(first, names)
    probability = names["result"].probability
    assert probability.shape == (1, 64, 64) and np.isfinite(probability).all()
    *_, last = second.strip().splitlines()
    call, _, promised = last.partition("  # ")
    exec(second, names)
    assert eval(call, names) == eval(promised)


def test_the_page_needs_fewer_than_15_lines_beside_the_model():
    first = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    beside = first[1].partition("recipe = ")
    lines = [line for line in "".join(beside[1:]).splitlines() if line.strip()]
    assert len(lines) < 15
