"""Signs and their gradients, against the published layers' numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from hidiff.binary import BINARY, REAL, Conv2d, Linear, above_threshold, scaled_sign, sign

GOLDEN = Path(__file__).parents[1] / "golden" / "binary_layers.npz"


@pytest.fixture(scope="module")
def golden():
    values = np.load(GOLDEN)
    return lambda piece: {
        name.split("/")[1]: torch.from_numpy(values[name])
        for name in values.files
        if name.startswith(piece + "/")
    }


def close(ours, theirs, rtol=0.0, atol=1e-6):
    assert_close(ours, theirs, rtol=rtol, atol=atol)


def test_the_sign_and_its_gradient_are_the_published_ones(golden):
    g = golden("sign_activation")
    x = g["x"].requires_grad_()
    y = sign(x)
    y.backward(g["upstream"])
    nonzero = x != 0  # there sign(0) = 0, ours is +1
    close(y[nonzero], g["y"][nonzero])
    close(x.grad, g["grad_x"])


def test_the_sign_is_never_zero():
    assert_close(sign(torch.tensor([-0.0, 0.0, -1e-30, 5.0])), torch.tensor([1.0, 1, -1, 1]))


def test_the_1_bit_convolution_is_the_published_one(golden):
    g = golden("binary_conv")
    x, weight = g["x"].requires_grad_(), g["weight"].requires_grad_()
    y = functional.conv2d(x, scaled_sign(weight), g["bias"], padding=1)
    y.backward(g["upstream"])
    # the order of float32 sums of up to 98 terms, values up to 17, hangs on the number of threads
    loose = {"rtol": 1e-6, "atol": 5e-6}
    close(y, g["y"], **loose)
    close(x.grad, g["grad_x"], **loose)
    close(weight.grad, g["grad_weight"], **loose)


def test_the_1_bit_linear_layer_is_the_published_one(golden):
    g = golden("binary_linear")
    layer = Linear(16, 12, precision=BINARY)
    layer.load_state_dict({"weight": g["weight"], "bias": g["bias"]})
    x = g["x"].requires_grad_()
    y = layer(x)
    y.backward(g["upstream"])
    close(y, g["y"])
    close(x.grad, g["grad_x"])
    close(layer.weight.grad, g["grad_weight"])


def test_the_attention_binarizer_is_the_published_one(golden):
    g = golden("attention_binarizer")
    close(above_threshold(g["scores"]), g["y"])


def test_the_attention_s_gradient_is_the_softmax_s():
    torch.manual_seed(0)
    scores, upstream = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    ours, theirs = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    above_threshold(ours).backward(upstream)
    theirs.softmax(dim=-1).backward(upstream)
    close(ours.grad, theirs.grad)


def test_a_1_bit_layer_sees_only_the_signs_of_its_input():
    torch.manual_seed(0)
    layer = Conv2d(4, 8, 3, padding=1, precision=BINARY)
    x = torch.randn(2, 4, 9, 9)
    assert torch.equal(layer(x), layer(x * torch.rand_like(x).add(0.1)))


def test_weights_start_with_both_signs():
    assert set(Conv2d(4, 8, 3, precision=BINARY).weight.sign().unique().tolist()) == {-1.0, 1.0}


def test_real_precision_is_an_ordinary_layer():
    ours, torchs = Conv2d(4, 8, 3, precision=REAL), torch.nn.Conv2d(4, 8, 3)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 9, 9)
    assert torch.equal(ours(x), torchs(x))
