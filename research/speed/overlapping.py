"""Compare predicting one image after the other with reading and writing at the same time.

    python research/speed/overlapping.py [--images 16] [--rounds 3]

Grey images of 128x128 go through the model `nodules` on one thread, with all files that `hidiff
predict` writes: one after the other, and overlapped, in turn. Once on the local disk; and once as
on a disk across a network, where every image that is opened and every case that is written takes
50 ms longer (a sleep, so emulated). Given are images a second of the medians, and their ratio. A
busy machine blurs both, so there is also the processor time of each stage, and the most that the
ratio can be by it. Then what docs/many.md reckons with: the processor time of one whole prediction,
files included, by the side of the image; and how often an image makes Python ask the file system
for something (audit events: files and folders opened, listed, made, renamed, removed).
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hidiff import experiment
from hidiff.cli import stages
from hidiff.cli.claims import Claims
from hidiff.cli.inputs import find_inputs
from hidiff.cli.stages import Work, predict_images
from hidiff.prediction.endings import NOTHING_MORE

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import in_turn, machine, write

SIDE = 128
MODEL = "nodules"
LATENCY = 0.05  # seconds
OPERATIONS = {
    "open", "os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.listdir"
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = draw_images(Path(scratch, "images"), args.images)
        run = make_runs(folder, Path(scratch, "out"))
        operations = count_operations(run, args.images)
        by_stage = time_stages(folder, Path(scratch, "stages"))
        by_side = {side: time_side(Path(scratch), side) for side in (128, 256)}
        for disk, latency in (("local", 0.0), ("network", LATENCY)):
            ways = {way: lambda way=way, latency=latency: run(way, latency) for way in stages_of}
            found[disk] = {"images_a_second": {}, "processor_ms": {}}
            for unit, clock in (("wall", time.perf_counter), ("cpu", time.process_time)):
                seconds = in_turn(ways, args.rounds if unit == "wall" else 1, clock)
                for way, each in seconds.items():
                    if unit == "wall":
                        found[disk]["images_a_second"][way] = round(args.images / each, 2)
                    else:
                        found[disk]["processor_ms"][way] = round(1e3 * each / args.images, 1)
            speed = found[disk]["images_a_second"]
            found[disk]["ratio"] = round(speed["overlapped"] / speed["serial"], 3)
    write(
        {
            "question": "how much faster is a batch that reads, predicts and writes at once?",
            "images": args.images,
            "side": SIDE,
            "rounds": args.rounds,
            "network_latency_seconds": LATENCY,
            **found,
            "stages_ms_an_image": by_stage,
            "processor_seconds_an_image": by_side,
            "file_operations_an_image": operations,
            **machine(),
        },
        __file__,
        "overlapping",
    )


def time_side(scratch: Path, side: int, count: int = 4) -> float:
    """Return the processor seconds of one image of a side, from reading to writing."""
    folder = draw_images(scratch / f"images{side}", count, side)
    run = make_runs(folder, scratch / f"out{side}")
    return round(
        in_turn({"a": lambda: run("overlapped", 0.0)}, 1, time.process_time)["a"] / count, 4
    )


def time_stages(folder: Path, output: Path) -> dict[str, float]:
    """Return the processor's milliseconds of each stage of an image, and the bound of the ratio.

    The bound holds where a second processor is free: the sum of all stages over the longest.
    """
    kind, spent = stages._ImageStages, Counter[str]()
    own = {name: getattr(kind, name) for name in ("read", "predict", "write")}

    def timed(name: str):
        def run(*args):
            start = time.thread_time()
            try:
                return own[name](*args)
            finally:
                spent[name] += time.thread_time() - start

        return run

    run = make_runs(folder, output)
    run("serial", 0.0)
    try:
        for name in own:
            setattr(kind, name, timed(name))
        run("serial", 0.0)
    finally:
        for name, function in own.items():
            setattr(kind, name, function)
    count = len(list(folder.iterdir()))
    each = {name: round(1e3 * seconds / count, 2) for name, seconds in spent.items()}
    return {**each, "bound_of_ratio": round(sum(spent.values()) / max(spent.values()), 3)}


def count_operations(run, count: int) -> dict[str, float]:
    """Count the file operations of an image, after a first run that imports everything."""
    run("overlapped", 0.0)
    counted: Counter[str] = Counter()
    counting = [True]

    def hear(event: str, arguments: tuple) -> None:
        if counting and event in OPERATIONS:
            counted[event.removeprefix("os.")] += 1

    sys.addaudithook(hear)  # for ever, as Python has it
    run("overlapped", 0.0)
    counting.clear()
    each = {event: round(number / count, 2) for event, number in counted.items()}
    return {**each, "all": round(sum(counted.values()) / count, 1)}


def serial(items, of, most_bytes) -> None:
    """Take every item through its stages, one after the other."""
    for item in items:
        read = of.read(item)
        of.write(item, of.predict(item, read))
        of.end(item, None)


stages_of = {"serial": serial, "overlapped": stages.overlap}


def make_runs(folder: Path, output: Path):
    """Return what predicts all images in one of the ways, on a disk of some latency."""
    predictor = experiment.load_predictor(MODEL)
    images = find_inputs([folder], 1)
    formats = {image.stem: ("png",) for image in images}
    work = Work(output, formats, NOTHING_MORE, True, 1, "", {})

    def run(way: str, latency: float) -> None:
        done = []
        with patched(latency), Claims(output) as claims:
            stages.overlap = stages_of[way]
            predict_images(predictor, images, work, claims, done.append)
        assert [outcome.fate for outcome in done] == ["done"] * len(images)

    return run


@contextmanager
def patched(latency: float) -> Iterator[None]:
    """Let reading and writing of a case take longer, and mend both afterwards."""
    kind = stages._ImageStages
    own = kind.read, kind.write, stages.overlap

    def slowly(function):
        def slow(*args):
            time.sleep(latency)
            return function(*args)

        return slow

    if latency:
        kind.read, kind.write = slowly(kind.read), slowly(kind.write)
    try:
        yield
    finally:
        kind.read, kind.write, stages.overlap = own


def draw_images(folder: Path, count: int, side: int = SIDE) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"case{number}.png")
    return folder


if __name__ == "__main__":
    main()
