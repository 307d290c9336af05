"""The sign of a number, never 0, and the approximate gradients that let it be trained."""

import torch
from jaxtyping import Float
from torch import Tensor


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        # in place on one buffer: this runs over every activation of the network
        slope = x.abs().mul_(-2).add_(2).clamp_(min=0)
        return slope.mul_(grads[0])


class _SignOfWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.where(weight >= 0, scale, -scale)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return grads[0] * (weight.abs() <= 1), None


class _AboveThreshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores: Tensor) -> Tensor:
        ctx.save_for_backward(scores.softmax(dim=-1))
        return (scores > ATTENTION_SHARE * scores.amax(dim=-1, keepdim=True)).to(scores.dtype)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        inner = (grads[0] * weights).sum(dim=-1, keepdim=True)
        return weights * (grads[0] - inner)


ATTENTION_SHARE = 0.35  # of the largest score: a key above it is attended to (published code)


def sign(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return +1 where x >= 0, else -1.

    The gradient is that of Bi-Real Net, max(0, 2 - 2 abs(x)).
    """
    return _Sign.apply(x)


def scaled_sign(weight: Float[Tensor, "out *rest"]) -> Float[Tensor, "out *rest"]:
    """Return 1-bit convolution weights: the sign times the mean magnitude of each output channel.

    The gradient passes unchanged where abs(weight) <= 1; the scale counts as a constant.
    """
    scale = weight.detach().abs().mean(dim=tuple(range(1, weight.ndim)), keepdim=True)
    return _SignOfWeight.apply(weight, scale)


def centred_scaled_sign(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    """1-bit linear weights: as `scaled_sign`, but each row less its mean before the sign."""
    scale = weight.detach().abs().mean(dim=1, keepdim=True)
    return _SignOfWeight.apply(weight - weight.mean(dim=1, keepdim=True), scale)


def above_threshold(scores: Float[Tensor, "*batch query key"]) -> Float[Tensor, "*batch query key"]:
    """Return 1-bit attention: 1 where a score is above 0.35 of its query's largest, else 0.

    The gradient is the softmax's.
    """
    return _AboveThreshold.apply(scores)
