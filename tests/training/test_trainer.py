"""The loop: stages, halves, checkpoints, and a resumed run that nobody can tell from another."""

import copy
import json
from itertools import islice

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.testing import assert_close

from hidiff import experiment, weights
from hidiff.hybrid import DiffusionSettings, HybridSegmentor
from hidiff.labels import Labels
from hidiff.refiner import Refiner, RefinerSettings
from hidiff.segmentors import wrap
from hidiff.training import Batch, Budget, NotFiniteError, Trainer, TrainingSettings
from hidiff.training.stages import BASELINE, IN_TURNS, JOINT, STAGE1
from hidiff.training.steps import refiner_step, segmentor_step
from tests.tiny import COSTS, make_tiny, same_tensors

STEPS = 4
SCHEDULE = {"stage1_steps": STEPS, "stage2_steps": STEPS, "save_every": 2, "validate_every": 3}
KILLS = {
    "before the first checkpoint": ("stage1", 1),
    "in stage 1": ("stage1", 3),
    "between the stages": ("in_turns", 1),
    "in turns": ("in_turns", 3),
}


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def tensors_of(folder):
    names = ("state", "stage1", "last", "best")
    paths = [folder / f"{name}.safetensors" for name in names]
    return {path.stem: weights.load(path)[0] for path in paths if path.is_file()}


class Killed(Exception):
    """The run ends in the middle of a step."""


def killed_at(trainer, stage, step):
    """The trainer, whose batches end when that step of that stage asks for one."""
    whole = trainer.batches

    def batches(name, first):
        stream = whole(name, first)
        yield from islice(stream, step - first) if name == stage else stream
        raise Killed

    trainer.batches = batches
    return trainer


# Resumed = uninterrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A recipe, and the folder of a run of it that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = make_tiny(folder, training=SCHEDULE, prediction={"steps": 1})
    experiment.train(recipe, folder / "run", cpu=True, budget=COSTS)
    return recipe, folder / "run"


def same_run(left, right):
    left_files, right_files = tensors_of(left), tensors_of(right)
    assert left_files.keys() == right_files.keys()
    for name in left_files:
        assert same_tensors(left_files[name], right_files[name]), name
    assert rows_of(left) == rows_of(right)


def test_a_run_killed_again_and_again_equals_one_that_never_was(whole, tmp_path):
    recipe, finished = whole
    for number, (stage, step) in enumerate(KILLS.values()):
        torch.manual_seed(number)  # every new process draws other numbers
        trainer = experiment.make_trainer(recipe, tmp_path, cpu=True, budget=COSTS)
        with pytest.raises(Killed):
            killed_at(trainer, stage, step).run(resume=True)
    experiment.make_trainer(recipe, tmp_path, cpu=True, budget=COSTS).run(resume=True)
    same_run(tmp_path, finished)


def test_the_state_holds_moments_and_average_of_both_networks(whole):
    names = tensors_of(whole[1])["state"]
    for name in (
        "segmentor.network.final_conv.weight",
        "refiner.encoder.0.norm.num_batches_tracked",
        "live_refiner.encoder.0.norm.running_var",
        "optimizer.segmentor.0.exp_avg",
        "optimizer.refiner.0.exp_avg_sq",
        "optimizer.refiner.0.step",
    ):
        assert name in names
    assert names["optimizer.refiner.0.step"] == STEPS


def test_the_same_recipe_and_seed_give_the_same_run(whole, tmp_path):
    torch.manual_seed(99)
    recipe, finished = whole
    experiment.train(recipe, tmp_path, cpu=True, budget=COSTS)
    same_run(tmp_path, finished)


def test_another_seed_gives_another(whole, tmp_path):
    recipe, _ = whole
    other = recipe.model_copy(update={"seed": 1})
    first = experiment.make_trainer(other, tmp_path, cpu=True, budget=COSTS)
    assert not same_tensors(
        first.hybrid.segmentor.state_dict(), experiment.make_hybrid(recipe).segmentor.state_dict()
    )


def test_resuming_a_finished_run_changes_nothing(whole, tmp_path):
    recipe, finished = whole
    for file in finished.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    path = experiment.train(recipe, tmp_path, cpu=True, resume=True, budget=COSTS)
    assert path == tmp_path / "last.safetensors"
    same_run(tmp_path, finished)


