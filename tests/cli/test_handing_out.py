"""The command's use of the actors of a cluster; Ray's part is played by a few lines here."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from hidiff.cli.claims import Claims
from hidiff.cli.handing_out import Actors, hand_out
from hidiff.cli.inputs import Input
from hidiff.cli.stages import Outcome, Work
from hidiff.cluster import ClusterError
from hidiff.images import format_of
from hidiff.prediction.endings import NOTHING_MORE


class ActorLost(Exception):
    pass


class TaskFailed(Exception):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Method:
    def __init__(self, function):
        self.function = function

    def remote(self, *args):
        return Promise(self.function, args)


class Promise:
    def __init__(self, function, args):
        self.function, self.args = function, args


class Ray:
    """Answers at once, in this process."""

    exceptions = SimpleNamespace(RayActorError=ActorLost, RayTaskError=TaskFailed)

    def __init__(self):
        self.killed = []

    def wait(self, promises, num_returns=1, timeout=None):
        return promises[:1], promises[1:]

    def get(self, promise):
        return promise.function(*promise.args)

    def kill(self, actor):
        self.killed.append(actor)


class Actor:
    def __init__(self, predict, problem=""):
        self.prepare = Method(lambda: problem)
        self.predict = Method(predict)


def run(tmp_path, actors, count=20, most=2):
    """Hand out images, and return the outcomes by stem, and the actors that were made."""
    images = [
        Input(f"eye{n}", Path(f"eye{n}.png"), format_of(Path("eye.png"))) for n in range(count)
    ]
    formats = {image.stem: ("png",) for image in images}
    work = Work(tmp_path, formats, NOTHING_MORE, False, 3, "", {})
    made = []

    def make():
        made.append(next(actors))
        return made[-1]

    outcomes, ray = [], Ray()
    try:
        with Claims(tmp_path) as claims:
            hand_out(images, Actors(ray, most, make), work, claims, outcomes.append)
    finally:
        assert not list(tmp_path.glob(".*"))  # no lock
    assert len({outcome.stem for outcome in outcomes}) == len(outcomes) == count
    return {outcome.stem: outcome for outcome in outcomes}, made


def all_done(images, work):
    assert all((work.output / f".{image.stem}.case.lock").exists() for image in images)
    assert set(work.formats) == {image.stem for image in images}
    return [Outcome(image.stem, "done") for image in images]


def forever(*actors):
    yield from actors
    while True:
        yield Actor(all_done)


def test_every_image_is_done_once(tmp_path):
    outcomes, made = run(tmp_path, forever())
    assert {outcome.fate for outcome in outcomes.values()} == {"done"}
    assert len(made) == 2


def test_the_images_of_a_lost_actor_are_done_again(tmp_path):
    def lost(images, work):
        raise ActorLost("its node is gone")

    outcomes, made = run(tmp_path, forever(Actor(lost)))
    assert {outcome.fate for outcome in outcomes.values()} == {"done"}
    assert len(made) == 3  # another in its place


def test_an_image_that_an_actor_wrote_before_it_was_lost_counts_as_done(tmp_path):
    lost = []

    def predict(images, work):
        if not lost:
            lost.extend(image.stem for image in images)
            raise ActorLost
        return [Outcome(i.stem, "before" if i.stem in lost else "done") for i in images]

    outcomes, _ = run(tmp_path, iter([Actor(predict) for _ in range(9)]))
    assert lost and {outcome.fate for outcome in outcomes.values()} == {"done"}


def test_an_image_that_kills_its_actor_fails_and_the_others_are_done(tmp_path):
    def predict(images, work):
        if any(image.stem == "eye3" for image in images):
            raise ActorLost("out of memory")
        return all_done(images, work)

    outcomes, _ = run(tmp_path, iter([Actor(predict) for _ in range(9)]))
    assert [stem for stem, outcome in outcomes.items() if outcome.fate != "done"] == ["eye3"]
    assert "eye3.png: its process died 3 times" in outcomes["eye3"].failure
    assert "out of memory" in outcomes["eye3"].failure


def test_a_node_that_cannot_be_used_is_left_out(tmp_path, capsys):
    problem = "node7 does not have the model m.safetensors"
    outcomes, _ = run(tmp_path, forever(Actor(all_done, problem)))
    assert {outcome.fate for outcome in outcomes.values()} == {"done"}
    assert f"a node of the cluster is left out: {problem}." in capsys.readouterr().err
    with pytest.raises(ClusterError, match="no node of the Ray cluster can be used: node7 does"):
        run(tmp_path, iter([Actor(all_done, problem)] * 2))


def test_an_actor_that_dies_while_it_loads_is_replaced(tmp_path):
    actor = Actor(all_done)

    def die():
        raise ActorLost

    actor.prepare = Method(die)
    outcomes, made = run(tmp_path, forever(actor))
    assert len(outcomes) == 20 and len(made) == 3
    with pytest.raises(ClusterError, match="processes died before their model was loaded"):
        run(tmp_path, iter([actor] * 10))


def test_a_full_disk_ends_all(tmp_path):
    def full(images, work):
        raise TaskFailed(OSError(28, "No space left on device"))

    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, iter([Actor(full), Actor(full)]))


def test_an_image_that_another_run_holds_is_left_to_it(tmp_path):
    with Claims(tmp_path) as other, other.claim("eye5"):
        images = [Input(f"eye{n}", Path(f"eye{n}.png"), None) for n in range(8)]
        work = Work(tmp_path, {i.stem: ("png",) for i in images}, NOTHING_MORE, False, 3, "", {})
        outcomes = []
        actors = Actors(Ray(), 1, lambda: Actor(all_done))
        with Claims(tmp_path) as claims:
            hand_out(images, actors, work, claims, outcomes.append)
    fates = {outcome.stem: outcome.fate for outcome in outcomes}
    assert fates.pop("eye5") == "elsewhere" and set(fates.values()) == {"done"}
