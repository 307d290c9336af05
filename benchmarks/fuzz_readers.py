"""Can any bytes make a reader do other than read, or refuse in words?

    pip install atheris        # not a requirement of HiDiff
    python benchmarks/fuzz_readers.py [--seconds 3600] [--corpus FOLDER]

Atheris (libFuzzer) changes small files of every format, guided by the branches they reach in our
readers and in the Python code of Pillow, numpy, PyYAML and safetensors. The first byte chooses the
reader. An error other than the reader's own (DataError for images and lists, ValueError for
checkpoints, RecipeError for recipes), one that does not name the file, a crash, a hang of 30 s and
2 GiB of memory are findings: the first file of each kind is kept below FOLDER/findings, and the
work goes on.
"""

import argparse
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

WORK = "HIDIFF_FUZZ_FOLDER"  # set for the process that libFuzzer works in
LIMITS = ("-timeout=30", "-rss_limit_mb=3500", "-malloc_limit_mb=2048", "-max_len=4096")
MOST_PIXELS = 2**18  # in place of the reader's own limit: 80 million pixels take seconds to clear


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--corpus", type=Path, help="kept, and gone on with if it is there")
    args = parser.parse_args()
    folder = args.corpus or Path(tempfile.mkdtemp(prefix="fuzz-"))
    (folder / "findings").mkdir(parents=True, exist_ok=True)
    started, runs, ended_by = time.monotonic(), 0, []
    while (left := args.seconds - int(time.monotonic() - started)) > 0:
        words = [sys.executable, __file__, str(folder / "files"), f"-max_total_time={left}"]
        words += [*LIMITS, f"-artifact_prefix={folder / 'findings'}/", "-print_final_stats=1"]
        done = subprocess.run(
            words,
            env={**os.environ, WORK: str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        runs += sum(int(n) for n in re.findall(r"number_of_executed_units: (\d+)", done.stderr))
        if done.returncode:  # it crashed, hung or took too much: a finding, and on with the rest
            ended_by.append(done.stderr[-2000:])
            print(done.stderr[-2000:], file=sys.stderr, flush=True)
            if not list((folder / "findings").glob("[!0-9]*")):
                raise SystemExit("the fuzzer does not start")
    result = {
        "question": "bytes that make a reader do other than read, or refuse in words",
        "seconds": round(time.monotonic() - started),
        "processor_seconds": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime),
        "runs": runs,
        "kept_files": len(list((folder / "files").iterdir())),
        "errors_of_another_kind": sorted(
            file.read_text().splitlines()[-1] for file in (folder / "findings").glob("*.txt")
        ),
        "crashes_hangs_and_memory": len(ended_by),
    }
    from timing import machine, write

    write({**result, **machine()}, "fuzz")


def fuzz(folder: Path) -> None:
    """Let libFuzzer work on every reader, by the words of the command line."""
    import atheris

    with atheris.instrument_imports(include=["PIL", "numpy.lib", "yaml", "safetensors", "hidiff"]):
        readers = make_readers()

    warnings.simplefilter("ignore")
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    seen: set[str] = set()

    def read_one(content: bytes) -> None:
        if not content:
            return
        suffix, wanted, reads = readers[content[0] % len(readers)]
        path = place / f"train{suffix}"
        path.write_bytes(content[1:])
        for read in reads:
            try:
                read(path)
            except wanted as error:
                if path.name not in str(error):
                    keep(folder, seen, content, error)
            except Exception as error:  # what is looked for
                keep(folder, seen, content, error)

    corpus = Path(sys.argv[1])
    if not corpus.is_dir():
        corpus.mkdir(parents=True)
        for number, content in enumerate(good_files()):
            (corpus / f"good-{number:02}").write_bytes(content)
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()


def keep(folder: Path, seen: set[str], content: bytes, error: Exception) -> None:
    """The first file that leads to an error of its kind at its place, and what was said."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    kind = f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}"
    if kind not in seen:
        seen.add(kind)
        path = folder / "findings" / f"0-{re.sub('[^A-Za-z0-9]+', '-', kind)}"
        path.write_bytes(content)
        text = "".join(traceback.format_exception(error))
        path.with_suffix(".txt").write_text(f"{text}\n{kind}: {str(error)[:200]!r}\n")


Readers = list[tuple[str, type[Exception], list[Callable[[Path], object]]]]


def make_readers() -> Readers:
    """A file's ending, what its readers may raise, and the readers."""
    from PIL import Image

    from hidiff import build, weights
    from hidiff.data import Case, DataError, read_field_of_view, read_image, read_mask
    from hidiff.data import read as reading
    from hidiff.data.read import read_planes, read_size
    from hidiff.data.splits import read_lists
    from hidiff.recipe import RecipeError, read_recipe
    from hidiff.training.state import read_progress

    reading.MOST_PIXELS = Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    cases = [Case(name, name, name, None, name) for name in ("a", "b")]
    images = [
        lambda path: read_image(path, 3),
        lambda path: read_image(path, 1),
        read_planes,
        read_size,
        read_mask,
        read_field_of_view,
    ]
    endings = (".png", ".jpg", ".tif", ".gif", ".bmp", ".npy", ".npz")
    return [
        *((ending, DataError, images) for ending in endings),
        (".safetensors", ValueError, [weights.load, build.open_model, read_progress]),
        (".pt", ValueError, [weights.load_foreign]),
        (".yaml", RecipeError, [read_recipe]),
        (".txt", DataError, [lambda path: read_lists(path.parent, cases)]),
    ]


def good_files() -> list[bytes]:
    """Good small files of each kind, behind the byte that chooses their reader."""
    import numpy as np
    import torch
    import yaml
    from PIL import Image
    from safetensors.torch import save

    from hidiff.recipe import make_recipe

    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    recipe = {"name": "a", "data": {"path": "x"}}
    recipe["labels"] = {"kind": "one_class", "classes": {"a": [1]}}
    found = []

    def add(kind: int, write: Callable[[io.BytesIO], object]) -> None:
        buffer = io.BytesIO()
        write(buffer)
        found.append(bytes([kind]) + buffer.getvalue())

    for kind, format in enumerate(("PNG", "JPEG", "TIFF", "GIF", "BMP")):
        for mode in ("RGB", "L", "1") if format == "JPEG" else ("RGB", "L", "P", "1"):
            image = Image.fromarray(pixels).convert(mode)
            add(kind, lambda to, image=image, format=format: image.save(to, format))
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16))
    add(0, lambda to: deep.save(to, "PNG"))
    add(2, lambda to: deep.save(to, "TIFF", compression="tiff_lzw"))
    for kind, write in ((5, np.save), (6, np.savez), (6, np.savez_compressed)):
        add(kind, lambda to, write=write: write(to, pixels))
        add(kind, lambda to, write=write: write(to, pixels[0] / 2))
    words = {
        "format": "hidiff-1",
        "recipe": make_recipe(recipe).model_dump_json(),
        "progress": json.dumps({"stage": "stage1", "step": 1}),
    }
    add(7, lambda to: to.write(save({"a": torch.zeros(2)}, words)))
    add(7, lambda to: to.write(save({"a": torch.zeros(2)})))
    add(8, lambda to: torch.save({"state_dict": {"a": torch.zeros(2)}}, to))
    add(9, lambda to: to.write(yaml.safe_dump(recipe).encode()))
    add(10, lambda to: to.write(b"# a list\na\n\nb\n"))
    return found


if __name__ == "__main__":
    if WORK in os.environ:
        fuzz(Path(os.environ[WORK]))
    else:
        main()
