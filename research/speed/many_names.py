"""Is start-up linear in the number of files, whatever they are called?

    python research/speed/many_names.py [--files 20000]

Empty files of every kind of name lie in a folder, a quarter as many in another. What `hidiff
predict` does with them before its first image, and `hidiff refine` with the priors, is timed: the
processor's time, without imports. Each file opens nothing, so the time is that of its name.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hidiff.cli.inputs import find_inputs
from hidiff.datasets.find import find_images
from hidiff.images import find_prior

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write


def predict(folder: Path, count: int) -> None:
    assert len(find_inputs([folder])) == count


def train(folder: Path, count: int) -> None:
    assert len(find_images(folder)) == count


def refine(folder: Path, count: int) -> None:
    for number in range(count):
        find_prior(folder, f"case{number}", "probability")


# what is timed -> the pattern of the names, and the function
KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "predict pictures": ("case{}.png", predict),
    "predict volumes": ("case{}.nii.gz", predict),
    "predict volumes with nnU-Net's number": ("case{}_0000.nii.gz", predict),
    "predict frames of a film": ("frame_{:05d}.png", predict),
    "list pictures to train on": ("case{}.png", train),
    "list volumes to train on": ("case{}.nii.gz", train),
    "find priors": ("case{}.npz", refine),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    args = parser.parse_args()
    seconds = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (pattern, function) in KINDS.items():
            counts = (3, args.files // 4, args.files)  # three files, so that all is imported
            _, few, many = (measure(Path(scratch), pattern, function, count) for count in counts)
            seconds[name] = {
                "seconds": round(many, 2),
                "ms_per_file": round(1e3 * many / args.files, 4),
                "times_a_quarter": round(many / few, 1),
            }
    result = {
        "question": "is start-up linear in the number of files?",
        "files": args.files,
        "linear": "times_a_quarter is 4; 16 would be quadratic",
        "processor_time": seconds,
    }
    write({**result, **machine()}, __file__, "many_names")


def measure(
    scratch: Path, pattern: str, function: Callable[[Path, int], None], count: int
) -> float:
    """Return the processor's seconds for a new folder of `count` files."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for number in range(count):
            (Path(folder) / pattern.format(number)).touch()
        begun = time.process_time()
        function(Path(folder), count)
        return time.process_time() - begun


if __name__ == "__main__":
    main()
