"""Simulated marks in training: true where certain, a function of their seed, and read by it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff import experiment
from hidiff.datasets import SYNTHETIC_LABELS
from hidiff.diffusion import LossWeights
from hidiff.experiment.start import HINT_WEIGHT
from hidiff.hybrid import DiffusionSettings, HybridSegmentor
from hidiff.recipe import RecipeError
from hidiff.refiner import Refiner, RefinerSettings
from hidiff.segmentors import PriorFromFiles
from hidiff.training import Batch, SimulatedMarks, count_flops
from hidiff.training.correction import mark_batch, mark_hybrid
from hidiff.training.stages import REFINER_ONLY
from hidiff.training.steps import UNMARKED, draw_noise, look_frozen, refiner_step
from tests.hybrid.test_model import KINDS
from tests.tiny import COSTS, make_tiny, same_tensors
from tests.training.test_trainer import Killed, killed_at, same_run, tensors_of

# Nothing says where the frozen segmentor's weights lie: random ones serve as well here.
pytestmark = pytest.mark.filterwarnings("ignore:the segmentor unet is frozen")

SIZE = 64
# What everybody draws the same but for the marks: few steps, and a checkpoint after each second.
SCHEDULE = {"stage1_steps": 0, "stage2_steps": 4, "save_every": 2, "segmentor": "frozen"}


def random_planes(kind, seed, batch=2):
    """Smooth random probabilities of every plane."""
    draws = torch.Generator().manual_seed(seed)
    small = torch.randn(batch, KINDS[kind], 8, 8, generator=draws)
    logits = 3 * torch.nn.functional.interpolate(small, size=(SIZE, SIZE), mode="bilinear")
    return SYNTHETIC_LABELS[kind].activate(logits)


def bits_of(probability, kind):
    labels = SYNTHETIC_LABELS[kind]
    return torch.stack([torch.from_numpy(labels.bits(each.numpy())) for each in probability])


def make_batch(kind, seed, left_half=False):
    """A batch of random masks; what counts is all of it, or the left half."""
    y0 = bits_of(random_planes(kind, seed), kind).float()
    inside = torch.ones(2, 1, SIZE, SIZE)
    if left_half:
        inside[..., SIZE // 2 :] = 0
    return Batch(["a", "b"], torch.zeros(2, 3, SIZE, SIZE), y0, inside)


def mark(kind, seed, batch, **changes):
    """Marks of a batch, the answer to which is another random mask at every round."""
    each = SimulatedMarks(**{"marks": 5, "unmarked": 0, **changes})
    rounds = []

    def answer(marked):
        rounds.append(marked)
        return random_planes(kind, seed + 100 + len(rounds))

    start = random_planes(kind, seed + 50)
    return mark_batch(batch, start, answer, each, SYNTHETIC_LABELS[kind], 0), rounds


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), strokes=st.sampled_from([0, 0.5, 1]))
@settings(max_examples=10, deadline=None)
def test_certain_marks_are_true_and_lie_where_pixels_count(kind, seed, strokes):
    batch = make_batch(kind, seed, left_half=True)
    marked, _ = mark(kind, seed, batch, strokes=strokes, rough=0)
    known, y0 = marked.evidence.known, marked.evidence.y0
    assert known.any()
    assert torch.equal(y0[known], batch.y0[known])
    assert torch.equal(marked.hints[known], 2 * batch.y0[known] - 1)
    assert not known[..., SIZE // 2 :].any() and not marked.hints[..., SIZE // 2 :].any()
    assert torch.equal(marked.hints != 0, known)


def test_rough_strokes_are_hints_alone():
    marked, _ = mark("one_class", 1, make_batch("one_class", 1), strokes=1, rough=1)
    assert marked.hints.any() and not marked.evidence.known.any()


def test_marks_are_a_function_of_seed_and_place_and_grow_round_by_round():
    batch = make_batch("one_class", 3)
    marked, rounds = mark("one_class", 3, batch, rounds=2, strokes=0)
    again, _ = mark("one_class", 3, batch, rounds=2, strokes=0)
    assert torch.equal(marked.hints, again.hints)
    other, _ = mark("one_class", 3, batch, rounds=2, strokes=0.5)
    assert not torch.equal(marked.hints, other.hints)
    first, second = rounds
    covered = [int((each.hints != 0).sum()) for each in (first, second, marked)]
    assert covered == sorted(covered) and covered[0] < covered[-1]
    assert (second.hints[first.hints != 0] != 0).all()


def test_clicks_can_have_one_radius():
    wide, _ = mark("one_class", 5, make_batch("one_class", 5), strokes=0, marks=1, rounds=0)
    small, _ = mark(
        "one_class", 5, make_batch("one_class", 5), strokes=0, marks=1, rounds=0, radius=1.5
    )
    areas = (small.hints != 0).sum(dim=(1, 2, 3)).tolist()
    assert all(0 < area <= 21 for area in areas)
    assert (wide.hints != 0).sum() > (small.hints != 0).sum()


def test_of_the_patches_the_set_share_has_no_mark():
    batch = make_batch("one_class", 7)
    each = SimulatedMarks(marks=3, unmarked=0.4, rounds=0)
    start, labels = random_planes("one_class", 57), SYNTHETIC_LABELS["one_class"]
    empty = []
    for step in range(60):
        marked = mark_batch(batch, start, lambda _: start, each, labels, 0, (step,))
        empty += (marked.hints.flatten(1) == 0).all(dim=1).tolist()
    assert 0.25 < sum(empty) / len(empty) < 0.55


# In the trainer


def train(folder, name, hints=True, **correction):
    recipe = make_tiny(
        folder, refiner={"hints": hints}, training={**SCHEDULE, "correction": correction}
    )
    experiment.train(recipe, folder / name, cpu=True, budget=COSTS, validate=False)
    return recipe, folder / name


def test_training_without_marks_is_that_of_a_refiner_without_hint_planes(tmp_path):
    """The hint planes' weights stay zero, and all others are equal, bit for bit."""
    plain = tensors_of(train(tmp_path, "plain", hints=False)[1])["last"]
    nearly_never = {"marks": 5, "unmarked": 1 - 1e-12, "rounds": 2}
    for name, correction in (("off", {}), ("no mark drawn", nearly_never)):
        hinted = dict(tensors_of(train(tmp_path, name, **correction)[1])["last"])
        assert not hinted.pop(HINT_WEIGHT).any()
        assert same_tensors(hinted, plain)


