"""What does one training iteration cost, 1-bit against its real twin, and a 10-step refinement?

    python research/speed/training_step.py [--width 32] [--size 128] [--batch 4] [--rounds 5]

Seconds are medians of runs in turn in one process; memory is each variant's own process's peak,
less that of the imports. One iteration in turns: segmentor forward, refiner step, segmentor step,
optimizers and EMA.
"""

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path

import torch
from accelerate import Accelerator

from hidiff.diffusion import draws_from
from hidiff.experiment import make_hybrid
from hidiff.recipe import Recipe, make_recipe
from hidiff.training import Batch, Trainer, count_flops
from hidiff.training.stages import IN_TURNS

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import in_turn, machine, peak_memory_mib, write

# The published code, one iteration at width 32, 128x128, batch 4, on two cores like these.
PUBLISHED_SECONDS = 7.0
PUBLISHED_SETTING = {"width": 32, "size": 128, "batch": 4}


def make(precision: str, args: argparse.Namespace) -> Recipe:
    """A recipe of random 3-channel images."""
    return make_recipe(
        {
            "name": "speed",
            "data": {"path": "unused", "patch_size": [args.size, args.size]},
            "labels": {"kind": "one_class", "classes": {"vessel": [255]}},
            "segmentor": {"options": {"width": args.segmentor_width}},
            "refiner": {"width": args.width, "precision": precision},
            "training": {"batch_size": args.batch},
        }
    )


def iteration(recipe: Recipe, folder: Path):
    """One iteration in turns, ready to be called again and again; and its training FLOPs."""
    size, count = recipe.data.patch_size, recipe.training.batch_size
    layout = torch.channels_last
    image = torch.randn(count, 3, *size).contiguous(memory_format=layout)
    y0 = (torch.rand(count, 1, *size) < 0.1).float()
    batch = Batch(["random"] * count, image, y0, torch.ones(count, 1, *size))
    hybrid = make_hybrid(recipe)
    settings = recipe.training
    budget = count_flops(hybrid, size, settings)
    trainer = Trainer(
        hybrid, lambda stage, step: iter([]), settings, budget, folder, 0, {}, Accelerator(cpu=True)
    )
    trainer.hybrid.train()
    trainer.prepare(IN_TURNS)
    return lambda: trainer.step(IN_TURNS, 0, iter([batch])), budget


@torch.inference_mode()
def refinement(recipe: Recipe):
    """A whole refinement of one image in 10 steps, segmentor included."""
    size = recipe.data.patch_size
    image = torch.randn(1, 3, *size).contiguous(memory_format=torch.channels_last)
    hybrid = make_hybrid(recipe).to(memory_format=torch.channels_last).eval()
    steps = list(range(10, 0, -1))

    @torch.inference_mode()
    def run() -> None:
        look = hybrid.look(image)
        uniform = draws_from(torch.Generator().manual_seed(0), look.prior.shape)
        for _ in hybrid.refine(image, look, steps, [uniform]):
            pass

    return run


def peak_of(precision: str, args: argparse.Namespace, queue: multiprocessing.Queue) -> None:
    """In a process of its own: how much memory three iterations add at most."""
    torch.set_num_threads(args.threads)
    before = peak_memory_mib()
    with tempfile.TemporaryDirectory() as folder:
        run, _ = iteration(make(precision, args), Path(folder))
        for _ in range(3):
            run()
    queue.put(peak_memory_mib() - before)


def memory(precision: str, args: argparse.Namespace) -> float:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=peak_of, args=(precision, args, queue))
    process.start()
    peak = queue.get()
    process.join()
    return round(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--segmentor-width", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    recipes = {precision: make(precision, args) for precision in ("binary", "real")}
    with tempfile.TemporaryDirectory() as folder:
        made = {name: iteration(recipe, Path(folder)) for name, recipe in recipes.items()}
        training = in_turn({name: run for name, (run, _) in made.items()}, args.rounds)
    refining = in_turn({n: refinement(recipe) for n, recipe in recipes.items()}, args.rounds)
    result = {
        "setting": {"width": args.width, "size": args.size, "batch": args.batch},
        "segmentor": f"unet of width {args.segmentor_width}",
        "machine": machine(),
        "iteration_seconds": training,
        "iteration_ratio_binary_to_real": training["binary"] / training["real"],
        "iteration_gflop": made["binary"][1].per_step[IN_TURNS] / 1e9,
        "refinement_10_steps_seconds_batch_1": refining,
        "refinement_ratio_binary_to_real": refining["binary"] / refining["real"],
        "iteration_peak_mib": {name: memory(name, args) for name in recipes},
    }
    if result["setting"] == PUBLISHED_SETTING:
        result["published_code_seconds"] = PUBLISHED_SECONDS
        result["times_faster_than_published"] = PUBLISHED_SECONDS / training["binary"]
    write(result, __file__, f"training_step_width{args.width}")


if __name__ == "__main__":
    main()
