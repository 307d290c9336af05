"""Small models of every kind, and images that take several windows."""

from pathlib import Path

import numpy as np
import torch

from hidiff import weights
from hidiff.correction import CorrectionSettings, Session, start_session
from hidiff.experiment import checkpoint_metadata, make_hybrid, make_predictor
from hidiff.export import pack_refiner
from hidiff.hybrid import HybridSegmentor
from hidiff.prediction import Predictor
from hidiff.recipe import Recipe
from hidiff.training.stages import IN_TURNS
from tests.tiny import make_tiny, shake

KINDS = ("one_class", "exclusive", "regions")
MAPS = ("labels", "probability", "uncertainty", "prior")
REACH = 12
NEAR = CorrectionSettings(reach_px=REACH)
SIZE = (70, 100)  # two rows and two columns of windows of 64x64, and a rest


def make_model(
    folder: Path, kind: str = "one_class", *, hints: bool = True, precision: str = "real", **more
) -> tuple[Recipe, HybridSegmentor]:
    """Return untrained networks with opinions: masks depend on the image, and on hints."""
    data = {"channels": 1, **more.pop("data", {})}
    refiner = {"precision": precision, "hints": hints}
    recipe = make_tiny(folder, kind, refiner=refiner, data=data, **more)
    hybrid = shake(make_hybrid(recipe), size=1.0)
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        if hasattr(hybrid.segmentor, "network"):
            hybrid.segmentor.network.final_conv.weight *= 20
        if hints:
            weight = hybrid.refiner.hint_input.weight
            weight.copy_(torch.randn(weight.shape, generator=draws))
    return recipe, hybrid


def make_kind(folder: Path, kind: str = "one_class", **more) -> Predictor:
    """Return the predictor of such networks."""
    recipe, hybrid = make_model(folder, kind, **more)
    return make_predictor(hybrid, recipe)


def make_packed(folder: Path, kind: str = "one_class") -> Predictor:
    """Return the predictor of such networks, packed."""
    recipe, hybrid = make_model(folder, kind, precision="binary")
    hybrid.refiner = pack_refiner(hybrid.refiner.eval(), [4])
    return make_predictor(hybrid, recipe)


def save_networks(path: Path, recipe: Recipe, hybrid: HybridSegmentor) -> Path:
    """Write networks as a checkpoint."""
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    weights.save(path, tensors, {**checkpoint_metadata(recipe), "stage": IN_TURNS.name})
    return path


def make_image(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def make_volume(depth: int = 4, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (depth, *size), dtype=np.uint8)


def start(predictor: Predictor, image: np.ndarray | None = None, **options) -> Session:
    """Start a session of short reach on a picture."""
    image = make_image() if image is None else image
    return start_session(predictor, image, **{"settings": NEAR, **options})


def read_maps(session: Session) -> dict[str, np.ndarray]:
    """Return the maps of all slices."""
    return {name: getattr(session, name) for name in MAPS}


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    """Return whether maps are equal, bit for bit."""
    return all(np.array_equal(left[name], right[name]) for name in MAPS)
