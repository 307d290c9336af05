"""Trained models that come with HiDiff, by name: of each a packed file, its facts and its card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ShippedModel:
    """NAME.safetensors, and beside it NAME.json and NAME.md; research/pages/shipped_models.py makes
    all three.
    """

    file: Path

    @property
    def card(self) -> Path:
        """For people: data, training, results, limits."""
        return self.file.with_suffix(".md")

    @property
    def facts(self) -> dict[str, Any]:
        """For programs: what the card rests on."""
        return json.loads(self.file.with_suffix(".json").read_text(encoding="utf-8"))


def shipped_models() -> dict[str, ShippedModel]:
    """The models that come with HiDiff, by name."""
    return {file.stem: ShippedModel(file) for file in sorted(FOLDER.glob("*.safetensors"))}


__all__ = ["FOLDER", "ShippedModel", "shipped_models"]
