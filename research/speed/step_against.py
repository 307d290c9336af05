"""Is a packed step faster than that of another checkout, and than its float twin?

    python research/speed/step_against.py OTHER/src [--widths 16 32] [--twins 128] [--avx2]

OTHER is a checkout of an earlier commit, such as 2fce81a, with its kernels compiled. Two programs,
one of each checkout, stay alive and take a step in turn, on one thread; `--avx2` lets kernels,
oneDNN and torch use no more than AVX2. Ratios of processor time are medians over the pairs:

- `times_faster`: the other's step over this one's, at each of `--widths` (target 1.5 against
  commit 2fce81a at widths 16 and 32);
- `times_faster_than_twin`: the float32 twin's over the packed step's, at each of `--twins` (target
  8 at width 128). Both are of this checkout.

256x256 pixels, condition `once`, random weights. Each run adds a row to results/step_against.json,
or replaces the row of the same label.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine

RESULTS = Path(__file__).parent / "results" / "step_against.json"
SIDE = 256
AVX2 = {
    "HIDIFF_KERNEL": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
# Runs in either checkout: takes a step for each line that it reads, and answers with its seconds.
WORKER = """
import sys, time, warnings
warnings.simplefilter("ignore")
import torch
from hidiff import export
from hidiff.recipe import make_recipe
try:
    from hidiff.experiment import make_hybrid
except ImportError:
    from hidiff.build import make_hybrid
precision, width, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
torch.manual_seed(0)
hybrid = make_hybrid(make_recipe({
    "name": "step",
    "data": {"path": "unused", "patch_size": [side, side]},
    "labels": {"kind": "one_class", "classes": {"vessel": [255]}},
    "segmentor": {"options": {"width": 16}},
    "refiner": {"width": width, "condition": "once",
                "precision": "real" if precision == "twin" else "binary"},
})).place("cpu").eval()
refiner = hybrid.refiner
if precision == "packed":
    refiner = export.pack_refiner(refiner, [10]).to(memory_format=torch.channels_last)
image = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)
t = torch.full((1,), 10)
with torch.inference_mode():
    look = hybrid.look(image)
    prepared = refiner.prepare(refiner.see(image, look.features))
    yt = (torch.rand_like(look.prior) < 0.3).float()
    def step():
        return refiner.denoise(image, yt, look.prior, t, refiner.condition(prepared, t))
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        step()
        print(time.process_time() - start, flush=True)
"""


class Worker:
    """A program that takes a step whenever it is asked to."""

    def __init__(self, source: Path, precision: str, width: int, environment: dict[str, str]):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, precision, str(width), str(SIDE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment, "PYTHONPATH": str(source)},
        )
        assert self.process.stdout is not None and self.process.stdin is not None
        self.lines, self.ask = self.process.stdout, self.process.stdin
        if self.lines.readline() != "ready\n":
            raise SystemExit(f"{source}: its step of width {width} did not start; see above")

    def step(self) -> float:
        """Return the processor seconds of one step."""
        self.ask.write("\n")
        self.ask.flush()
        return float(self.lines.readline())

    def close(self) -> None:
        self.ask.close()
        self.process.wait()


def compare(slow: Worker, fast: Worker, pairs: int) -> dict[str, float]:
    """Return the median ratio of two steps in turn, and the least milliseconds of both."""
    times = [(slow.step(), fast.step()) for _ in range(pairs)]
    for worker in (slow, fast):
        worker.close()
    return {
        "ratio": round(statistics.median(one / other for one, other in times), 2),
        "before_ms": round(1e3 * min(one for one, _ in times), 1),
        "after_ms": round(1e3 * min(other for _, other in times), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--widths", nargs="*", type=int, default=[16, 32])
    parser.add_argument("--twins", nargs="*", type=int, default=[128])
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--label")
    args = parser.parse_args()
    environment = AVX2 if args.avx2 else {}
    here = Path(__file__).parents[2] / "src"
    torch.set_num_threads(1)
    row: dict[str, object] = {
        "label": args.label or ("avx2" if args.avx2 else "all instructions"),
        "machine": machine(),
        "times_faster": {},
        "times_faster_than_twin": {},
    }
    for width in args.widths:
        workers = [Worker(source, "packed", width, environment) for source in (args.other, here)]
        row["times_faster"][str(width)] = compare(*workers, args.pairs)
        print(width, row["times_faster"][str(width)], flush=True)
    for width in args.twins:
        workers = [Worker(here, kind, width, environment) for kind in ("twin", "packed")]
        row["times_faster_than_twin"][str(width)] = compare(*workers, max(args.pairs // 3, 3))
        print("twin", width, row["times_faster_than_twin"][str(width)], flush=True)
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    rows = [other for other in rows if other["label"] != row["label"]]
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
