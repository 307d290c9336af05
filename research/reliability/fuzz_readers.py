"""Can any bytes make a reader do other than read, or refuse in words?

    pip install atheris 'hidiff[dicom,formats]'        # atheris is no requirement of HiDiff
    python research/reliability/fuzz_readers.py [--seconds 3600] [--corpus FOLDER]

Atheris (libFuzzer) changes small files of every format, guided by the branches they reach in our
readers and in the Python code of the libraries beneath them. The first byte chooses the reader. An
error other than the reader's own (DataError for images, volumes and lists, ValueError for
checkpoints, RecipeError for recipes), one that does not name the file, a crash, 30 s of the
processor and 2 GiB of memory are findings: the first file of each kind is kept below
FOLDER/findings, and the work goes on. `--seconds` are those of the processor, so that a crowded
machine fuzzes longer by the clock, not less; the result has both, and the seconds inside each
reader. What is left of the processor's seconds is the fuzzer's own work and its start.
"""

import argparse
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

WORK = "HIDIFF_FUZZ_FOLDER"  # set for the process that libFuzzer works in
# libFuzzer's timeout is by the clock, and on a crowded machine many a file takes long by that.
LIMITS = ("-timeout=600", "-rss_limit_mb=3500", "-malloc_limit_mb=2048", "-max_len=4096")
MOST_SECONDS = 30
LEAST_SECONDS = 120  # of one start of libFuzzer, by the clock: its start alone takes 20
# In place of the readers' own limits: 80 million pixels, and this machine's memory, take seconds to
# clear.
MOST_PIXELS = 2**18
MOST_BYTES = 2**24
PICTURES = (".png", ".jpg", ".tif", ".gif", ".bmp", ".npy", ".npz")
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".mha", ".mhd", ".npy", ".npz", ".h5")
COUNTED = "readers.json"  # in FOLDER
RESULT = "result.json"
LIBRARIES = ["PIL", "yaml", "safetensors", "nibabel", "nrrd", "pydicom", "h5py"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--corpus", type=Path, help="kept, and gone on with if it is there")
    args = parser.parse_args()
    folder = args.corpus or Path(tempfile.mkdtemp(prefix="fuzz-"))
    (folder / "findings").mkdir(parents=True, exist_ok=True)
    started, runs, ended_by = time.monotonic(), 0, []
    # libFuzzer counts by the clock. One thread gets at most a second of the processor in a second.
    while (left := args.seconds - processor_seconds()) > 0:
        left = max(left, LEAST_SECONDS)
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
        "processor_seconds": processor_seconds(),
        "runs": runs,
        "readers": json.loads((folder / COUNTED).read_text()),
        "kept_files": len(list((folder / "files").iterdir())),
        "errors_of_another_kind": sorted(
            file.read_text().splitlines()[-1] for file in (folder / "findings").glob("*.txt")
        ),
        "crashes_hangs_and_memory": len(ended_by),
    }
    sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
    from research.timing import machine, write

    write({**add_up(folder, result), **machine()}, __file__, "fuzz")


def add_up(folder: Path, result: dict) -> dict:
    """Return a result with the time and files of all runs on this folder, and keep it there."""
    file = folder / RESULT
    before = json.loads(file.read_text()) if file.is_file() else {}
    for name in ("seconds", "processor_seconds", "runs", "crashes_hangs_and_memory"):
        result[name] += before.get(name, 0)
    file.write_text(json.dumps(result))
    return result


def processor_seconds() -> int:
    """Return the processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(used.ru_utime + used.ru_stime)


class Reader(NamedTuple):
    """One reader: how its files are written, the function that reads them, and its own errors."""

    file: str
    error: type[Exception]
    reads: list[Callable[[Path], object]]
    named: str = ""
    """in an error, in place of the file"""


def fuzz(folder: Path) -> None:
    """Let libFuzzer work on every reader, by the words of the command line."""
    import atheris

    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    with atheris.instrument_imports(include=LIBRARIES):
        import_libraries()
    import accelerate  # noqa: F401  large, and nothing of it reads files
    import monai.data  # noqa: F401

    with atheris.instrument_imports(include=["hidiff"]):
        readers = make_readers(place)

    warnings.simplefilter("ignore")
    counted = Tally(folder / COUNTED)
    seen: set[str] = set()

    def read_one(content: bytes) -> None:
        if not content:
            return
        name = list(readers)[content[0] % len(readers)]
        reader = readers[name]
        path = place / name / reader.file
        path.write_bytes(content[1:])
        started = time.process_time()
        for read in reader.reads:
            try:
                read(path)
            except reader.error as error:
                if (reader.named or path.name) not in str(error):
                    keep_error(folder, seen, content, error)
            except Exception as error:  # what is looked for
                keep_error(folder, seen, content, error)
        seconds = time.process_time() - started
        counted.add(name, seconds)
        if seconds > MOST_SECONDS:
            kind = f"hang {name}"
            keep(folder, seen, content, f"{kind}: {seconds:.0f} s of the processor", kind)

    corpus = Path(sys.argv[1])
    if not corpus.is_dir():
        from small_files import good_files

        corpus.mkdir(parents=True)
        for number, (name, content) in enumerate(good_files()):
            first = bytes([list(readers).index(name)])
            (corpus / f"good-{number:03}").write_bytes(first + content)
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()


class Tally:
    """Files and seconds of every reader, written now and then, as libFuzzer ends without a word."""

    EVERY = 500

    def __init__(self, file: Path) -> None:
        self.file = file
        before = json.loads(file.read_text()) if file.is_file() else {}
        self.files = Counter({name: each["files"] for name, each in before.items()})
        self.seconds = Counter({name: each["processor_seconds"] for name, each in before.items()})
        self._write()

    def add(self, name: str, seconds: float) -> None:
        self.files[name] += 1
        self.seconds[name] += seconds
        if self.files.total() % self.EVERY == 0:
            self._write()

    def _write(self) -> None:
        content = {
            each: {"files": count, "processor_seconds": round(self.seconds[each], 1)}
            for each, count in sorted(self.files.items())
        }
        self.file.write_text(json.dumps(content))


def keep_error(folder: Path, seen: set[str], content: bytes, error: Exception) -> None:
    """The first file that leads to an error of its kind at its place, and what was said."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    kind = f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}"
    text = "".join(traceback.format_exception(error))
    keep(folder, seen, content, f"{text}\n{kind}: {str(error)[:200]!r}", kind)


