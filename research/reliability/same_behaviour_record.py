"""Checks of the behaviour guard: run the command line on drawn inputs, and note what it writes."""

import hashlib
import importlib
import importlib.util
import io
import json
import multiprocessing
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, get_args

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before torch is imported

import numpy as np
import yaml
from same_behaviour_inputs import write_inputs

STEPS = 10  # of each of two stages; of the one stage where stage 1 is skipped, twice as many
RUN_FILES = ("stage1", "best", "last")
# Draws of DICOM SEG at the moment of writing, and versions: left out of the comparison.
LEFT_OUT = (
    "SOPInstanceUID", "SeriesInstanceUID", "DimensionOrganizationUID", "ContentDate",
    "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime",
    "StructureSetDate", "StructureSetTime", "ContributionDateTime", "SoftwareVersions",
    "AlgorithmVersion",
)  # fmt: skip

EVERY_AUGMENTATION = {
    "lens": 0.5, "flip_horizontal": 0.5, "flip_vertical": 0.5, "rotate90": 0.75, "affine": 0.7,
    "rotation_degrees": 30, "zoom": 0.35, "gamma": 0.5, "gamma_range": [0.6, 1.8],
    "contrast": 0.5, "contrast_change": 0.4, "brightness": 0.5, "brightness_change": 0.3,
    "tint": 0.5, "tint_change": 0.2, "noise": 0.3, "noise_std": 0.05,
}  # fmt: skip
DATA = {
    "pictures": {
        "data": {"source": "folder", "path": "curves", "augmentation": EVERY_AUGMENTATION},
        "labels": {"kind": "one_class", "classes": {"curve": [255]}},
    },
    "slices": {
        "data": {
            "source": "folder", "path": "organs", "augmentation": "mri", "channels": 1,
            "neighbours": 1, "spacing_mm": [1.5, 1.5], "intensity": {"kind": "zscore"},
        },
        "labels": {"kind": "exclusive", "classes": {"organ": [1], "lesion": [4]}},
    },
}  # fmt: skip
FROZEN = {"segmentor": "frozen", "stage2_steps": 2 * STEPS}
ARMS: dict[str, dict[str, Any]] = {
    "in_turns": {},
    "segmentor_only": {"training": {"arm": "segmentor_only"}},
    "joint": {"training": {"segmentor": "joint"}},
    "frozen": {
        "training": FROZEN,
        "segmentor": {"weights": "runs/{data}-in_turns/stage1.safetensors"},
    },
    "files": {"training": FROZEN, "segmentor": {"name": "files", "options": {}}},
}  # fmt: skip


class Recorder:
    """Runs commands in a folder of drawn inputs, and collects checks by name.

    A check holds up to three things: `exact`, equal on every processor; `bits`, a hash of what
    depends on the processor's arithmetic; `numbers`, which tell how large a difference is.
    """

    def __init__(self, folder: Path, killed: Path | None = None) -> None:
        self.folder = folder
        self.killed = killed
        self.checks: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True)
        write_inputs(folder)
        os.chdir(folder)

    def add(self, name: str, exact: Any = None, bits: bytes | None = None, numbers=None) -> None:
        """Keep a check; `numbers` are rounded to 7 digits."""
        assert name not in self.checks, name
        check: dict[str, Any] = {}
        if exact is not None:
            check["exact"] = json.loads(json.dumps(exact))
        if bits is not None:
            check["bits"] = hash_of(bits)
        if numbers is not None:
            check["numbers"] = {key: float(f"{value:.7g}") for key, value in numbers.items()}
        self.checks[name] = check

    def add_array(self, name: str, array: np.ndarray) -> None:
        """Keep an array by its bytes and, of the last two axes, the means of 4 x 4 fields."""
        self.add(
            name,
            exact={"shape": array.shape, "dtype": str(array.dtype)},
            bits=np.ascontiguousarray(array).tobytes(),
            numbers=sketch(array),
        )

    def train(self, data: str, arm: str, *changes: str) -> Path:
        """Train an arm unless it is trained already, and return the run's folder."""
        name = f"{data}-{arm}"
        if not (Path("runs") / name / "last.safetensors").exists():
            recipe = write_recipe(data, arm)
            hidiff("train", recipe, "--device", "cpu", *changes)
        return Path("runs") / name


