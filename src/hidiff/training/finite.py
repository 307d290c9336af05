"""Losses and gradients must be finite; the error for those that are not."""

import math
from pathlib import Path

from torch import Tensor

from hidiff.training.stages import Stage
from hidiff.training.steps import Batch


class NotFiniteError(RuntimeError):
    """A loss or gradient is NaN or infinite; the message names step, cases and last checkpoint."""


def check_finite(
    what: str, value: Tensor | None, batch: Batch, stage: Stage, step: int, last_good: Path | None
) -> None:
    """Raise NotFiniteError for a value that is NaN or infinite; None is fine."""
    if value is not None and not math.isfinite(value.item()):
        raise NotFiniteError(
            f"{what} {value.item()} at step {step + 1} of {stage.name}, on the cases "
            f"{', '.join(batch.names)}. "
            + (f"The last good checkpoint is {last_good}. " if last_good else "")
            + "Look at these images and masks, or lower the learning rate."
        )
