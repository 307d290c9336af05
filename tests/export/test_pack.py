"""A packed refiner against the float one: block by block, the whole, and every choice."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hidiff import packed
from hidiff.export import pack_refiner
from hidiff.packed.cross_transformer import to_tokens
from hidiff.packed.int8 import int8_problem
from hidiff.refiner import Refiner, RefinerSettings

KERNELS = [packed.kernel_info()["kernel"], "reference"]
FEATURES = (8, 12, 16, 20)
CLOSE = 1e-4  # of each block, wherever no sign of its input lies within this of zero


@pytest.fixture(params=dict.fromkeys(KERNELS), autouse=True)
def kernel(request, monkeypatch):
    """The same test with the compiled kernel and with the reference."""
    monkeypatch.setenv("HIDIFF_KERNEL", request.param)


def make(width=16, planes=1, **settings) -> Refiner:
    """A refiner whose every number differs from its start, norms and biases of t too."""
    torch.manual_seed(3)
    refiner = Refiner(3, planes, FEATURES, RefinerSettings(width=width, **settings)).eval()
    with torch.no_grad():
        for name, value in [*refiner.named_parameters(), *refiner.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(20, 60)  # of sums of some hundred signs
            elif name.endswith("running_mean") or value.ndim == 1:
                value.add_(0.2 * torch.randn_like(value))
            elif value.ndim == 2 and "linear" not in name:
                value.add_(0.1 * torch.randn_like(value) / value.shape[1] ** 0.5)
        nn.init.normal_(refiner.output.weight, std=0.1)
        if refiner.hint_input is not None:
            nn.init.normal_(refiner.hint_input.weight)
    return refiner


def inputs(batch=1, height=64, width=64, planes=1):
    torch.manual_seed(4)
    features = [
        torch.randn(batch, c, height // s, width // s)
        for c, s in zip(FEATURES, (4, 8, 16, 32), strict=True)
    ]
    image, yt = torch.randn(batch, 3, height, width), torch.rand(batch, planes, height, width)
    return image, (yt < 0.3).float(), torch.rand(batch, planes, height, width), features


def recorded(refiner: Refiner, run) -> dict[str, tuple[tuple, torch.Tensor]]:
    """Record the inputs and the output of each module of the float model."""
    found, hooks = {}, []
    for name, module in refiner.named_modules():

        def keep(_, args, out, name=name):
            found[name] = (args, out)

        hooks.append(module.register_forward_hook(keep))
    run()
    for hook in hooks:
        hook.remove()
    return found


def blocks_of(refiner: Refiner, ours):
    """(name in the float model, packed layer) of every convolution block."""
    for group in ("encoder", "downs", "ups", "decoder"):
        for number, layer in enumerate(getattr(ours, group)):
            yield f"{group}.{number}", layer
    for number, layer in enumerate(ours.fusions):
        yield f"fusions.{number}.block", layer
    yield "middle1", ours.middle1
    yield "middle2", ours.middle2


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize(
    "settings", [{"condition": "each_step"}, {"condition": "once"}, {"fine": True}]
)
@torch.no_grad()
def test_every_block_fed_the_float_model_s_input_gives_its_output(width, settings):
    refiner = make(width, **settings)
    ours, step = pack_refiner(refiner, [3, 2, 1]), 2
    row = ours.table.row(step)
    image, yt, prior, features = inputs(height=64, width=96)
    t = torch.full((1,), step)
    found = recorded(refiner, lambda: refiner(image, yt, prior, t, features))
    undecided = total = 0
    for name, layer in blocks_of(refiner, ours):
        (x, *_), truth = found[name]
        bits = ours.engine.pack(x, row[layer.threshold])
        before_sign = found[f"{name}.bias"][1]
        if name.startswith("ups."):
            bits = bits.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        signs = ours.engine.unpack(bits, layer.in_channels)
        decided = before_sign.abs() > CLOSE
        # the integer part: signs are equal wherever they are decided, and so are their sums
        assert torch.equal(signs[decided], before_sign.sign()[decided])
        undecided, total = undecided + (~decided).sum().item(), total + decided.numel()
        true_bits = ours.engine.pack(before_sign)
        out, _ = layer(true_bits, [x], row)
        assert_close(out, truth, rtol=0, atol=CLOSE, msg=lambda m, n=name: f"{n}: {m}")
    print(f"signs within {CLOSE} of zero: {undecided / total:.2e} of {total}")
    assert undecided / total < 1e-3


@pytest.mark.skipif(bool(int8_problem()), reason=int8_problem())
@pytest.mark.parametrize("condition", ["each_step", "once"])
@torch.no_grad()
def test_condition_blocks_in_int8_are_close_to_those_in_floats_whatever_the_batch(condition):
    refiner = make(condition=condition)
    ours, t = pack_refiner(refiner, [3, 2, 1], "int8"), torch.full((3,), 2)
    features = inputs(batch=3)[3]
    conditions = ours.condition(ours.prepare(features), t)
    truths = refiner.condition(refiner.prepare(features), t)
    for found, truth in zip(conditions, truths, strict=True):
        assert (found.feature - truth).square().mean().sqrt() < 0.02 * truth.std()
    last = ours.condition(ours.prepare([each[2:] for each in features]), t[2:])
    for found, alone in zip(conditions, last, strict=True):
        # floats before the rounding differ by their last bit, and may so be rounded otherwise
        same = (found.feature[2:] - alone.feature).abs() < 1e-5
        assert same.float().mean() > 0.99


@torch.no_grad()
def test_the_parts_of_the_cross_transformer_give_the_float_model_s_outputs():
    refiner = make(32)
    ours = pack_refiner(refiner, [2])
    image, yt, prior, features = inputs(height=64, width=96)
    t = torch.full((1,), 2)
    found = recorded(refiner, lambda: refiner(image, yt, prior, t, features))
    row, theirs = ours.table.row(2), "cross."
    for name in ("attention1", "attention2"):
        (asking, answering, _), truth = found[theirs + name]
        assert_close(getattr(ours.cross, name)(asking, answering, row), truth, rtol=0, atol=CLOSE)
    for name in ("output1", "output2"):
        (x, _), truth = found[theirs + name]
        assert_close(getattr(ours.cross, name)(x, row), truth, rtol=0, atol=CLOSE)
    for name in ("feed_forward1", "feed_forward2"):
        (stream, answer, _, grid), truth = found[theirs + name]
        part = getattr(ours.cross, name)(stream, answer, row, grid)
        assert_close(part, truth, rtol=0, atol=CLOSE)
    (x, condition, _), truth = found["cross"]
    assert_close(ours.cross(x, condition, row), truth, rtol=0, atol=CLOSE)
    assert to_tokens(x).shape == (1, 6, 128)


def both(refiner, steps, step, image, yt, prior, features, hints=None):
    """Return the raw output of the float model, and that of the packed one."""
    ours, t = pack_refiner(refiner, steps), torch.full((len(image),), step)
    conditions = ours.condition(ours.prepare(ours.see(image, features)), t)
    return (
        refiner(image, yt, prior, t, features, hints),
        ours.denoise(image, yt, prior, t, conditions, hints),
    )


MARKS = {
    "inside": lambda hints: hints[:, :, 20:29, 40:47].fill_(1),
    "at a corner": lambda hints: hints[0, 0, :3, -4:].fill_(-1),
    "at the other corner": lambda hints: hints[-1, -1, -1, 0].fill_(1),
    "far apart, in two images": lambda hints: (
        hints[0, 0, 2, 3].fill_(1),
        hints[-1, -1, 60, 90].fill_(-1),
    ),
    "everywhere": lambda hints: hints.fill_(-1),
}


@pytest.mark.parametrize("where", MARKS)
@torch.no_grad()
def test_hints_are_read_as_the_float_model_reads_them(where):
    refiner = make(16, 2, hints=True)
    given = inputs(2, 64, 96, 2)
    hints = torch.zeros_like(given[1])
    MARKS[where](hints)
    ours, t = pack_refiner(refiner, [4]), torch.full((2,), 4)
    seen, first = [], []
    refiner.encoder[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    convolved = ours._add_hints

    def add(x, hints):
        convolved(x, hints)
        first.append(x.clone())

    ours._add_hints = add
    theirs = refiner(*given[:3], t, given[3], hints)
    conditions = ours.condition(ours.prepare(given[3]), t)
    found = ours.denoise(*given[:3], t, conditions, hints)
    # what the input layers give is the same up to rounding, pixel by pixel
    assert_close(first[0], seen[0], rtol=0, atol=1e-5)
    assert (found - theirs).abs().median() < 1e-3 * theirs.std()
    assert ((found > theirs.median()) == (theirs > theirs.median())).float().mean() > 0.995
    without = ours.denoise(*given[:3], t, conditions)
    assert not torch.equal(found, without)


@torch.no_grad()
def test_no_hints_change_no_bit_of_a_packed_refiner():
    hinted = make(16, hints=True)
    plain = make(16)
    plain.load_state_dict(hinted.state_dict(), strict=False)  # all but the hint planes
    plain, hinted = pack_refiner(plain, [4]), pack_refiner(hinted, [4])
    image, yt, prior, features = inputs()
    t = torch.full((1,), 4)
    expected = plain.denoise(image, yt, prior, t, plain.condition(plain.prepare(features), t))
    conditions = hinted.condition(hinted.prepare(features), t)
    for hints in (None, torch.zeros_like(yt)):
        assert torch.equal(hinted.denoise(image, yt, prior, t, conditions, hints), expected)
    with pytest.raises(ValueError, match="this packed refiner has no planes for them"):
        plain.denoise(image, yt, prior, t, conditions, torch.zeros_like(yt))


@pytest.mark.parametrize(
    ("width", "batch", "height", "columns", "planes", "settings"),
    [
        (8, 3, 64, 64, 1, {}),
        (16, 1, 96, 64, 3, {"condition": "once"}),
        (32, 2, 64, 128, 1, {}),
        (40, 1, 64, 64, 2, {"condition": "once"}),
        (8, 1, 64, 96, 1, {"published_layout": True}),
        (16, 2, 64, 96, 2, {"fine": True}),
        (8, 1, 64, 64, 1, {"fine": True, "condition": "each_step"}),
    ],
)
@torch.no_grad()
def test_the_whole_network_says_what_the_float_one_says(
    width, batch, height, columns, planes, settings
):
    refiner = make(width, planes, **settings)
    theirs, ours = both(refiner, [4, 2], 4, *inputs(batch, height, columns, planes))
    # a sign within rounding of zero may flip, which moves what it reaches a little
    assert (ours - theirs).abs().median() < 1e-3 * theirs.std()
    agree = ((ours > theirs.median()) == (theirs > theirs.median())).float().mean()
    assert agree > 0.995


@torch.no_grad()
def test_many_steps_are_kept_as_the_linear_layer_that_makes_them():
    refiner = make(8)
    few, many = pack_refiner(refiner, range(4, 0, -1)), pack_refiner(refiner, range(64, 0, -1))
    assert few.table.values.shape == (4, few.table.size)
    assert many.table.weight.shape == (many.table.size, 32)
    for step in (4, 1):
        assert_close(many.table.row(step), few.table.row(step), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_same_memory_serves_another_size():
    refiner = make(8)
    ours = pack_refiner(refiner, [1])
    t = torch.ones(1, dtype=torch.int64)

    def run(size):
        image, yt, prior, features = inputs(1, *size)
        return ours.denoise(image, yt, prior, t, ours.condition(ours.prepare(features), t))

    first = run((64, 96))
    again = first.clone()
    run((64, 64))
    assert torch.equal(run((64, 96)), again)
    with torch.inference_mode():
        assert torch.equal(run((64, 96)), again)
    assert torch.equal(run((64, 96)), again)
    assert torch.equal(first, again)


def test_a_step_that_was_not_packed_is_refused():
    ours = pack_refiner(make(8), [4, 2])
    _, _, _, features = inputs()
    with pytest.raises(ValueError, match="packed for the steps 4, 2, but step 3"):
        ours.condition(ours.prepare(features), torch.tensor([3]))
    with pytest.raises(ValueError, match="one step at a time"):
        ours.condition(ours.prepare(features), torch.tensor([4, 2]))


def test_a_real_refiner_is_refused():
    with pytest.raises(ValueError, match="is real, but only a 1-bit one"):
        pack_refiner(make(8, precision="real"), [1])


@pytest.mark.parametrize("fine", [False, True])
@torch.no_grad()
def test_a_refiner_with_encoders_of_the_image_keeps_them(fine):
    refiner = Refiner(3, 1, (), RefinerSettings(width=8, fine=fine)).eval()
    ours, image = pack_refiner(refiner, [1]), torch.randn(1, 3, 64, 64)
    theirs = refiner.see(image, ())
    for feature, again in zip(theirs, ours.see(image, ()), strict=True):
        assert_close(feature, again, rtol=0, atol=1e-5)
