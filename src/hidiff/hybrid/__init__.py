"""Segmentor, refiner and diffusion as one model."""

from hidiff.hybrid.evidence import believe, know
from hidiff.hybrid.losses import segmentor_loss
from hidiff.hybrid.model import DiffusionSettings, HybridSegmentor, Look

__all__ = ["DiffusionSettings", "HybridSegmentor", "Look", "believe", "know", "segmentor_loss"]