def test_rows_tell_the_plan_every_step_and_every_validation(whole):
    rows = rows_of(whole[1])
    for stage, cost in (("stage1", 2), ("in_turns", 3)):
        mine = [row for row in rows if row["stage"] == stage]
        assert mine[0] == {
            "kind": "plan", "stage": stage, "step": 0, "steps": STEPS, "flops": STEPS * cost,
        }  # fmt: skip
        assert [row["step"] for row in mine if row["kind"] == "train"] == [1, 2, 3, 4]
        assert [row["step"] for row in mine if row["kind"] == "validation"] == [3, 4]
    said = {"kind", "stage", "step"}
    losses = {
        "stage1": {"segmentor"},
        "in_turns": {"segmentor", "diffusion", "refiner", "kl", "cross_entropy", "soft_dice"},
    }
    for row in rows:
        if row["kind"] == "train":
            assert row.keys() - said == losses[row["stage"]]


# Every step


def make_plain_trainer(tmp_path, batches, **settings):
    """A trainer of networks without batch norm in the segmentor, on batches of our own."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(3, 6, 5, stride=4, padding=2)
            self.head = nn.Conv2d(6, 1, 3, padding=1)

        def forward(self, image):
            deep = torch.tanh(self.down(image))
            return nn.functional.interpolate(self.head(deep), scale_factor=4.0)

    torch.manual_seed(0)
    segmentor = wrap(Plain(), features={4: "down"})
    refiner = Refiner(3, 1, segmentor.feature_channels, RefinerSettings(width=8))
    labels = Labels(kind="one_class", classes={"a": (1,)})
    hybrid = HybridSegmentor(segmentor, refiner, labels, DiffusionSettings(num_steps=4))
    return Trainer(
        hybrid,
        batches,
        TrainingSettings(**settings),
        Budget({STAGE1: 1, BASELINE: 1, IN_TURNS: 3, JOINT: 3}),
        tmp_path,
        0,
        {},
        Accelerator(cpu=True),
    )


def make_batch(size, first=0):
    draws = torch.Generator().manual_seed(first)
    image = torch.randn(size, 3, 64, 64, generator=draws)
    y0 = (torch.rand(size, 1, 64, 64, generator=draws) < 0.3).float()
    return Batch([f"case {first + i}" for i in range(size)], image, y0, torch.ones_like(y0))


def split(batch, parts):
    tensors = (batch.image, batch.y0, batch.field_of_view)
    chunks = zip(*(tensor.chunk(parts) for tensor in tensors), strict=True)
    return [Batch([""] * len(chunk[0]), *chunk) for chunk in chunks]


def test_one_look_of_the_segmentor_serves_both_halves_and_each_calls_the_refiner_once(tmp_path):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]))
    trainer.prepare(IN_TURNS)
    calls = {"segmentor": 0, "refiner": 0}
    for name in calls:

        def count(*_, name=name):
            calls[name] += 1

        getattr(trainer.hybrid, name).register_forward_pre_hook(count)
    trainer.step(IN_TURNS, 0, iter([make_batch(2)]))
    assert calls == {"segmentor": 1, "refiner": 2}
    trainer.step(STAGE1, 0, iter([make_batch(2)]))
    assert calls == {"segmentor": 2, "refiner": 2}


def test_an_iteration_moves_both_networks_and_the_average_and_leaves_no_gradient(tmp_path):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]))
    trainer.prepare(IN_TURNS)
    networks = trainer.saved_networks
    before = {
        name: {k: v.clone() for k, v in network.state_dict().items()}
        for name, network in networks.items()
    }
    trainer.step(IN_TURNS, 0, iter([make_batch(2)]))
    for name, network in networks.items():
        assert not same_tensors(before[name], network.state_dict()), name
        assert not any(p.grad is not None and p.grad.any() for p in network.parameters())
    assert trainer.ema.num_updates == 1


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path, parts):
    batch = make_batch(4)
    moved = []
    for accumulation in (1, parts):
        trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), accumulation=accumulation)
        trainer.prepare(STAGE1)
        losses = trainer.step(STAGE1, 0, iter(split(batch, accumulation)))
        moved.append((losses["segmentor"], trainer.hybrid.segmentor.state_dict()))
    assert_close(moved[0], moved[1], rtol=1e-5, atol=1e-6)


def test_accumulated_halves_move_each_network_once_by_the_mean_of_its_parts(tmp_path):
    """The segmentor's half of all parts but the last goes through the refiner as it was before."""
    parts = split(make_batch(4), 2)
    # a norm that cuts nothing, so that the optimizers get the gradients as they came
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), accumulation=2, clip_norm=1e9)
    trainer.prepare(IN_TURNS)
    # what each half should send back, part by part
    refiners = [copy.deepcopy(trainer.hybrid)]
    given = trainer.settings.loss, trainer.settings.diffusion_weight
    wanted = {"refiner": [], "segmentor": []}
    moved = {}

    def watch(name, optimizer):
        move = optimizer.step

        def step():
            assert name not in moved
            gradients = [p.grad for p in getattr(trainer.hybrid, name).parameters()]
            moved[name] = [each.clone() for each in gradients if each is not None]
            move()
            if name == "refiner":
                refiners.append(copy.deepcopy(trainer.hybrid))

        optimizer.step = step

    for name, optimizer in trainer.optimizers.items():
        watch(name, optimizer)
    trainer.step(IN_TURNS, 0, iter(parts))
    before, after = refiners
    for number, (batch, seen) in enumerate(zip(parts, (before, after), strict=True)):
        draws = {half: trainer.part(batch, 0, number).draw(half) for half in wanted}
        look = before.look(batch.image)
        loss = refiner_step(before, before.refiner, look, batch, draws["refiner"], given[0])["loss"]
        wanted["refiner"].append(gradients(loss, before.refiner))
        look = seen.look(batch.image)
        loss = segmentor_step(seen, look, batch, draws["segmentor"], *given)["loss"]
        wanted["segmentor"].append(gradients(loss, seen.segmentor))
    for name, (first, second) in wanted.items():
        mean = [(one + two) / 2 for one, two in zip(first, second, strict=True)]
        assert_close(moved[name], mean, rtol=1e-4, atol=1e-6)
    assert trainer.ema.num_updates == 1


