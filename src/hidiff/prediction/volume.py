"""What a prediction of a volume is: label maps, slice by slice, on the grid of its file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Shaped, UInt8

from hidiff.images import Grid, from_slices
from hidiff.images.grid import Plane
from hidiff.labels import Labels
from hidiff.prediction.prediction import Prediction

VolumeLabels = UInt8[np.ndarray, "d h w"] | UInt8[np.ndarray, "k d h w"]


@dataclass(frozen=True)
class VolumePrediction:
    """The refined masks of one volume, slices first; `in_file` turns any of them back."""

    name: str
    grid: Grid
    plane: Plane
    labels: VolumeLabels
    """as a Prediction's: of regions, a bit a plane"""
    prior_labels: VolumeLabels
    uncertainty: Float16[np.ndarray, "d h w"] | Float16[np.ndarray, "k d h w"]
    """bits"""
    probability: Float16[np.ndarray, "k d h w"] | None
    """mean over the samples; None unless it was asked for"""
    prior: Float16[np.ndarray, "k d h w"] | None

    @staticmethod
    def empty(
        name: str,
        grid: Grid,
        plane: Plane,
        size: tuple[int, int, int],
        labels: Labels,
        keep_probability: bool,
        scratch: Path | None,
    ) -> "VolumePrediction":
        """Room for the predictions of as many slices as `size` (d, h, w) says."""
        planes = labels.num_planes
        each = (planes, *size) if labels.kind == "regions" else size

        def room(kind: str) -> np.ndarray | None:
            if not keep_probability:
                return None
            if scratch is None:
                return np.zeros((planes, *size), dtype=np.float16)
            return np.lib.format.open_memmap(
                scratch / f"{kind}.npy", mode="w+", dtype=np.float16, shape=(planes, *size)
            )

        return VolumePrediction(
            name,
            grid,
            plane,
            labels=np.zeros(each, dtype=np.uint8),
            prior_labels=np.zeros(each, dtype=np.uint8),
            uncertainty=np.zeros(each, dtype=np.float16),
            probability=room("probability"),
            prior=room("prior"),
        )

    def put(self, number: int, prediction: Prediction) -> None:
        """Take a slice's prediction in."""
        self.labels[..., number, :, :] = prediction.labels
        self.prior_labels[..., number, :, :] = prediction.prior_labels
        self.uncertainty[..., number, :, :] = prediction.uncertainty
        if self.probability is not None and self.prior is not None:
            self.probability[:, number] = prediction.probability
            self.prior[:, number] = prediction.prior

    def in_file(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*k x y z"]:
        """Any of the maps as the input's file lies: its axes, its directions."""
        return from_slices(values, self.grid, self.plane)
