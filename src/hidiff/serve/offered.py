"""The models that a server offers, loaded once when they are first asked for.

Nothing here imports torch until a model is loaded, so that the page appears at once.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidiff.models import FOLDER, ShippedModel, find_model, read_head, shipped_models
from hidiff.serve.refusal import Refusal

if TYPE_CHECKING:
    from hidiff.experiment import Model

DEFAULT = "vessels"  # as that of hidiff.segment


class OfferedModels:
    """The models that come with HiDiff, and those given at the start; the first is the default."""

    def __init__(self, given: Sequence[Path | str] = (), device: str = "cpu"):
        """`device` is cpu, cuda, or auto: a GPU if there is one."""
        self.device = device
        self._paths: dict[str, Path] = {}
        for path in given:
            self._add(Path(path))
        shipped = shipped_models()
        for name in sorted(shipped, key=lambda name: name != DEFAULT):
            self._paths.setdefault(name, shipped[name].file)
        self._loaded: dict[str, Model] = {}
        self._lock = threading.Lock()

    def _add(self, given: Path) -> None:
        file = find_model(given)
        if read_head(file).takes_priors:
            raise ValueError(
                f"{given} refines the masks of another model, which must come with each image, so "
                "it cannot be served. Use hidiff refine."
            )
        name = given.stem if given.is_file() or file.parent == FOLDER else given.resolve().name
        unique, number = name, 2
        while unique in self._paths and self._paths[unique] != file:
            unique, number = f"{name}-{number}", number + 1
        self._paths[unique] = file

    @property
    def names(self) -> list[str]:
        """Names of the models, the default first."""
        return list(self._paths)

    @property
    def default(self) -> str:
        """Name of the model that is used where none is chosen."""
        return self.names[0]

    def describe(self) -> list[dict[str, Any]]:
        """Return what the heads of the files say, for people to choose by."""
        return [self._describe(name, path) for name, path in self._paths.items()]

    def _describe(self, name: str, path: Path) -> dict[str, Any]:
        head = read_head(path)
        facts = ShippedModel(path).facts if path.parent == FOLDER else {}
        return {
            "name": name,
            "title": facts.get("title", ""),
            "notice": facts.get("notice", head.metadata.get("notice", "")),
            "takes": head.takes,
            "channels": head.channels,
            "classes": list(head.recipe.get("labels", {}).get("classes", {})),
            "comes_with_hidiff": bool(facts),
            "loaded": name in self._loaded,
        }

    def path_of(self, name: str) -> Path:
        """Return the checkpoint of a model."""
        return self._paths[name]

    def check(self, name: str | None) -> str:
        """Return the name of a model that there is; the default for None."""
        if name is None:
            return self.names[0]
        if name not in self._paths:
            raise Refusal(
                404, f"there is no model of that name here. Choose from: {', '.join(self._paths)}."
            )
        return name

    def get(self, name: str) -> "Model":
        """Return a model, loaded; another request for it waits until it is."""
        with self._lock:
            if name not in self._loaded:
                from hidiff.experiment import load

                self._loaded[name] = load(self._paths[name], self._choose_device())
            return self._loaded[name]

    def _choose_device(self) -> str:
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