def gradients(loss, network):
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def test_the_rate_falls_as_a_power_of_what_is_left(tmp_path):
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter(make_batch(2) for _ in range(9)),
        stage1_steps=4, stage2_steps=1, stage1_rate=0.01, segmentor_rate=0.02, refiner_rate=0.03,
        decay_power=0.9,
    )  # fmt: skip
    rates = []
    step = trainer.step

    def spy(stage, number, batches):
        rates.append({name: o.param_groups[0]["lr"] for name, o in trainer.optimizers.items()})
        return step(stage, number, batches)

    trainer.step = spy
    trainer.run()
    assert [rate["segmentor"] for rate in rates[:4]] == pytest.approx(
        [0.01 * (1 - done / 4) ** 0.9 for done in range(4)]
    )
    assert rates[4] == {"segmentor": 0.02, "refiner": 0.03}


def test_gradients_are_cut_to_the_norm(tmp_path):
    norms = []
    for clip in (1e-3, 1e3):
        trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), clip_norm=clip)
        trainer.prepare(STAGE1)
        seen = []
        optimizer = trainer.optimizers["segmentor"]
        move = optimizer.step

        def spy(move=move, seen=seen, trainer=trainer):
            gradients = [p.grad for p in trainer.hybrid.segmentor.parameters()]
            seen.append(torch.stack([g.norm() for g in gradients]).norm().item())
            move()

        optimizer.step = spy
        trainer.step(STAGE1, 0, iter([make_batch(2)]))
        norms += seen
    assert norms[0] == pytest.approx(1e-3, rel=1e-2)
    assert 1e-3 < norms[1] < 1e3


# Stages


def test_the_baseline_takes_as_many_steps_as_its_budget_allows(tmp_path):
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter(make_batch(2) for _ in range(99)),
        arm="segmentor_only", stage1_steps=1, stage2_steps=5,
    )  # fmt: skip
    assert trainer.stages == {STAGE1: 1, BASELINE: 15}
    refiner = {name: value.clone() for name, value in trainer.hybrid.refiner.state_dict().items()}
    assert trainer.run() == tmp_path / "last.safetensors"
    assert same_tensors(trainer.hybrid.refiner.state_dict(), refiner)
    assert rows_of(tmp_path)[-1]["step"] == 15