def keep(folder: Path, seen: set[str], content: bytes, text: str, kind: str) -> None:
    """A finding, the first of its kind."""
    if kind not in seen:
        seen.add(kind)
        path = folder / "findings" / f"0-{re.sub('[^A-Za-z0-9]+', '-', kind)}"
        path.write_bytes(content)
        path.with_suffix(".txt").write_text(text + "\n")


def import_libraries() -> None:
    """Those whose branches are counted, before any other library imports them."""
    import h5py  # noqa: F401
    import nibabel  # noqa: F401
    import nrrd  # noqa: F401
    import PIL.Image
    import pydicom.pixels  # noqa: F401
    import safetensors  # noqa: F401
    import yaml  # noqa: F401

    PIL.Image.init()  # its formats


def make_readers(place: Path) -> dict[str, Reader]:
    """Every reader by its name. Its folder in `place` gets all that it needs beside the file."""
    import psutil
    from PIL import Image
    from small_files import VOXELS, ExplicitVRLittleEndian, dicom

    from hidiff import experiment, plan, weights
    from hidiff.datasets import Case
    from hidiff.datasets.sets.msd import list_msd
    from hidiff.datasets.sets.nnunet import list_nnunet, read_dataset
    from hidiff.datasets.splits import read_lists
    from hidiff.images import (
        DataError,
        find_format,
        read_field_of_view,
        read_geometry,
        read_image,
        read_mask,
    )
    from hidiff.images import pictures as reading
    from hidiff.images.grid import PLANES
    from hidiff.images.picture_masks import read_picture_mask
    from hidiff.images.pictures import read_planes, read_size
    from hidiff.recipe import RecipeError, read_recipe
    from hidiff.training.state import read_progress

    reading.MOST_PIXELS = Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    psutil.virtual_memory = lambda: SimpleNamespace(total=MOST_BYTES)
    cases = [Case(name, name, name, None, name) for name in ("a", "b")]
    images = [
        lambda path: read_image(path, 3),
        lambda path: read_image(path, 1),
        read_planes,
        read_size,
        read_picture_mask,
        lambda path: read_field_of_view(path, read_geometry(path), path),
    ]
    volumes = [
        find_format,
        lambda path: read_image(path, None),
        lambda path: read_mask(path, read_geometry(path), path),
        lambda path: [read_geometry(path, plane).spacing_mm for plane in PLANES],
    ]
    datasets = [
        lambda path: plan.recognise(path.parent),
        lambda path: read_dataset(path.parent),
        lambda path: list_nnunet(path.parent, "Tr"),
        lambda path: list_msd(path.parent),
    ]
    series = [lambda path, read=read: read(path.parent) for read in volumes]
    checkpoints = [weights.load, experiment.open_model, read_progress]
    readers = {
        **{f"image{end}": Reader(f"image{end}", DataError, images) for end in PICTURES},
        **{f"volume{end}": Reader(f"volume{end}", DataError, volumes) for end in VOLUMES},
        "slice.dcm": Reader("slice.dcm", DataError, volumes),
        "series.dcm": Reader("slice.dcm", DataError, series, named="series.dcm"),
        "model.safetensors": Reader("model.safetensors", ValueError, checkpoints),
        "weights.pt": Reader("weights.pt", ValueError, [weights.load_foreign]),
        "recipe.yaml": Reader("recipe.yaml", RecipeError, [read_recipe]),
        "train.txt": Reader("train.txt", DataError, [lambda path: read_lists(path.parent, cases)]),
        "dataset.json": Reader("dataset.json", DataError, datasets, named="/dataset.json/"),
        "names.txt": Reader("names.txt", DataError, [read_names]),
    }
    for name in readers:
        (place / name).mkdir()
    (place / "volume.mhd" / "data.raw").write_bytes(VOXELS.tobytes())
    (place / "series.dcm" / "first.dcm").write_bytes(dicom(0, ExplicitVRLittleEndian))
    for file in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (place / "dataset.json" / file).parent.mkdir()
        (place / "dataset.json" / file).touch()
    return readers


def read_names(path: Path) -> None:
    """Take the lines of a file for names of images and masks, as those of a folder."""
    from hidiff.datasets.channels import join_channels
    from hidiff.datasets.patients import BY_WORD, pattern_for, propose_patients
    from hidiff.images import name_images

    names = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = [name for name in names if name.strip("/.") and "\0" not in name]
    # longer ones cannot be files
    files = [path.parent / name for name in names if len(name.encode()) < 255]
    stems = [file.stem for file in files]
    for channels in (1, 2, 3):
        cases = name_images(list(dict.fromkeys(files)), channels)
        assert len(cases) <= len(files)
    join_channels(dict(zip(stems, files, strict=True)), dict.fromkeys(stems[::2]))
    propose_patients(stems)
    pattern_for(stems, BY_WORD)


if __name__ == "__main__":
    if WORK in os.environ:
        fuzz(Path(os.environ[WORK]))
    else:
        main()
