"""A batch on a Ray cluster: the option, the actor that holds a model, and the way there.

Each actor reads images, and writes whole files to the folder that all nodes share. The process of
the command hands out the images (`handing_out`), holds their locks, and counts what is done.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidiff.cli.handing_out import Actors, hand_out
from hidiff.cli.inputs import Input
from hidiff.cli.options import Device, Runtime
from hidiff.cli.say import say
from hidiff.cluster import ClusterError, Files, connect, shared_files
from hidiff.models import FOLDER, read_head

if TYPE_CHECKING:
    from hidiff.cli.predicting import Batch
    from hidiff.cli.stages import Outcome, Work


@dataclass(frozen=True)
class Loading:
    """The way an actor loads the model."""

    models: tuple[Path, ...]
    device: str
    """cpu, cuda, or auto: cuda where the cluster has GPUs"""
    threads: int
    segmentor_runtime: str = "torch"
    compiled: bool = False


def load_on_ray(
    models: Sequence[Path],
    device: Device,
    threads: int | None,
    segmentor_runtime: Runtime = Runtime.TORCH,
    compiled: bool = False,
) -> Loading:
    """Return how actors load a model, of the options of a command: one thread each, left out.

    Prints the model's own notice.
    """
    heads = [read_head(model) for model in models]
    if notice := heads[0].metadata.get("notice"):
        say(notice)
    # a model of HiDiff's own is found by its name, wherever a node has HiDiff installed
    files = tuple(
        Path(head.path.stem) if head.path.parent == FOLDER else head.path.resolve()
        for head in heads
    )
    return Loading(files, device.value, threads or 1, segmentor_runtime.value, compiled)


class Worker:
    """A model on a node; `ray.remote` makes an actor of it."""

    def __init__(self, files: Files, loading: Loading):
        self.files = files
        self.loading = loading

    def prepare(self) -> str:
        """Load the model; return what is wrong with this node, or an empty text."""
        if problem := self.files.problem():
            return f"{socket.gethostname()} {problem}"
        import torch

        from hidiff import experiment

        how = self.loading
        torch.set_num_threads(how.threads)
        models = how.models[0] if len(how.models) == 1 else how.models
        self.predictor = experiment.load_predictor(
            models, how.device, segmentor_runtime=how.segmentor_runtime, compiled=how.compiled
        )
        return ""

    def predict(self, images: Sequence[Input], work: "Work") -> "list[Outcome]":
        """Predict images that the caller holds the locks of, and say how each ended."""
        from hidiff.cli.stages import predict_images

        outcomes: list[Outcome] = []
        predict_images(self.predictor, images, work, _HeldAlready(), outcomes.append)
        return outcomes


class _HeldAlready:
    """Locks of images that are held by the process that hands them out."""

    @contextmanager
    def claim(self, stem: str) -> Iterator[bool]:
        yield True


def predict_on_ray(batch: "Batch", address: str, loading: Loading, work: "Work") -> None:
    """Predict the unfinished images of a batch on a cluster, and report.

    Raises ClusterError where there is no cluster, or no node that can be used.
    """
    ray = connect(address)
    try:
        with shared_files(loading.models, [work.output]) as files:
            actors = _find_actors(ray, files, loading)
            work = _with_whole_paths(work)
            images = [replace(image, image=_whole(image.image)) for image in batch.unfinished]
            batch.go_through(
                lambda claims, pace: hand_out(
                    images, actors, work, claims, partial(batch.take, pace)
                )
            )
    finally:
        ray.shutdown()


def _find_actors(ray: Any, files: Files, loading: Loading) -> Actors:
    """Return the actors that the cluster has room for. Raises ClusterError for none."""
    resources = ray.cluster_resources()
    graphics = loading.device == "cuda" or (loading.device == "auto" and "GPU" in resources)
    loading = replace(loading, device="cuda" if graphics else "cpu")
    kind, each = ("GPU", 1) if graphics else ("CPU", loading.threads)
    count = int(resources.get(kind, 0) // each)
    if not count:
        raise ClusterError(
            f"each model takes {each} {kind}, but the Ray cluster has {resources.get(kind, 0):g}."
        )
    share = {"num_gpus": 1} if graphics else {"num_cpus": each}
    actor = ray.remote(**share, max_restarts=0)(Worker)
    return Actors(ray, count, lambda: actor.remote(files, loading))


def _with_whole_paths(work: "Work") -> "Work":
    priors = None if work.priors is None else work.priors.resolve()
    return replace(work, output=work.output.resolve(), priors=priors)


def _whole(files: Any) -> Any:
    """Return the paths of an image from the root, as a node has another working folder."""
    if isinstance(files, tuple):
        return tuple(Path(file).absolute() for file in files)
    return Path(files).absolute()
