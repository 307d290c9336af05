"""Every engine refuses what does not fit, with a clear message, and never crashes."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from jaxtyping import config

from hidiff import packed
from hidiff.packed.compiled import load_kernels

NAMES = packed.kernel_info()["available"].split(", ")
KERNELS = [name for name in NAMES if name != "reference"]


@pytest.fixture(params=NAMES, scope="module")
def engine(request):
    """The same test for every kernel."""
    return packed.choose_engine(request.param)


@contextlib.contextmanager
def unchecked_shapes():
    """Switch off jaxtyping's checks, which users do not have either."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def layer(engine, channels=40, out=8):
    bits = engine.pack(torch.randn(1, channels, 6, 6))
    return bits, packed.pack_weight(torch.randn(out, channels, 3, 3))


def block(engine, shortcuts, **changes):
    bits, weight = layer(engine)
    numbers = torch.randn(4, changes.pop("numbers", 8))
    epilogue = packed.Epilogue(*numbers, torch.randn(1, changes.pop("biases", 8)))
    return engine.conv_block(bits, weight, epilogue, shortcuts, **changes)


def fitting(*shape):
    return torch.randn(1, *(shape or (8, 6, 6)))


def tokens(engine, batch=1, count=6):
    return engine.pack(torch.randn(batch, 40, 1, count))[:, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.pack(torch.randn(1, 4, 2, 2).double()), r"x.*float64.*pass x\.float\(\)"),
        (lambda e: e.pack(torch.randn(1, 4, 2, 2, device="meta")), r"pass x\.float\(\)\.cpu\(\)"),
        (lambda e: e.pack(torch.randn(4, 2, 2)), "x has 3 dimensions"),
        (lambda e: e.pack(torch.randn(4)), "x has 1 dimensions"),
        (lambda e: e.pack(fitting(), torch.randn(3)), "bias has 3 numbers.*8 channels"),
        (lambda e: e.unpack(layer(e)[0], 70), "bits have 2 words.*70 channels want 3"),
        (lambda e: e.unpack(layer(e)[0], -1), "bits have 2 words"),
        (lambda e: e.conv(layer(e)[0], layer(e, 70)[1]), "bits have 2 words.* 3; pa"),
        (lambda e: e.conv(*layer(e), stride=3), "stride is 3"),
        (lambda e: e.conv(*layer(e), stride=0), "stride is 0"),
        (lambda e: e.conv(layer(e)[0][0], layer(e)[1]), "bits have 3 dimensions"),
        (lambda e: e.conv(layer(e)[0][:, :0], layer(e)[1]), "none of them may be 0"),
        (lambda e: e.conv(*layer(e, 4000), dtype=torch.int16), "up to 36000 do not fit"),
        (lambda e: block(e, []), "0 shortcuts"),
        (lambda e: block(e, [fitting()] * 3), "3 shortcuts"),
        (lambda e: block(e, [fitting(5, 6, 6)]), "one must be a multiple"),
        (lambda e: block(e, [fitting(0, 6, 6)]), "one must be a multiple"),
        (lambda e: block(e, [fitting(0, 6, 6), fitting()]), "one must be a multiple"),
        (lambda e: block(e, [fitting(9, 6, 6), fitting(7, 6, 6)]), "may not span two"),
        (lambda e: block(e, [fitting(8, 5, 6)]), "one twice the other"),
        (lambda e: block(e, [fitting(8, 0, 0)]), "one twice the other"),
        (lambda e: block(e, [torch.randn(2, 8, 6, 6)]), "batch"),
        (lambda e: block(e, [fitting().double()]), "float64.*on the CPU"),
        (lambda e: block(e, [fitting(6, 6)]), "shortcut"),
        (lambda e: block(e, [fitting()], numbers=7), "have 7 numbers.*one for each of 8"),
        (lambda e: block(e, [fitting()], biases=9), "next_bias .*9.*one number|next_bias has 9"),
        (lambda e: block(e, [fitting()], out=torch.empty(1, 8, 6, 6)), "channels-last"),
        (lambda e: block(e, [fitting()], out=fitting(6, 6)), "out"),
        (lambda e: block(e, [fitting()], out=wrong_size()), "out is .*7"),
        (lambda e: e.attention(*[tokens(e)] * 3, 40, 3), "3 heads"),
        (lambda e: e.attention(*[tokens(e)] * 3, 40, 0), "0 heads"),
        (lambda e: e.attention(*[tokens(e)] * 3, 70, 2), "bits have 2 words"),
        (lambda e: e.attention(*[tokens(e)] * 2, tokens(e, 1, 5), 40, 2), "one value"),
        (lambda e: e.attention(tokens(e, 2), *[tokens(e)] * 2, 40, 2), "batch must be the same"),
        (lambda e: e.attention(tokens(e)[:, :0], *[tokens(e)] * 2, 40, 2), "at least"),
    ],
)
def test_what_does_not_fit_is_refused(engine, call, message):
    with unchecked_shapes(), pytest.raises(ValueError, match=message):
        call(engine)


def wrong_size():
    return torch.empty(1, 8, 7, 6).contiguous(memory_format=torch.channels_last)


def often(usual, *others):
    """Draw the usual value half of the time, else one of the others."""
    return st.one_of(st.just(usual), st.sampled_from(others))