def test_training_with_marks_moves_the_hint_planes_and_resumes_bit_for_bit(tmp_path):
    recipe, finished = train(tmp_path, "whole", marks=5, unmarked=0, rounds=1)
    assert tensors_of(finished)["last"][HINT_WEIGHT].any()

    def make_again():
        return experiment.make_trainer(
            recipe, tmp_path / "cut", cpu=True, budget=COSTS, validate=False, resume=True
        )

    for step in (1, 3):
        torch.manual_seed(step)  # every new process draws other numbers
        trainer = make_again()
        with pytest.raises(Killed):
            killed_at(trainer, "refiner_only", step).run(resume=True)
    make_again().run(resume=True)
    same_run(tmp_path / "cut", finished)


def test_each_round_costs_one_pass_of_the_refiner(tmp_path):
    recipe = make_tiny(tmp_path, refiner={"hints": True}, training={"segmentor": "frozen"})
    hybrid = experiment.make_hybrid(recipe)
    costs = []
    for rounds in range(3):
        each = {"correction": SimulatedMarks(marks=5, rounds=rounds)}
        training = recipe.training.model_copy(update=each)
        costs.append(count_flops(hybrid, (SIZE, SIZE), training).per_step[REFINER_ONLY])
    without = count_flops(hybrid, (SIZE, SIZE), recipe.training).per_step[REFINER_ONLY]
    assert costs[0] == without
    assert costs[2] - costs[1] == costs[1] - costs[0] > without / 5


def test_marks_for_a_refiner_that_cannot_read_them_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"Set refiner\.hints=true"):
        make_tiny(tmp_path, training={"correction": {"marks": 5}})
    with pytest.raises(RecipeError, match="Lower unmarked"):
        make_tiny(tmp_path, training={"correction": {"marks": 5, "unmarked": 1}})


