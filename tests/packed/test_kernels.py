"""Every kernel that runs here, against the reference (bit for bit) and the float model."""

import math
import os
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from hidiff import packed
from hidiff.binary import BINARY, above_threshold, sign
from hidiff.packed.layout import Epilogue, unpack_bits
from hidiff.packed.reference import ReferenceEngine
from hidiff.refiner.blocks import Block, Down, Up

NAMES = packed.kernel_info()["available"].split(", ")
CHANNELS = [1, 3, 8, 31, 33, 63, 64, 65, 100, 128, 256]
SIZES = [(1, 1), (1, 9), (7, 5), (5, 50)]


reference = ReferenceEngine()


@pytest.fixture(params=NAMES, scope="module")
def engine(request):
    """The same test for every kernel."""
    return packed.choose_engine(request.param)


def random_signs(*shape):
    return torch.where(torch.rand(shape) < 0.5, -1.0, 1.0)


def random_layer(engine, batch, channels, out, kernel_size, size):
    """Signs of an input and of weights, as floats and packed."""
    x = random_signs(batch, channels, *size)
    w = random_signs(out, channels, kernel_size, kernel_size)
    return x, w, engine.pack(x), packed.pack_weight(w)


def assert_same(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_packing_takes_the_signs_of_x_plus_bias(engine, channels, layout):
    x = torch.randn(2, channels, 7, 11).contiguous(memory_format=layout)
    bias = torch.randn(channels)
    assert_same(engine.pack(x), reference.pack(x))
    assert_same(engine.pack(x, bias), reference.pack(x, bias))
    signs = engine.unpack(engine.pack(x, bias), channels)
    assert_same(signs, sign(x + bias[:, None, None]))


def test_zero_is_plus_one_and_nan_minus_one(engine):
    x = torch.tensor([0.0, -0.0, -1e-45, float("nan"), float("inf")]).repeat(16)[:70]
    signs = engine.unpack(engine.pack(x[None, :, None, None]), 70)
    assert_same(signs.flatten(), torch.tensor([1.0, 1, -1, -1, 1]).repeat(14))


@pytest.mark.parametrize("channels", CHANNELS)
def test_features_are_modulated_and_packed(engine, channels):
    x, numbers = torch.randn(2, channels, 7, 11), torch.randn(3, channels)
    x = x.contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(
        engine.modulate(x, *numbers), reference.modulate(x, *numbers), strict=True
    ):
        assert_same(ours, theirs)


@pytest.mark.parametrize("left", CHANNELS)
@pytest.mark.parametrize("right", [1, 16, 32, 40, 64])
def test_joined_bits_are_those_of_channels_side_by_side(engine, left, right):
    first, second = random_signs(2, left, 3, 5), random_signs(2, right, 3, 5)
    joined = engine.join(engine.pack(first), engine.pack(second), left, right)
    assert_same(joined, reference.pack(torch.cat([first, second], dim=1)))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_convolution_is_exact_at_every_channel_count_and_size(engine, channels, size):
    out = CHANNELS[(CHANNELS.index(channels) + 4) % len(CHANNELS)]
    for kernel_size, stride in [(3, 1), (3, 2), (1, 1), (1, 2)]:
        x, w, bits, weight = random_layer(engine, 2, channels, out, kernel_size, size)
        truth = functional.conv2d(x, w, stride=stride, padding=kernel_size // 2)
        sums = engine.conv(bits, weight, stride)
        assert_same(sums, truth.int())
        assert_same(sums, reference.conv(bits, weight, stride))
        assert_same(engine.conv(bits, weight, stride, torch.int16), truth.short())


@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 140),
    out=st.integers(1, 70),
    height=st.integers(1, 9),
    width=st.integers(1, 70),
    kernel_size=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
)
def test_a_convolution_is_exact(engine, batch, channels, out, height, width, kernel_size, stride):
    x, w, bits, weight = random_layer(engine, batch, channels, out, kernel_size, (height, width))
    truth = functional.conv2d(x, w, stride=stride, padding=kernel_size // 2)
    assert_same(engine.conv(bits, weight, stride), truth.int())


def test_counters_do_not_overflow(engine):
    x, w = torch.ones(1, 1500, 3, 3), -torch.ones(20, 1500, 3, 3)
    sums = engine.conv(engine.pack(x), packed.pack_weight(w))
    assert_same(sums, functional.conv2d(x, w, padding=1).int())
    assert sums.min() == -9 * 1500


def test_a_linear_layer_is_exact(engine):
    x, w = random_signs(2, 37, 100), random_signs(33, 100)
    bits = engine.pack(x.transpose(1, 2)[:, :, None])[:, 0]
    assert_same(engine.linear(bits, packed.pack_weight(w)), (x @ w.T).int())


def shortcuts_for(out, size):
    """Each kind that the refiner has, and both sizes at once."""
    height, width = size
    yield [torch.randn(2, out, height, width)]
    yield [torch.randn(2, 2 * out, height, width)]
    yield [torch.randn(2, 4 * out, height, width)]
    yield [torch.randn(2, out, 2 * height, 2 * width)]
    yield [torch.randn(2, 2 * out, 2 * height + 1, 2 * width)]
    if out % 2 == 0:
        yield [torch.randn(2, out // 2, 2 * height, 2 * width)]
        yield [torch.randn(2, out, height, width), torch.randn(2, out, height, width)]
        yield [torch.randn(2, out, height, width), torch.randn(2, out, 2 * height, 2 * width)]
    if height % 2 == 0 and width % 2 == 0:
        yield [torch.randn(2, out, height // 2, width // 2)]
        yield [torch.randn(2, 2 * out, height // 2, width // 2)]


@pytest.mark.parametrize("out", [1, 16, 33, 64, 100, 128])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (6, 34)], ids=str)
def test_a_block_is_the_reference_bit_for_bit_floats_too(engine, out, size):
    _, _, bits, weight = random_layer(engine, 2, 40, out, 3, size)
    for number, shortcuts in enumerate(shortcuts_for(out, size)):
        epilogue = Epilogue(*torch.randn(4, out), torch.randn(number % 4, out))
        x, next_bits = engine.conv_block(bits, weight, epilogue, shortcuts)
        true_x, true_bits = reference.conv_block(bits, weight, epilogue, shortcuts)
        assert_same(x, true_x)
        assert_same(next_bits, true_bits)


def test_a_block_writes_into_memory_that_is_passed_in(engine):
    _, _, bits, weight = random_layer(engine, 2, 40, 24, 3, (5, 7))
    epilogue = Epilogue(*torch.randn(4, 24), torch.randn(1, 24))
    shortcuts = [torch.randn(2, 24, 5, 7)]
    out = torch.empty(2, 24, 5, 7).contiguous(memory_format=torch.channels_last)
    x, _ = engine.conv_block(bits, weight, epilogue, shortcuts, out=out)
    assert x.data_ptr() == out.data_ptr()
    assert_same(out, engine.conv_block(bits, weight, epilogue, shortcuts)[0])
    with pytest.raises(ValueError, match="channels-last"):
        engine.conv_block(bits, weight, epilogue, shortcuts, out=out.contiguous())


def folded(block, time, next_bias):
    """A float block's numbers as an epilogue, and its packed weight."""
    norm, activation = block.norm, block.activation
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    before, after = (
        bias(torch.zeros(1, 1, 1, 1), time).flatten()
        for bias in (activation.before, activation.after)
    )
    epilogue = Epilogue(
        scale=factor * block.conv.weight.abs().mean(dim=(1, 2, 3)),
        offset=norm.bias - norm.running_mean * factor + before,
        slope=activation.slope,
        bias=after,
        next_bias=next_bias,
    )
    return epilogue, packed.pack_weight(block.conv.weight)


@pytest.mark.parametrize(
    ("kind", "channels", "out", "stride"),
    [(Block, 32, 32, 1), (Block, 64, 32, 1), (Down, 32, 64, 2), (Up, 64, 32, 1)],
)
@torch.no_grad()
def test_a_float_block_of_the_refiner_is_one_call(engine, kind, channels, out, stride):
    block = kind(channels, out, 8, BINARY).eval()
    for parameter in block.parameters():
        if parameter.ndim < 3:
            parameter.normal_()
    block.norm.running_mean.normal_()
    block.norm.running_var.uniform_(0.5, 2)
    x, time, next_bias = torch.randn(1, channels, 12, 20), torch.randn(1, 8), torch.randn(2, out)
    float_x = block(x, time)

    epilogue, weight = folded(block, time, next_bias)
    bits = engine.pack(x, block.bias(torch.zeros(1, 1, 1, 1), time).flatten())
    if kind is Up:  # four pixels out of one, on bits
        bits = bits.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    packed_x, next_bits = engine.conv_block(bits, weight, epilogue, [x], stride)

    assert_close(packed_x, float_x, rtol=0, atol=1e-4)
    for words, bias in zip(next_bits, next_bias, strict=True):
        before_sign = (float_x + bias[:, None, None]).permute(0, 2, 3, 1)
        decided = before_sign.abs() > 1e-4
        assert_same(unpack_bits(words, out)[decided], (before_sign >= 0)[decided])


def test_a_linear_block_is_the_reference(engine):
    bits = engine.pack(torch.randn(2, 64, 1, 10))[:, 0]
    weight = packed.pack_weight(torch.randn(256, 64))
    epilogue = Epilogue(*torch.randn(4, 256), torch.randn(1, 256))
    shortcut = torch.randn(2, 10, 64)  # repeated four times, as in the feed-forward layers
    x, next_bits = engine.linear_block(bits, weight, epilogue, shortcut)
    sums = engine.linear(bits, weight).float()
    scale, offset, slope, bias = epilogue.channel_values
    h = sums * scale + offset + shortcut.repeat(1, 1, 4)
    assert_same(x, torch.where(h > 0, h, slope * h) + bias)
    assert_same(unpack_bits(next_bits[0], 256), x + epilogue.next_bias[0] >= 0)


@pytest.mark.parametrize(
    ("channels", "num_heads", "queries", "keys"),
    [(512, 4, 64, 64), (128, 4, 20, 70), (24, 3, 33, 65), (100, 2, 7, 31), (1, 1, 1, 1)],
)
def test_attention_is_the_float_model_s(engine, channels, num_heads, queries, keys):
    tokens = [random_signs(2, n, channels) for n in (queries, keys, keys)]
    bits = [engine.pack(x.transpose(1, 2)[:, :, None])[:, 0] for x in tokens]
    q, k, v = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in tokens)
    scores = q @ k.transpose(-1, -2) / math.sqrt(channels // num_heads)
    truth = (above_threshold(scores) @ v).transpose(1, 2).flatten(2)
    ours = engine.attention(*bits, channels, num_heads)
    assert_same(ours, truth.int())
    assert_same(ours, reference.attention(*bits, channels, num_heads))


@pytest.fixture
def set_threads(engine):
    """torch.set_num_threads, set back afterwards."""
    if engine.name == "reference":
        pytest.skip("the reference's threads are torch's own")
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("num_threads", [2, 3, 7])
def test_threads_change_nothing(engine, num_threads, set_threads):
    x, w, bits, weight = random_layer(engine, 1, 40, 48, 3, (20, 40))
    truth = functional.conv2d(x, w, padding=1).int()
    set_threads(num_threads)
    for _ in range(20):
        assert_same(engine.conv(bits, weight), truth)


def test_callers_on_several_threads_do_not_disturb_each_other(engine, set_threads):
    layers = [random_layer(engine, 1, 33, 20 + i, 3, (16, 40)) for i in range(4)]
    truths = [functional.conv2d(x, w, padding=1).int() for x, w, _, _ in layers]
    wrong = []

    def work(number):
        set_threads(2)  # torch's setting is each thread's own
        _, _, bits, weight = layers[number]
        for _ in range(20):
            if not torch.equal(engine.conv(bits, weight), truths[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(layers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_child_has_threads_of_its_own(engine, set_threads):
    _, _, bits, weight = random_layer(engine, 1, 40, 48, 3, (20, 40))
    set_threads(2)
    truth = engine.conv(bits, weight)
    child = os.fork()
    if child == 0:
        # nothing of torch that starts threads: os._exit alone ends this process
        same = bytes(engine.conv(bits, weight).numpy()) == bytes(truth.numpy())
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