def test_a_run_of_stage_1_alone_returns_its_model(tmp_path):
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter([make_batch(2)]), stage1_steps=1, stage2_steps=0
    )
    assert trainer.run() == tmp_path / "stage1.safetensors"
    assert (tmp_path / "stage1.safetensors").is_file()


def test_a_run_without_a_step_is_refused(tmp_path):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), stage1_steps=0, stage2_steps=0)
    with pytest.raises(
        ValueError, match=r"no step to train.*stage1_steps or training\.stage2_steps"
    ):
        trainer.run()


def test_a_state_of_another_plan_is_refused(tmp_path):
    settings = {"stage1_steps": 1, "stage2_steps": 1}
    make_plain_trainer(tmp_path, lambda *_: iter([make_batch(2)] * 2), **settings).run()
    other = make_plain_trainer(tmp_path, lambda *_: iter([]), arm="segmentor_only", **settings)
    with pytest.raises(ValueError, match=r"stands in stage in_turns.*stage1, segmentor_only"):
        other.run(resume=True)


def test_validation_sees_the_average_in_eval_and_the_best_is_kept(tmp_path):
    scores = iter([0.5, 0.7, 0.6])
    seen = []

    def validate(hybrid, stage):
        seen.append((hybrid.refiner is trainer.ema.module, hybrid.training, stage))
        assert not any(module.training for module in hybrid.modules())
        return {"score": next(scores)}

    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter(make_batch(2) for _ in range(9)),
        stage1_steps=0, stage2_steps=5, validate_every=2,
    )  # fmt: skip
    trainer.validate = validate
    trainer.run()
    assert seen == [(True, False, IN_TURNS)] * 3  # at 2, 4 and the end
    assert weights.load(tmp_path / "best.safetensors")[1]["step"] == "4"
    assert weights.load(tmp_path / "last.safetensors")[1]["step"] == "5"
    assert all(module.training for module in trainer.hybrid.segmentor.modules())


# What is not finite


def poisoned(at):
    """Batches of two whose image is NaN at one step."""

    def batches(stage, first):
        for step in range(first, 99):
            batch = make_batch(2, first=10 * step)
            if (stage, step) == at:
                batch.image[0, 0, 0, 0] = float("nan")
            yield batch

    return batches


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (("stage1", 0), None),
        (("stage1", 1), "stage1.safetensors"),
        (("in_turns", 0), "stage1.safetensors"),
        (("in_turns", 1), "last.safetensors"),
    ],
)
def test_a_loss_that_is_not_finite_stops_with_step_cases_and_the_last_good_checkpoint(
    tmp_path, at, good
):
    stage, step = at
    trainer = make_plain_trainer(
        tmp_path, poisoned(at), stage1_steps=2, stage2_steps=2, save_every=1
    )
    with pytest.raises(NotFiniteError) as caught:
        trainer.run()
    said = str(caught.value)
    assert f"the loss is nan at step {step + 1} of {stage}" in said
    assert f"case {10 * step}, case {10 * step + 1}" in said
    if good is None:
        assert "checkpoint" not in said
    else:
        assert f"The last good checkpoint is {tmp_path / good}." in said
        tensors, _ = weights.load(tmp_path / good)
        assert all(t.isfinite().all() for t in tensors.values())


@pytest.mark.parametrize("name", ["segmentor", "refiner"])
def test_a_gradient_that_is_not_finite_never_reaches_weights_or_checkpoints(tmp_path, name):
    trainer = make_plain_trainer(
        tmp_path, poisoned(at=()), stage1_steps=0, stage2_steps=2, save_every=1
    )
    weight = next(iter(getattr(trainer.hybrid, name).parameters()))
    poison = iter([1.0, float("nan")])  # of the first step, and the second
    weight.register_hook(lambda gradient: gradient * next(poison))
    with pytest.raises(NotFiniteError, match=rf"norm of the {name}'s gradient is nan at step 2"):
        trainer.run()
    for file in ("last", "state"):
        tensors, _ = weights.load(tmp_path / f"{file}.safetensors")
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert weight.isfinite().all()
