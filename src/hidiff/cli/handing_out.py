"""Hand out the images of a batch to the actors of a Ray cluster, and again those of lost ones."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hidiff.cli.claims import Claims, sweep
from hidiff.cli.inputs import Input
from hidiff.cli.say import warn
from hidiff.cli.stages import Outcome, Work
from hidiff.cluster import ClusterError

MOST_AT_ONCE = 16  # images handed to an actor at once: it reads one while it predicts another
ROUNDS = 8  # an actor gets its images in at least so many turns, so that all end at about one time
MOST_LOSSES = 3  # times that an image's actor may die before the image itself is blamed
SECONDS_TO_WAIT = 30.0  # for the first actor, before the wait is reported
SECONDS_TO_DIE = 10.0


@dataclass(frozen=True)
class Actors:
    """A source of actors: each has `prepare()` and `predict(images, work)`."""

    ray: Any
    """the module"""
    most: int
    """the number of actors that the cluster has room for"""
    make: Callable[[], Any]


def hand_out(
    images: Sequence[Input],
    actors: Actors,
    work: Work,
    claims: Claims,
    ended: Callable[[Outcome], object],
) -> None:
    """Let actors predict the images; `ended` is called once of each.

    Raises ClusterError when no node is left that can be used, and what an actor raises of the
    output folder, which all images would meet.
    """
    _Hands(actors, work, claims, ended).do(images)


@dataclass
class _Chunk:
    """Images that are handed out together, and their locks."""

    images: list[Input] = field(default_factory=list)
    held: ExitStack = field(default_factory=ExitStack)


class _Hands:
    """The actors of one batch, and the case that each of them works on."""

    def __init__(
        self, actors: Actors, work: Work, claims: Claims, ended: Callable[[Outcome], object]
    ):
        self.ray = actors.ray
        self.actors = actors
        self.work = work
        self.claims = claims
        self.ended = ended
        self.todo: deque[list[Input]] = deque()
        self.preparing: dict[Any, Any] = {}
        """promise -> actor"""
        self.running: dict[Any, tuple[Any, _Chunk]] = {}
        """promise -> actor and images"""
        self.idle: list[Any] = []
        self.losses: Counter[str] = Counter()
        """stem -> times that its actor died"""
        self.deaths = 0
        """of actors that had not loaded their model"""
        self.problems: list[str] = []
        """of nodes that cannot be used"""

    def do(self, images: Sequence[Input]) -> None:
        self.todo.extend(_cut(images, self.actors.most))
        for _ in range(min(self.actors.most, len(self.todo))):
            self.add_actor()
        patience = time.monotonic() + SECONDS_TO_WAIT
        try:
            while self.todo or self.running:
                while self.todo and self.idle:
                    self.give(self.todo.popleft())
                promises = [*self.running, *self.preparing]
                if not promises and self.todo:
                    raise ClusterError(
                        f"no node of the Ray cluster can be used: {'; '.join(self.problems)}."
                    )
                ready, _ = self.ray.wait(promises, timeout=1.0) if promises else ([], [])
                for promise in ready:
                    if promise in self.preparing:
                        self.take_prepared(promise)
                    else:
                        self.take_predicted(promise)
                if not self.running and not self.idle and time.monotonic() > patience:
                    warn(
                        "waiting for the cluster: its processors are taken, or nodes are starting."
                    )
                    patience = float("inf")
        finally:
            self.stop()

    def add_actor(self) -> None:
        actor = self.actors.make()
        self.preparing[actor.prepare.remote()] = actor

    def give(self, images: Sequence[Input]) -> None:
        """Give the images that no other run holds to an idle actor."""
        chunk = _Chunk()
        for image in images:
            if chunk.held.enter_context(self.claims.claim(image.stem)):
                chunk.images.append(image)
            else:
                self.ended(Outcome(image.stem, "elsewhere"))
        if chunk.images:
            actor = self.idle.pop()
            formats = {image.stem: self.work.formats[image.stem] for image in chunk.images}
            promise = actor.predict.remote(chunk.images, replace(self.work, formats=formats))
            self.running[promise] = actor, chunk

    def take_prepared(self, promise: Any) -> None:
        """Use an actor that has loaded its model, or leave out its node."""
        actor = self.preparing.pop(promise)
        try:
            problem = self.result(promise)
        except self.ray.exceptions.RayActorError as error:
            self.deaths += 1
            if self.deaths < MOST_LOSSES * self.actors.most:
                self.add_actor()  # its node is lost: Ray chooses another
                return
            problem = f"processes died before their model was loaded, last of: {_one_line(error)}"
        if not problem:
            self.idle.append(actor)
        elif problem not in self.problems:
            self.problems.append(problem)
            warn(f"a node of the cluster is left out: {problem}.")

    def take_predicted(self, promise: Any) -> None:
        """Count what an actor has done; what a lost one had is to be done again, one by one."""
        actor, chunk = self.running.pop(promise)
        with chunk.held:
            try:
                outcomes: list[Outcome] = self.result(promise)
            except self.ray.exceptions.RayActorError as error:
                outcomes = self.take_lost(chunk, _one_line(error))
            else:
                self.idle.append(actor)
            for outcome in outcomes:
                # written by an actor that was lost before it could say so
                before = outcome.fate == "before" and self.losses[outcome.stem]
                self.ended(replace(outcome, fate="done") if before else outcome)

    def take_lost(self, chunk: _Chunk, reason: str) -> list[Outcome]:
        """Put the images of a lost actor back; return those that were lost too often."""
        self.losses.update(image.stem for image in chunk.images)
        often = [image for image in chunk.images if self.losses[image.stem] >= MOST_LOSSES]
        again = [image for image in chunk.images if image not in often]
        self.todo.extend([image] for image in again)
        warn(f"a process of the cluster is lost; its {len(again)} images are done again.")
        self.add_actor()
        text = f"its process died {MOST_LOSSES} times, last of: {reason}"
        return [Outcome(image.stem, "failed", f"{image.file}: {text}") for image in often]

    def result(self, promise: Any) -> Any:
        """Return what an actor has returned, or raise what it has raised."""
        try:
            return self.ray.get(promise)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise

    def stop(self) -> None:
        """End all actors, and remove what they had not finished writing."""
        promises = list(self.running)
        running = [actor for actor, _ in self.running.values()]
        for actor in [*self.idle, *self.preparing.values(), *running]:
            self.ray.kill(actor)
        if promises:
            with suppress(Exception):
                self.ray.wait(promises, num_returns=len(promises), timeout=SECONDS_TO_DIE)
        for _, chunk in self.running.values():
            chunk.held.close()
        sweep(self.work.output)


def _cut(images: Sequence[Input], actors: int) -> list[list[Input]]:
    size = max(1, min(MOST_AT_ONCE, len(images) // (ROUNDS * actors)))
    return [list(images[first : first + size]) for first in range(0, len(images), size)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
