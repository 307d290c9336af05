"""How fast, how small and how scalable is the packed refiner, and where does its time go?

    python research/speed/packed.py [--parts step refinement ...] [--rounds 5] [--quick]

Random images and weights: time depends on neither. `step` is one step of the refiner with the work
on the image done before, against the real twin (float32, channels-last) and the 1-bit model in
floats, all in turn; `packed_int8` is packed with its condition blocks computed in int8.
`refinement` is a whole one, segmentor included, by part. Parts run alone add to what
research/speed/results/packed.json holds already. `packed_page.py` makes a page of it.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch

from hidiff import export, packed, weights
from hidiff.diffusion import draws_from
from hidiff.experiment import checkpoint_metadata, load_hybrid, make_hybrid, open_model
from hidiff.hybrid import HybridSegmentor
from hidiff.packed.cross_transformer import PackedAttention, PackedCrossTransformer
from hidiff.packed.int8 import int8_problem
from hidiff.packed.modules import PackedLayer
from hidiff.recipe import Recipe, make_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import in_turn, machine, peak_memory_mib, write

STEPS = list(range(10, 0, -1))
SEGMENTOR_WIDTH = 32
# width, height and width in pixels, batch, condition
STEP_SETTINGS = [
    (128, 256, 1, "each_step"),
    (128, 256, 1, "once"),
    (32, 256, 1, "each_step"),
    (64, 256, 1, "each_step"),
    (128, 512, 1, "each_step"),
    (128, 256, 8, "each_step"),
]
QUICK_SETTINGS = [(16, 64, 1, "each_step"), (16, 64, 2, "once")]
# What the paper's code needs for 10 steps at width 128, 256x256, on two cores like these.
PUBLISHED_SECONDS = (50, 80)


def make(width: int, size: int, condition: str, precision: str = "binary") -> Recipe:
    """A recipe of random 3-channel images."""
    return make_recipe(
        {
            "name": "speed",
            "data": {"path": "unused", "patch_size": [size, size]},
            "labels": {"kind": "one_class", "classes": {"vessel": [255]}},
            "segmentor": {"options": {"width": SEGMENTOR_WIDTH}},
            "refiner": {"width": width, "condition": condition, "precision": precision},
        }
    )


def hybrids(width: int, size: int, condition: str) -> dict[str, HybridSegmentor]:
    """The real twin, the 1-bit model in floats, and packed ones."""
    recipes = {name: make(width, size, condition, name) for name in ("real", "binary")}
    found = {name: make_hybrid(recipe).place("cpu").eval() for name, recipe in recipes.items()}
    found["packed"] = packed_of(found["binary"])
    if int8_problem():
        print(f"packed_int8: left out, {int8_problem()}")
    else:
        found["packed_int8"] = packed_of(found["binary"], "int8")
    return found


def packed_of(hybrid: HybridSegmentor, condition_compute: str = "float32") -> HybridSegmentor:
    refiner = export.pack_refiner(hybrid.refiner, STEPS, condition_compute)
    return HybridSegmentor(hybrid.segmentor, refiner, hybrid.labels, hybrid.settings).place("cpu")


def images(size: int, batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)


def a_step(hybrid: HybridSegmentor, size: int, batch: int) -> Callable[[], object]:
    """One step, ready to be called again and again."""
    refiner, image = hybrid.refiner, images(size, batch)
    t = torch.full((batch,), 5)
    with torch.inference_mode():
        look = hybrid.look(image)
        prepared = refiner.prepare(refiner.see(image, look.features))
    yt = (torch.rand_like(look.prior) < 0.3).float()

    @torch.inference_mode()
    def run() -> object:
        return refiner.denoise(image, yt, look.prior, t, refiner.condition(prepared, t))

    return run


def a_refinement(hybrid: HybridSegmentor, size: int, samples: int) -> Callable[[], None]:
    """A whole refinement of one image, segmentor included."""
    image = images(size, 1)

    @torch.inference_mode()
    def run() -> None:
        look = hybrid.look(image)
        generators = [torch.Generator().manual_seed(i) for i in range(samples)]
        draws = [draws_from(each, look.prior.shape) for each in generators]
        for _ in hybrid.refine(image, look, STEPS, draws):
            pass

    return run


class Stopwatch:
    """Seconds by part of everything that runs inside the block."""

    def __init__(self, hybrid: HybridSegmentor, clock: Callable[[], float] = time.perf_counter):
        self.hybrid, self.clock = hybrid, clock
        self.seconds: dict[str, float] = {}
        self.stack = ExitStack()

    def __enter__(self):
        refiner = self.hybrid.refiner
        for name, owner, method in (
            ("segmentor", self.hybrid, "look"),
            ("image part, once", self.hybrid, "prepare"),
            ("image and t, once a step", refiner, "condition"),
            ("input convolution", refiner, "_read_in"),
            ("output", refiner, "_read_out"),
            ("1-bit blocks", PackedLayer, "forward"),
            ("cross transformer", PackedCrossTransformer, "forward"),
            ("of which attention", PackedAttention, "forward"),
        ):
            real = getattr(owner, method)
            self.stack.enter_context(patch.object(owner, method, self.timed(name, real)))
        return self

    def __exit__(self, *_):
        self.stack.close()

    def timed(self, name: str, real: Callable) -> Callable:
        def run(*args, **keywords):
            start = self.clock()
            try:
                return real(*args, **keywords)
            finally:
                spent = self.clock() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        return run


def measure_steps(args: argparse.Namespace) -> list[dict[str, object]]:
    rows = []
    for width, size, batch, condition in QUICK_SETTINGS if args.quick else STEP_SETTINGS:
        things = {
            name: a_step(hybrid, size, batch)
            for name, hybrid in hybrids(width, size, condition).items()
        }
        seconds = in_turn(things, args.rounds)
        rows.append(
            {
                "width": width,
                "size": size,
                "batch": batch,
                "condition": condition,
                "seconds": seconds,
                "times_faster_than_real": seconds["real"] / seconds["packed"],
                "times_faster_than_1_bit_in_floats": seconds["binary"] / seconds["packed"],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure_refinements(args: argparse.Namespace) -> list[dict[str, object]]:
    width, size = (16, 64) if args.quick else (128, 256)
    rows = []
    for condition in ("each_step", "once"):
        found = hybrids(width, size, condition)
        for samples in (1, 8):
            # the float models once each, beside one sample only: they take minutes
            names = [name for name in found if samples == 1 or name.startswith("packed")]
            things = {name: a_refinement(found[name], size, samples) for name in names}
            rounds = {name: args.rounds if name.startswith("packed") else 1 for name in names}
            seconds = {name: in_turn({name: things[name]}, rounds[name])[name] for name in names}
            with Stopwatch(found["packed"]) as watch:
                start = time.perf_counter()
                things["packed"]()
                whole = time.perf_counter() - start
            parts = watch.seconds
            rest = whole - sum(v for name, v in parts.items() if not name.startswith("of which"))
            rows.append(
                {
                    "width": width,
                    "size": size,
                    "condition": condition,
                    "samples": samples,
                    "steps": len(STEPS),
                    "seconds": seconds,
                    "seconds_by_part": {**parts, "rest": rest},
                    "published_seconds": None if args.quick else PUBLISHED_SECONDS,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def measure_sizes(args: argparse.Namespace) -> dict[str, object]:
    """MiB of the refiner's file, and of the whole model's."""
    width = 16 if args.quick else 128
    recipe = make(width, 64, "each_step")
    hybrid = make_hybrid(recipe).eval()
    refiner = export.pack_refiner(hybrid.refiner, STEPS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"

        def mib() -> float:
            return round(file.stat().st_size / 2**20, 3)

        weights.save(file, hybrid.refiner.state_dict(), {})
        sizes = {"float32_checkpoint": mib()}
        for storage in export.STORAGES:
            nothing = torch.nn.Identity()
            export.save_packed(file, nothing, refiner, checkpoint_metadata(recipe), storage)
            sizes[f"packed_{storage}"] = mib()
    whole = sizes["float32_checkpoint"]
    times = {name: whole / each for name, each in sizes.items()}
    return {"width": width, "refiner_mib": sizes, "times_smaller": times}


def peak_of(name: str, width: int, size: int, threads: int, queue) -> None:
    """In a process of its own: how much memory a model and a refinement add at most."""
    torch.set_num_threads(threads)
    recipe = make(width, size, "each_step", "real" if name == "real" else "binary")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "packed.safetensors"
        if name == "packed":  # made in yet another process, so that the float model never counts
            run_apart(write_packed, file, width, size)
        before = peak_memory_mib()
        hybrid = load_hybrid(open_model(file)) if name == "packed" else make_hybrid(recipe)
        a_refinement(hybrid.place("cpu").eval(), size, 1)()
    queue.put(peak_memory_mib() - before)


def write_packed(file: Path, width: int, size: int) -> None:
    recipe = make(width, size, "each_step")
    hybrid = make_hybrid(recipe).eval()
    refiner = export.pack_refiner(hybrid.refiner, STEPS)
    export.save_packed(file, hybrid.segmentor, refiner, checkpoint_metadata(recipe))


def run_apart(function: Callable, *args) -> None:
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    process.join()


def measure_memory(args: argparse.Namespace) -> dict[str, object]:
    width, size = (16, 64) if args.quick else (128, 256)
    context = multiprocessing.get_context("spawn")
    found = {}
    for name in ("real", "binary", "packed"):
        queue = context.Queue()
        run_apart(peak_of, name, width, size, torch.get_num_threads(), queue)
        found[name] = round(queue.get())
    return {"width": width, "size": size, "refinement_peak_mib": found}


def measure_scaling(args: argparse.Namespace) -> dict[str, object]:
    """Seconds of a packed step (or refinement, for samples) against one size at a time."""
    width, size = (16, 64) if args.quick else (128, 256)
    widths = (8, 16) if args.quick else (16, 32, 64, 96, 128)
    sides = (64, 128) if args.quick else (64, 128, 256, 512, 1024)
    most = torch.get_num_threads()

    def step_seconds(width: int, size: int) -> float:
        run = a_step(packed_of(make_hybrid(make(width, size, "each_step")).eval()), size, 1)
        return in_turn({"step": run}, args.rounds)["step"]

    result: dict[str, dict[str, float]] = {}
    result["pixels"] = {str(side**2): step_seconds(width, side) for side in sides}
    result["width"] = {str(each): step_seconds(each, size) for each in widths}
    hybrid = packed_of(make_hybrid(make(width, size, "each_step")).eval())
    samples = {str(n): a_refinement(hybrid, size, n) for n in (1, 2, 4, 8)}
    result["samples"] = in_turn(samples, max(1, args.rounds // 2))
    result["threads"] = {}
    for count in range(1, most + 1):
        torch.set_num_threads(count)
        result["threads"][str(count)] = step_seconds(width, size)
    return {"width": width, "size": size, "seconds": result}


PARTS = {
    "step": measure_steps,
    "refinement": measure_refinements,
    "size": measure_sizes,
    "memory": measure_memory,
    "scaling": measure_scaling,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is kept")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    file = Path(__file__).parent / "results" / "packed.json"
    result = json.loads(file.read_text()) if file.is_file() and not args.quick else {}
    for part in args.parts:
        facts = {"machine": machine(), "kernel": packed.kernel_info()["kernel"]}
        result[part] = {**facts, "measured": PARTS[part](args)}
        torch.set_num_threads(args.threads)
    if args.quick:
        print(json.dumps(result, indent=2))
    else:
        write(result, __file__, "packed")


if __name__ == "__main__":
    main()
