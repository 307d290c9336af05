"""Measure the time that Ray adds to each image.

    python research/speed/ray_cost.py [--images 8] [--rounds 3]

An emulated cluster of one node of one processor, on this machine; it needs the extra ray. First the
bare cost: 1,000 images whose actor answers at once, so what is left is locks, Ray and counting.
Then grey images of 128x128 go through the model `nodules` on one thread, in this process and by
one actor, in turn; the model is loaded in both before the clock starts.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster

from hidiff import experiment
from hidiff.cli.claims import Claims
from hidiff.cli.handing_out import Actors, hand_out
from hidiff.cli.inputs import Input, find_inputs
from hidiff.cli.on_ray import Loading, Worker
from hidiff.cli.stages import Outcome, Work, predict_images
from hidiff.cluster import Files
from hidiff.images import format_of
from hidiff.prediction.endings import NOTHING_MORE

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.speed.overlapping import MODEL, draw_images
from research.timing import in_turn, machine, write

EMPTY = 1_000


class Nothing:
    """An actor that has nothing to do."""

    def prepare(self) -> str:
        return ""

    def predict(self, images, work):
        return [Outcome(image.stem, "done") for image in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            bare = time_nothing(Path(scratch, "empty"))
            seconds = time_images(Path(scratch), args.images, args.rounds)
    finally:
        ray.shutdown()
        cluster.shutdown()
    each = {name: 1e3 * value / args.images for name, value in seconds.items()}
    write(
        {
            "question": "what does Ray cost an image?",
            "bare_ms_per_image": round(1e3 * bare / EMPTY, 3),
            "images": args.images,
            "rounds": args.rounds,
            "ms_per_image": {name: round(value, 1) for name, value in each.items()},
            "ratio": round(each["ray"] / each["here"], 3),
            "ray": ray.__version__,
            **machine(),
        },
        __file__,
        "ray_cost",
    )


def time_nothing(output: Path) -> float:
    """Return the seconds of images that an actor has nothing to do for."""
    png = format_of(Path("a.png"))
    images = [Input(f"case{n}", Path(f"case{n}.png"), png) for n in range(EMPTY)]
    work = Work(output, {image.stem: ("png",) for image in images}, NOTHING_MORE, True, 1, "", {})
    actor = ray.remote(num_cpus=1)(Nothing).remote()
    ray.get(actor.prepare.remote())
    start = time.perf_counter()
    hand_out_to(actor, images, work)
    return time.perf_counter() - start


def hand_out_to(actor, images, work) -> None:
    done = []
    with Claims(work.output) as claims:
        hand_out(images, Actors(_Kept(), 1, lambda: actor), work, claims, done.append)
    assert [outcome.fate for outcome in done] == ["done"] * len(images)


class _Kept:
    """Ray, but for the end of the actors, which serve again in the next round."""

    def __getattr__(self, name: str):
        return getattr(ray, name)

    def kill(self, actor) -> None:
        pass


def time_images(scratch: Path, count: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of all images, here and by an actor."""
    images = find_inputs([draw_images(scratch / "images", count)], 1)
    formats = {image.stem: ("png",) for image in images}
    work = Work(scratch / "out", formats, NOTHING_MORE, True, 1, "", {})
    predictor = experiment.load_predictor(MODEL)
    loading = Loading((Path(MODEL),), "cpu", 1)
    actor = ray.remote(num_cpus=1)(Worker).remote(Files(), loading)
    ray.get(actor.prepare.remote())

    def here() -> None:
        with Claims(work.output) as claims:
            predict_images(predictor, images, work, claims, lambda outcome: None)

    return in_turn({"here": here, "ray": lambda: hand_out_to(actor, images, work)}, rounds)


if __name__ == "__main__":
    main()
