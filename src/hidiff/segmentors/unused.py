"""Parameters that a network's answer does not depend on."""

import torch

from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.survey import TRIAL_SIZE, blank


def freeze_unused(segmentor: HookedSegmentor) -> HookedSegmentor:
    """Freeze what the logits do not depend on, such as the head of a classifier used as encoder.

    It would never get a gradient, and several processes that train together wait for one of every
    parameter that is not frozen. Names and values stay, so that the library's checkpoints fit.
    """
    was_training = segmentor.training
    segmentor.eval()  # batch norm's statistics must not move
    size = segmentor.input_size or TRIAL_SIZE
    image = blank(segmentor.network, segmentor.image_channels, size)
    parameters = list(segmentor.parameters())
    total = segmentor(image).logits.sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    return segmentor.train(was_training)