def record_options(recorder: Recorder) -> None:
    """Every option of every command, with its default; and every setting of a recipe."""
    import typer

    from hidiff.cli import app

    def walk(command: Any, name: str) -> None:
        parameters = {parameter.name: describe(parameter) for parameter in command.params}
        recorder.add(f"options/{name}", exact=parameters)
        for inner in sorted(getattr(command, "commands", {})):
            walk(command.commands[inner], f"{name} {inner}")

    walk(typer.main.get_command(app), "hidiff")
    run = recorder.train("pictures", "in_turns")
    resolved = yaml.safe_load((run / "recipe.yaml").read_text())
    recorder.add("options/settings of a recipe", exact=flatten(resolved))


def describe(parameter: Any) -> dict[str, Any]:
    """Return what a parameter of a command is called, takes, and is when left out."""
    if hasattr(parameter, "type_descriptor"):  # newer versions of typer
        takes = type_names(parameter.type_descriptor.annotation)
    else:
        takes = sorted(getattr(parameter.type, "choices", None) or [parameter.type.name])
    return {
        "options": [*parameter.opts, *parameter.secondary_opts],
        "default": plain(parameter.default),
        "takes": takes,
        "required": parameter.required,
        "several": [parameter.nargs, getattr(parameter, "multiple", False)],
        "flag": getattr(parameter, "is_flag", False),
        "range": [getattr(parameter, "min", None), getattr(parameter, "max", None)],
    }