@given(data=st.data())
def test_blocks_of_any_sizes_are_computed_or_refused(engine, data):
    draw = data.draw
    out, channels, kernel = (draw(st.sampled_from(x)) for x in ([1, 8, 33], [8, 40, 64], [1, 3]))
    size = (draw(often(1, 2, 0)), draw(st.integers(0, 6)), draw(st.integers(0, 6)))
    stride = draw(often(1, 2, 0, 3, -1))
    output = [size[0], *(len(range(0, side, max(stride, 1))) for side in size[1:])]

    def shortcut():
        factor = draw(often(1, 2, 0.5, 3))
        sides = (int(factor * output[1]), int(factor * output[2]) + draw(often(0, 1)))
        count = draw(often(out, 2 * out, 4 * out, max(1, out // 2), 5, 0))
        return torch.randn(draw(often(output[0], 3)), count, *sides)

    shortcuts = [shortcut() for _ in range(draw(often(1, 2, 0, 3)))]
    numbers = torch.randn(6, draw(often(out, 7)))
    epilogue = packed.Epilogue(*numbers[:4], numbers[4:])
    reference = packed.choose_engine("reference")
    with unchecked_shapes():
        x = torch.randn(size[0], draw(often(channels, 33, 1)), *size[1:])
        weight = packed.pack_weight(torch.randn(out, channels, kernel, kernel))
        arguments = (reference.pack(x), weight, epilogue, shortcuts, stride)
        try:
            result = engine.conv_block(*arguments)
        except ValueError as error:
            assert len(str(error)) > 20
            with pytest.raises(ValueError):
                reference.conv_block(*arguments)
        else:
            for ours, theirs in zip(result, reference.conv_block(*arguments), strict=True):
                assert torch.equal(ours, theirs)


@st.composite
def arrays(draw):
    """Arrays of any type, number of dimensions and layout, strides of 0 and below among them."""
    shape = draw(st.lists(st.integers(0, 17), min_size=1, max_size=5))
    dtype = draw(st.sampled_from(["int32", "float32", "float64", "int64"]))
    array = np.ones(shape, dtype)
    change = draw(st.sampled_from(["", "reversed", "every second", "broadcast", "transposed"]))
    if change == "reversed":
        array = array[..., ::-1]
    if change == "every second":
        array = array[..., ::2]
    if change == "broadcast":
        array = np.lib.stride_tricks.as_strided(array, shape, [0] * len(shape))
    return array.T if change == "transposed" else array


numbers = st.integers(-2, 40)


@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_the_compiled_module_refuses_arrays_of_any_kind_without_a_crash(name, data):
    kernel = load_kernels()[0].kernel(name)
    operation = data.draw(
        st.sampled_from(["pack", "unpack", "conv_int32", "conv_int16", "conv_block", "attention"])
    )
    arguments = {
        "pack": ("x", "bias", "bits"),
        "unpack": ("bits", "out"),
        "conv_int32": ("bits", "blocks", "offsets", "kernel", "stride", "out"),
        "conv_int16": ("bits", "blocks", "offsets", "kernel", "stride", "out"),
        "conv_block": (
            "bits",
            "blocks",
            "offsets",
            "kernel",
            "stride",
            "channel_values",
            "shortcuts",
            "next_bias",
            "out",
            "next_bits",
        ),
        "attention": ("query", "key", "value", "heads", "thresholds", "out"),
    }[operation]
    kinds = {
        "kernel": numbers,
        "stride": numbers,
        "heads": numbers,
        "shortcuts": st.lists(arrays(), max_size=3),
    }
    values = {name: data.draw(kinds.get(name, arrays())) for name in arguments}
    with contextlib.suppress(ValueError, TypeError):
        getattr(kernel, operation)(**values, threads=1)


@pytest.mark.parametrize("name", KERNELS)
@given(
    shape=st.tuples(*[st.integers(0, 6)] * 4),
    strides=st.tuples(*[st.sampled_from([0, 1, 2, 6, 36, -1])] * 4),
)
@example(shape=(1, 2, 5, 1), strides=(0, 0, 0, 0))
@example(shape=(1, 3, 5, 1), strides=(36, 2, 6, 1))
def test_packing_floats_of_any_strides_reads_nothing_outside(name, shape, strides):
    reach = [(count - 1) * stride for count, stride in zip(shape, strides, strict=True)]
    first = -sum(r for r in reach if r < 0)
    memory = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    x = np.lib.stride_tricks.as_strided(memory[first:], shape, [4 * stride for stride in strides])
    batch, channels_, height, width = shape
    bits = np.zeros((batch, height, width, -(-channels_ // 32)), np.int32)
    try:
        load_kernels()[0].kernel(name).pack(x=x, bias=None, bits=bits, threads=1)
    except ValueError:
        return
    truth = packed.choose_engine("reference").pack(torch.tensor(x.copy()))
    assert np.array_equal(bits, truth.numpy())


def test_maps_one_pixel_wide_can_be_packed_in_any_layout(engine):
    x = torch.randn(2, 64, 5, 1)
    truth = packed.choose_engine("reference").pack(x)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert torch.equal(engine.pack(x.contiguous(memory_format=layout)), truth)
