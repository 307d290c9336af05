"""The estimate counts what a real pass keeps, without making it, and too much is told at once."""

import pytest
import torch

from hidiff import experiment
from hidiff.experiment import Experiment
from hidiff.training import memory
from hidiff.training.memory import count_activations, count_weights, memory_of
from tests.tiny import COSTS, make_tiny


def estimate(recipe):
    return experiment.estimate_memory(Experiment(recipe, "unused", cpu=True))


def kept_by_a_real_pass(recipe, num_images):
    """Bytes of the tensors that autograd holds after a forward pass of both networks."""
    hybrid = experiment.make_hybrid(recipe)
    image = torch.zeros(num_images, 3, 64, 64)
    own = {p.data_ptr() for p in hybrid.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        look = hybrid.look(image)
        t = torch.ones(num_images, dtype=torch.long)
        hybrid.refiner(image, look.prior, look.prior, t, look.features)
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)


@pytest.mark.parametrize("precision", ["binary", "real"])
def test_what_shapes_alone_tell_is_what_a_real_pass_keeps(tmp_path, precision):
    recipe = make_tiny(tmp_path, refiner={"precision": precision}, training={"batch_size": 3})
    real = kept_by_a_real_pass(recipe, 3)
    assert estimate(recipe).activations == pytest.approx(real, rel=0.03)


def test_weights_count_with_gradient_moments_and_average():
    a, b = torch.nn.Linear(3, 4, bias=False), torch.nn.Linear(5, 6, bias=False)
    assert count_weights(a, b) == 4 * (4 * 12 + 5 * 30)


def test_what_libraries_take_is_main_memory_and_said(tmp_path):
    need = estimate(make_tiny(tmp_path))
    parts = need.weights + need.activations + need.cache
    assert need.total == parts + memory.LIBRARIES
    assert memory.gib(memory.LIBRARIES) in str(need)


def test_the_cache_is_what_the_images_take(tmp_path):
    recipe = make_tiny(tmp_path)
    cases = experiment.list_cases(recipe, "train")
    # four bytes a channel, one bit of the mask as a byte
    assert estimate(recipe).cache == len(cases) * 64 * 64 * (4 * 3 + 1)
    uncached = make_tiny(tmp_path, data={"cache": False})
    assert estimate(uncached).cache == 0


def test_nothing_is_allocated(tmp_path):
    """A refiner of a terabyte is counted as quickly as any."""
    assert estimate(make_tiny(tmp_path, refiner={"width": 4096})).weights > 2**40


def test_more_than_there_is_ends_before_it_begins_and_more_than_is_free_is_a_warning(
    tmp_path, monkeypatch
):
    recipe = make_tiny(tmp_path)
    need = estimate(recipe).total
    monkeypatch.setattr(experiment.memory, "memory_of", lambda _: (need - 1, need - 1))
    with pytest.raises(ValueError, match=r"needs at least .* but this machine has"):
        experiment.make_trainer(recipe, tmp_path / "run", cpu=True, budget=COSTS)
    monkeypatch.setattr(experiment.memory, "memory_of", lambda _: (need, need - 1))
    with pytest.warns(UserWarning, match="are free now"):
        experiment.check_memory(Experiment(recipe, tmp_path, cpu=True))
    monkeypatch.setattr(experiment.memory, "memory_of", lambda _: (need, need))
    experiment.check_memory(Experiment(recipe, tmp_path, cpu=True))


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole, free = memory_of(torch.device("cpu"))
    assert 0 < free <= whole
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory_of(torch.device("cpu")) == (1000, 600)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_of(torch.device("cpu"))[0] == whole


def test_networks_of_the_caller_are_counted_too():
    class Segmentor(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 3, padding=1, device="meta")

        def forward(self, image):
            return self.layer(image), ()

    class Refiner(torch.nn.Module):
        def forward(self, image, yt, prior, t, features):
            return prior * yt

    count = count_activations(
        Segmentor(), Refiner(), num_images=2, channels=1, planes=1, patch_size=(8, 8)
    )
    # kept: the image, the prior (by the sigmoid and the product), yt
    assert count == 3 * 2 * 8 * 8 * 4
