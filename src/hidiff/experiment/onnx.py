"""From a checkpoint to ONNX files that say what they are."""

import json
from pathlib import Path

from hidiff import export
from hidiff._version import __version__
from hidiff.diffusion import subset
from hidiff.experiment.models import open_model
from hidiff.experiment.predictor import load_hybrid
from hidiff.experiment.sharing import without_paths
from hidiff.packed import PackedRefiner
from hidiff.recipe import Recipe
from hidiff.weights import atomic_write

ONNX_FORMAT = "hidiff-onnx-1"  # of the metadata in a file


def export_onnx(model: str | Path, output: Path, steps: int | None = None) -> list[Path]:
    """Write a model as ONNX, and return the files.

    A prediction of one step is one graph, at `output`; one of several `steps` (left out: as the
    model predicts) is two, whose names end in `_segmentor` and `_step`. Their metadata hold what a
    program needs to know of the model, as text and JSON. Raises ValueError for a model that cannot
    be exported.
    """
    file = open_model(model)
    recipe, num_steps = file.recipe, file.recipe.diffusion.num_steps
    hybrid = load_hybrid(file)
    count = recipe.prediction.steps_of(num_steps) if steps is None else steps
    taken = subset(num_steps, count) if file.refines else []
    known = list(range(num_steps, 0, -1))
    if isinstance(hybrid.refiner, PackedRefiner):
        known = list(hybrid.refiner.table.steps)
    missing = [step for step in taken if step not in known]
    if missing:
        raise ValueError(
            f"{file.path} was packed for the steps {', '.join(map(str, known))}, but {count} steps "
            f"need {', '.join(map(str, missing))} too. Ask for {len(known)}, or pack it for more."
        )
    settings = export.OnnxSettings(
        steps=taken,
        known_steps=known,
        sampler=recipe.prediction.sampler,
        size=recipe.prediction.window_size or recipe.data.patch_size,
    )
    metadata = {**describe(recipe, taken), "notice": file.metadata.get("notice", "")}
    made = export.export_model(hybrid, settings, metadata)
    written = []
    for name, graph in made.items():
        ending = "" if name == export.WHOLE else f"_{name}"
        path = output.with_name(f"{output.stem}{ending}{output.suffix}")
        with atomic_write(path) as temporary:
            temporary.write_bytes(graph.SerializeToString())
        written.append(path)
    return written


def describe(recipe: Recipe, steps: list[int]) -> dict[str, str]:
    """Return what the metadata of an ONNX file say of a model."""
    data, labels = recipe.data, recipe.labels
    return {
        "format": ONNX_FORMAT,
        "hidiff_version": __version__,
        "name": recipe.name,
        "kind": labels.kind,
        "classes": json.dumps(list(labels.class_names)),
        "planes": json.dumps(list(labels.plane_names)),
        "values": json.dumps({name: list(values) for name, values in labels.classes.items()}),
        "channels": str(data.channels),
        "intensity": data.intensity.model_dump_json(exclude_none=True),
        "size": json.dumps(data.size),
        "window": json.dumps(recipe.prediction.window_size or data.patch_size),
        "steps": json.dumps(steps),
        "num_steps": str(recipe.diffusion.num_steps),
        "recipe": without_paths(recipe).model_dump_json(),
    }
