"""The segmentor's own loss: Dice and cross-entropy, MONAI's."""

import torch
from jaxtyping import Float
from torch import Tensor

from hidiff.labels import Labels

SURE_LOGIT = 20.0  # a probability within 2e-9 of 0 or 1


def segmentor_loss(
    logits: Float[Tensor, "b k h w"],
    y0: Float[Tensor, "b k h w"],
    labels: Labels,
    field_of_view: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    """Return soft Dice (0..1) plus cross-entropy (nats), inside the field of view (bits).

    Outside of it the truth is put in for the logits, so that nothing is lost or learned there.
    """
    # MONAI takes seconds to import, and a hybrid that only predicts has no loss.
    from monai.losses.dice import DiceCELoss

    known = (2 * y0 - 1) * SURE_LOGIT
    inside = torch.where(field_of_view > 0, logits.float(), known)
    exclusive = labels.kind == "exclusive"
    if not exclusive:
        # One problem a plane: of several planes MONAI's cross-entropy would take the softmax.
        inside, y0 = (each.flatten(0, 1)[:, None] for each in (inside, y0))
    loss = DiceCELoss(
        softmax=exclusive,
        sigmoid=not exclusive,
        include_background=not exclusive,
        smooth_nr=1.0,
        smooth_dr=1.0,
    )
    return loss(inside, y0)