def test_a_refiner_learns_what_only_marks_tell():
    """The image says nothing, and the mask is all one or all zero: a coin that a mark shows."""
    torch.manual_seed(0)
    labels = SYNTHETIC_LABELS["one_class"]
    refiner = Refiner(3, 1, (), RefinerSettings(width=8, hints=True))
    segmentor = PriorFromFiles(2, 1, exclusive=False)
    hybrid = HybridSegmentor(segmentor, refiner, labels, DiffusionSettings(num_steps=2))
    optimizer = torch.optim.AdamW(refiner.parameters(), lr=3e-3)
    correction = SimulatedMarks(marks=4, unmarked=0, rounds=0, radius=12)

    def make(step):
        coins = torch.arange(4).add(step // 2).remainder(2).float()
        y0 = coins[:, None, None, None].expand(4, 1, SIZE, SIZE)
        image = torch.cat([torch.zeros(4, 2, SIZE, SIZE), torch.full_like(y0, 0.4)], dim=1)
        batch = Batch(["x"] * 4, image, y0, torch.ones_like(y0))
        look = look_frozen(hybrid, batch.image)
        return batch, look, mark_hybrid(hybrid, batch, look, correction, 0, (step,))

    losses = []
    for step in range(40):
        batch, look, marked = make(step)
        draws = draw_noise(batch, 2, 0, step, last_step_share=1.0, last_step_bits="likeliest")
        loss = refiner_step(hybrid, refiner, look, batch, draws, LossWeights(kl=0), marked)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])

    batch, look, marked = make(1000)
    right = {}
    for name, each in {"marked": marked, "unmarked": UNMARKED}.items():
        with torch.no_grad():
            [[step]] = hybrid.refine(
                batch.image, look, [2], [torch.rand_like(look.prior).mul], temperature=0.0,
                hints=each.hints, evidence=each.evidence,
            )  # fmt: skip
        beside = ~marked.evidence.known
        right[name] = ((step.y0_hat > 0.5) == (batch.y0 > 0.5))[beside].float().mean().item()
    assert right["marked"] > 0.9
    assert right["unmarked"] < 0.6


# Bits of the last step


def test_the_likeliest_bits_of_the_last_step_are_those_of_a_prediction():
    batch = make_batch("one_class", 1)
    drawn, likeliest = (
        draw_noise(batch, 4, 0, "x", last_step_share=0.5, last_step_bits=each)
        for each in ("drawn", "likeliest")
    )
    assert torch.equal(drawn[0], likeliest[0])
    last = drawn[0] == 4
    assert last.any()
    assert (likeliest[1][last] == 0.5).all()
    assert torch.equal(drawn[1][~last], likeliest[1][~last])


@pytest.mark.parametrize("shown", ["bits", "prior"])
def test_the_network_reads_the_prior_in_place_of_bits_if_the_settings_say_so(tmp_path, shown):
    recipe = make_tiny(tmp_path, diffusion={"last_step_input": shown})
    hybrid = experiment.make_hybrid(recipe).eval()
    batch = make_batch("one_class", 2)
    image = torch.rand(2, 3, SIZE, SIZE)
    look = hybrid.look(image)
    read = []

    class Reader(torch.nn.Module):
        def forward(self, image, yt, *rest):
            read.append(yt)
            return torch.zeros_like(yt)

    draws = torch.tensor([4, 2]), torch.rand_like(batch.y0)
    hybrid.refiner_loss(Reader(), image, batch.y0, look, draws, LossWeights(), batch.field_of_view)
    bits = torch.tensor([0.0, 1.0])
    assert torch.isin(read[0][1], bits).all()
    assert torch.equal(read[0][0], look.prior[0]) == (shown == "prior")

    hybrid.refiner.denoise = Reader().forward
    half = torch.full_like(look.prior, 0.5)
    list(hybrid.refine(image, look, [4, 1], [lambda _: half], temperature=0.0))
    first, second = read[1:]
    assert torch.isin(second, bits).all()
    assert torch.equal(first, look.prior) == (shown == "prior")


def test_the_prior_is_shown_only_where_it_is_the_noise():
    with pytest.raises(ValueError, match="Leave last_step_input out"):
        DiffusionSettings(noise="uniform", last_step_input="prior")