def type_names(annotation: Any) -> list[str]:
    """Return the names of an annotation's types, and an enumeration's values."""
    if inner := get_args(annotation):
        return [name for part in inner for name in type_names(part)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return sorted(str(member.value) for member in annotation)
    return [getattr(annotation, "__name__", str(annotation))]


def record_shipped(recorder: Recorder) -> None:
    """Both shipped models on five images each: plain, lit view, windows, four samples."""
    sampled = ("--samples", 4, "--temperature", 1)
    ways = {
        "vessels": {
            "plain": (),
            "lit view": ("--lit-view",),
            "windows": ("--window-size", 128, 160),
            # two of its steps, as all of them take a minute
            "4 samples": (*sampled, "--steps", 2),
        },
        "nodules": {
            "plain": (),
            "windows": ("--window-size", 160, 192),  # "plain" has windows of 128 x 128
            "4 samples": sampled,
        },
    }
    images = {"vessels": "eyes", "nodules": "crops/images"}
    for model, options in ways.items():
        for way, words in options.items():
            output = Path("predicted") / f"{model} {way}"
            hidiff(
                "predict", model, images[model], "--output", output, "--device", "cpu",
                "--format", "npz", *words,
            )  # fmt: skip
            paths = sorted(output.glob("*.npz"))
            assert len(paths) == 5, paths
            for path in paths:
                with np.load(path) as arrays:
                    names = ("labels", "probability", "prior")[: 3 if way == "plain" else 2]
                    for name in names:
                        recorder.add_array(
                            f"shipped/{model}/{way}/{path.stem}/{name}", arrays[name]
                        )


def record_training(recorder: Recorder) -> None:
    """Twenty steps of every arm: all tensors of the checkpoints, and the rows of losses."""
    for data in DATA:
        for arm in ARMS:
            if data == "slices" and arm == "files":
                continue  # priors from files belong to pictures
            run = recorder.train(data, arm)
            for file in RUN_FILES:
                if (run / f"{file}.safetensors").exists():
                    add_weights(
                        recorder, f"training/{data}/{arm}/{file}", run / f"{file}.safetensors"
                    )
            rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            rows = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
            add_rows(recorder, f"training/{data}/{arm}/metrics.jsonl", rows)


def record_volumes(recorder: Recorder) -> None:
    """One NIfTI and one DICOM volume, and one picture, predicted by small trained models."""
    volumes, pictures = (recorder.train(data, "in_turns") for data in ("slices", "pictures"))
    keep = ("--device", "cpu", "--probability", "--uncertainty")
    formats = ("--format", "nifti", "--format", "npz")
    hidiff("predict", volumes, "organs/images/organ-4.nii.gz", "--output", "nifti", *keep, *formats)
    hidiff("predict", volumes, "series", "--output", "dicom", *keep, *formats, "--format", "dicom")
    formats = ("--format", "png", "--format", "tiff", "--format", "npz")
    hidiff("predict", pictures, "curves/images/curve-8.png", "--output", "picture", *keep, *formats)
    for folder in ("nifti", "dicom", "picture"):
        paths = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
        recorder.add(f"files/{folder}", exact=[path.name for path in paths])
        for path in paths:
            add_file(recorder, f"files/{folder}/{path.name}", path)


def record_evaluation(recorder: Recorder) -> None:
    """CSV and JSON files of `hidiff evaluate`: pictures, volumes and a shipped model."""
    ways = {
        "pictures": (recorder.train("pictures", "in_turns"), "--samples", 2, "--sizes", "calibre"),
        "volumes": (recorder.train("slices", "in_turns"), "--sizes", "objects"),
        "nodules": ("nodules", "--data", "crops"),
    }
    for name, words in ways.items():
        output = Path("evaluated") / name
        hidiff("evaluate", *words, "--output", output, "--no-report", "--device", "cpu")
        paths = sorted(path for path in output.iterdir() if path.suffix in {".csv", ".json"})
        recorder.add(f"evaluate/{name}", exact=[path.name for path in paths])
        for path in paths:
            add_table(recorder, f"evaluate/{name}/{path.name}", path)


def record_resume(recorder: Recorder) -> None:
    """A run that was killed goes on, and ends with the weights of one that nothing stopped."""
    whole = recorder.train("pictures", "in_turns")
    changes = ("--set", "name=killed", "--set", "training.save_every=1")
    killed = Path("runs/killed")
    if recorder.killed is None:
        kill_run("pictures", changes, killed)
        shutil.copytree(killed, "killed_run")  # for another tree to go on with
    else:
        shutil.copytree(recorder.killed, killed)
    stage, step = progress_of(killed / "state.safetensors")
    assert (stage, step < STEPS) == ("in_turns", True), (stage, step)
    hidiff("train", write_recipe("pictures", "in_turns"), "--device", "cpu", "--resume", *changes)
    for file in ("best", "last"):
        add_weights(recorder, f"resume/{file}", killed / f"{file}.safetensors")
    equal = {
        file: tensor_hash(killed / f"{file}.safetensors")
        == tensor_hash(whole / f"{file}.safetensors")
        for file in ("best", "last")
    }
    recorder.add("resume/equals the run that nothing stopped", exact=equal)


def kill_run(data: str, changes: tuple[str, ...], folder: Path) -> None:
    """Train in a process of its own, and kill it in the middle of stage 2."""
    words = ("train", write_recipe(data, "in_turns"), "--device", "cpu", *changes)
    process = multiprocessing.get_context("fork").Process(target=hidiff, args=words)
    process.start()
    middle = f'"stage": "in_turns", "step": {STEPS // 2}'
    metrics = folder / "metrics.jsonl"
    while process.is_alive() and not (metrics.exists() and middle in metrics.read_text()):
        time.sleep(0.005)
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(
            f"the run to be killed ended by itself, with exit code {process.exitcode}"
        )


GROUPS: dict[str, Callable[[Recorder], None]] = {
    "options": record_options,
    "shipped": record_shipped,
    "training": record_training,
    "files": record_volumes,
    "evaluate": record_evaluation,
    "resume": record_resume,
}


def record(
    folder: Path,
    source: Path | None = None,
    killed: Path | None = None,
    only: list[str] | None = None,
) -> Path:
    """Run the groups of checks into a new `folder`, and return its results.json.

    `source` is the src folder of the tree to run, else what Python imports as hidiff; `killed` a
    run that another tree began and that was killed.
    """
    began = time.monotonic()
    killed = killed.resolve() if killed else None
    folder = folder.resolve()
    package = use_source(source)
    print(f"hidiff from {package}", flush=True)
    import torch

    torch.set_num_threads(1)
    recorder = Recorder(folder / "work", killed)
    seconds = {}
    for name in only or GROUPS:
        start = time.monotonic()
        GROUPS[name](recorder)
        seconds[name] = round(time.monotonic() - start, 1)
        print(f"{name}: {seconds[name]:.0f} s", flush=True)
    content = {
        "tree": tree_of(package),
        "machine": describe_machine(),
        "seconds": {**seconds, "all": round(time.monotonic() - began, 1)},
        "left out of DICOM SEG": LEFT_OUT,
        "checks": recorder.checks,
    }
    path = folder / "results.json"
    path.write_text(write_json(content))
    return path


def use_source(source: Path | None) -> Path:
    """Import hidiff, from `source` if given, and return the package's folder."""
    if source is not None:
        source = source.resolve()
        # an editable install answers before sys.path is asked
        sys.meta_path[:] = [
            finder for finder in sys.meta_path if "editable" not in type(finder).__module__
        ]
        sys.path.insert(0, str(source))
    spec = importlib.util.find_spec("hidiff")
    if spec is None or spec.origin is None:
        raise SystemExit("hidiff cannot be imported. Install it, or set PYTHONPATH=src.")
    package = Path(spec.origin).resolve().parent
    if source is not None and package.parent != source:
        raise SystemExit(f"hidiff is imported from {package}, but {source} was asked for.")
    return package


def hidiff(*words: object) -> str:
    """Run a command in this process; return what it printed. Raises RuntimeError if it failed."""
    from typer.testing import CliRunner

    from hidiff.cli import app

    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exit_code:
        command = " ".join(map(str, words))
        raise RuntimeError(
            f"hidiff {command}: exit code {result.exit_code}\n{result.output}"
        ) from result.exception
    return result.output


def write_recipe(data: str, arm: str) -> Path:
    """Write the YAML of a tiny run, and return its path."""
    name = f"{data}-{arm}"
    content: dict[str, Any] = {
        "name": name,
        "seed": 0,
        **DATA[data],
        "segmentor": {"options": {"width": 8}},
        "refiner": {"width": 8, "condition": "once" if data == "slices" else "each_step"},
        "diffusion": {"num_steps": 4},
        "training": {
            "batch_size": 2, "stage1_steps": STEPS, "stage2_steps": STEPS, "log_every": 1,
            "save_every": 7, "stage1_rate": 0.01, "segmentor_rate": 0.001,
        },
    }  # fmt: skip
    content["data"] = {**content["data"], "patch_size": [64, 64]}
    for group, change in ARMS[arm].items():
        content[group] = {**content[group], **change}
    if "weights" in content["segmentor"]:
        content["segmentor"]["weights"] = content["segmentor"]["weights"].format(data=data)
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def add_weights(recorder: Recorder, name: str, path: Path) -> None:
    """Keep the tensors of a safetensors file: names and shapes, bits, and norms by part."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    shapes = [[key, tensors[key].shape, str(tensors[key].dtype)] for key in sorted(tensors)]
    squares: dict[str, float] = {}
    for key, tensor in tensors.items():
        part = ".".join(key.split(".")[:2])
        square = float((tensor.astype(np.float64) ** 2).sum())
        squares[part] = squares.get(part, 0.0) + square
    recorder.add(
        name,
        exact={"tensors": len(tensors), "names and shapes": hash_of(json.dumps(shapes).encode())},
        numbers={part: squares[part] ** 0.5 for part in sorted(squares)},
    )
    recorder.checks[name]["bits"] = tensor_hash(path)


def tensor_hash(path: Path) -> str:
    """Return a hash of all tensors of a file, without its metadata."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return hash_of(b"".join(key.encode() + tensors[key].tobytes() for key in sorted(tensors)))


def add_file(recorder: Recorder, name: str, path: Path) -> None:
    """Keep a written file: its bytes, and what its reader finds in it."""
    content = path.read_bytes()
    if path.suffix == ".dcm":
        add_dicom(recorder, name, path)
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            for key in arrays:
                recorder.add_array(f"{name}/{key}", arrays[key])
        recorder.add(f"{name}/bytes", bits=content)
    elif path.name.endswith(".nii.gz"):
        import nibabel as nib

        image: Any = nib.load(path)
        head = {key: plain(image.header[key].tolist()) for key in image.header}
        # the scale of soft maps is a number of their values
        numbers = {key: head.pop(key) for key in ("scl_slope", "scl_inter")}
        values = np.moveaxis(np.asarray(image.dataobj, dtype=np.float64), -1, 0)
        numbers = {k: v for k, v in numbers.items() if v == v} | sketch(values)
        recorder.add(name, exact=head, bits=content, numbers=numbers)
    else:
        from PIL import Image, ImageSequence

        with Image.open(path) as image:
            pages = [np.asarray(page, dtype=np.float64) for page in ImageSequence.Iterator(image)]
            exact = {"format": image.format, "mode": image.mode, "pages": len(pages)}
        recorder.add(name, exact=exact, bits=content, numbers=sketch(np.stack(pages)))


def add_dicom(recorder: Recorder, name: str, path: Path) -> None:
    """Keep a DICOM file: every element but LEFT_OUT, and the pixels."""
    import pydicom

    dataset = pydicom.dcmread(path)
    elements: dict[str, str] = {}

    def walk(inner: Any, above: str) -> None:
        for element in inner:
            key = f"{above}{element.keyword or element.tag}"
            if element.VR == "SQ":
                for number, item in enumerate(element.value):
                    walk(item, f"{key}[{number}].")
            elif element.keyword not in LEFT_OUT or "Referenced" in above:
                long = isinstance(element.value, bytes)
                elements[key] = hash_of(element.value) if long else str(element.value)

    walk(dataset, "")
    pixels = dataset.pixel_array
    recorder.add(f"{name}/pixels", bits=pixels.tobytes(), numbers=sketch(pixels))
    elements.pop("PixelData")
    # which slices hold a segment, and so how many frames there are, is a result
    frames = {key for key in elements if "FrameGroupsSequence" in key or key == "NumberOfFrames"}
    text = json.dumps({key: elements[key] for key in sorted(frames)}).encode()
    recorder.add(f"{name}/frames", bits=text, numbers={"frames": len(pixels)})
    recorder.add(f"{name}/elements", exact={k: v for k, v in elements.items() if k not in frames})


def add_table(recorder: Recorder, name: str, path: Path) -> None:
    """Keep a CSV or JSON file: its bytes, its words, and its numbers."""
    text = path.read_text()
    if path.suffix == ".json":
        cells = flatten(json.loads(text))
    else:
        lines = [line.split(",") for line in text.splitlines()]
        cells = {
            f"{y}.{lines[0][x]}": v for y, line in enumerate(lines) for x, v in enumerate(line)
        }
    split_cells(recorder, name, cells, text.encode())


def add_rows(recorder: Recorder, name: str, rows: list[dict[str, Any]]) -> None:
    """Keep rows of words and numbers."""
    cells = {
        f"{number}.{key}": value for number, row in enumerate(rows) for key, value in row.items()
    }
    split_cells(recorder, name, cells, json.dumps(rows).encode())


def split_cells(recorder: Recorder, name: str, cells: dict[str, Any], content: bytes) -> None:
    """Keep cells: words as they are, and numbers as numbers."""
    numbers = {key: float(cell) for key, cell in cells.items() if is_number(cell)}
    words = {key: str(cell) for key, cell in cells.items() if key not in numbers}
    layout = hash_of(json.dumps([sorted(numbers), words], sort_keys=True).encode())
    recorder.add(
        name, exact={"cells": len(cells), "words and places": layout}, bits=content, numbers=numbers
    )


def sketch(array: np.ndarray) -> dict[str, float]:
    """Return mean and deviation, and the means of 4 x 4 fields over the last two axes."""
    values = array.astype(np.float64)
    numbers = {"mean": float(values.mean()), "deviation": float(values.std())}
    if values.ndim < 2 or min(values.shape[-2:]) < 8:
        return numbers
    for y, rows in enumerate(np.array_split(values, 4, axis=-2)):
        for x, field in enumerate(np.array_split(rows, 4, axis=-1)):
            numbers[f"field {y} {x}"] = float(field.mean())
    return numbers


def progress_of(path: Path) -> tuple[str, int]:
    """Return the stage and step that a state file stands at."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        progress = json.loads(file.metadata()["progress"])
    return progress["stage"], progress["step"]


def describe_machine() -> dict[str, Any]:
    """Return everything that the bits of floating-point results depend on."""
    import torch

    facts = {"name": platform.processor() or platform.machine(), "family": "", "model": ""}
    features: list[str] = []
    if Path("/proc/cpuinfo").exists():
        lines = dict(
            re.split(r"\s*:\s*", line, maxsplit=1)
            for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
            if ":" in line
        )
        facts = {
            "name": lines.get("model name", facts["name"]),
            "family": lines.get("cpu family", ""),
            "model": lines.get("model", ""),
        }
        wide = ("avx", "amx", "fma", "asimd", "sve", "bf16", "i8mm")
        words = (lines.get("flags") or lines.get("Features") or "").split()
        features = sorted(word for word in words if word.startswith(wide))
    kernels = re.search(r"^kernels\s+(\S+)", hidiff("info"), re.MULTILINE)
    return {
        "processor": facts,
        "features": " ".join(features),
        "torch uses": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "kernel": kernels[1] if kernels else "unknown",
    }


def tree_of(package: Path) -> dict[str, str]:
    """Return the version, and the commit if the package lies in a git checkout."""
    git = ["git", "-C", str(package)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    status = subprocess.run(
        [*git, "status", "--porcelain", "--", "."], capture_output=True, text=True
    )
    changed = ", with changes" if status.stdout.strip() else ""
    version = importlib.import_module("hidiff").__version__
    return {"version": version, "commit": (commit.stdout.strip() or "unknown") + changed}


def flatten(values: Any, above: str = "") -> dict[str, Any]:
    """Return nested values by dotted names."""
    if isinstance(values, dict) and values:
        pairs = values.items()
    elif isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
        pairs = ((str(number), value) for number, value in enumerate(values))
    else:
        return {above: values}
    flat: dict[str, Any] = {}
    for name, value in pairs:
        flat |= flatten(value, f"{above}.{name}" if above else str(name))
    return flat


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, Path) else type(value).__name__


def is_number(cell: Any) -> bool:
    """Return whether a cell is a finite number, written out or not."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return False
    try:
        return abs(float(cell)) < float("inf")
    except ValueError:
        return False


def hash_of(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def write_json(content: dict[str, Any]) -> str:
    """Return JSON with a line a check, so that git shows which one changed."""
    text = io.StringIO()
    text.write("{\n")
    for key, value in content.items():
        if key != "checks":
            text.write(f"{json.dumps(key)}: {json.dumps(value)},\n")
    lines = [
        f"{json.dumps(name)}: {json.dumps(check)}" for name, check in content["checks"].items()
    ]
    text.write('"checks": {\n' + ",\n".join(lines) + "\n}\n}\n")
    return text.getvalue()
