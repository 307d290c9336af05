"""Segmentor, refiner and diffusion as one model."""

from hidiff.hybrid.evidence import know
from hidiff.hybrid.losses import segmentor_loss
from hidiff.hybrid.model import DiffusionSettings, HybridSegmentor, Look

__all__ = ["DiffusionSettings", "HybridSegmentor", "Look", "know", "segmentor_loss"]
