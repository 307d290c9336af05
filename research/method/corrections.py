"""How well are masks corrected by hand, and does anything cheaper do as well?

    HIDIFF_DATA=... python research/method/corrections.py kvasir chosen --runs runs --rivals

Trains an arm behind a frozen segmentor (weak: stopped early; today: as the suites train it), unless
it is trained already, and corrects the test images with it, at the size that the networks see. A
correction is a click at the deepest point of the largest error, as wide as fits, and certain; on
DRIVE it is a stroke along the centre line of the largest missed vessel. Every rival meets its own
errors. Adds a line for each method to results/corrections/rows.jsonl, with the scores of single
images in results/corrections/cases; what is there already is not made again.
"""

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidiff import experiment
from hidiff.correction import CorrectionSettings
from hidiff.datasets import Case
from hidiff.evaluation.corrections import (
    Answer,
    Bits,
    Corrected,
    Painting,
    Person,
    Refining,
    clicker,
    correct,
    overlap,
    paint,
)
from hidiff.experiment.cases import reading_of
from hidiff.hybrid import HybridSegmentor
from hidiff.labels import Labels
from hidiff.loading import LoadedCases
from hidiff.marks import Area, Click, Mark, MessyPerson, find_errors, seeded, thin
from hidiff.marks.errors import deepest_point, fitting_radius

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.method.corrections_arms import ARMS, DATA, RITM, arm_recipe, train_arm
from research.method.corrections_rivals import (
    Blend,
    RandomWalker,
    RitmAnswers,
    Spreading,
    Threshold,
    grid,
    load_ritm,
    train_ritm,
)

RESULTS = Path(__file__).parent / "results" / "corrections"
JUDGED_LONG = ("chosen", "longer", RITM)  # arms that get all marks; others get five
SHOWN = (0, 1, 3, 5, 10)  # numbers of marks in the rows
GOALS = (0.85, 0.90)  # of IoU
HARM = 0.005  # Dice that a mark may cost
BRUSH = 4.0  # pixels, the radius of the fixed brush
TUNED_ON = 40  # validation images that the rivals' settings are chosen on
OURS, SPREAD = "refiner", "refiner, marks spread"
PAINT_PRIOR, PAINT_REFINED = "paint on the prior", "paint on the refined mask"
SAME_MARKS = "the refiner's marks, painted on the refined mask"
MESSY, MESSY_PAINT = "refiner, messy person", "paint on the refined mask, messy person"
TUNED = ("blend", "random walker")  # methods with settings
KEYS = ("data", "prior", "arm", "seed")
RITM_SPREAD = f"{RITM}, marks spread"
SPREADING = CorrectionSettings().spread
MESSY_SPREAD = f"{SPREAD}, messy person"
WRONG = "refiner, one mark in a wrong place"
WRONG_SPREAD = f"{SPREAD}, one mark in a wrong place"
FIVE_STEPS = "refiner, five steps"
THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
WHOLE = "paint the whole vessel of each stroke"  # a bound: it knows the truth there


@dataclass(frozen=True)
class Subject:
    """One image of the evaluation."""

    name: str
    group: str
    refining: Refining
    y0: Bits
    inside: np.ndarray

    @property
    def labels(self) -> Labels:
        return self.refining.hybrid.labels


@dataclass
class Course:
    """Scores of one image after 0, 1, 2, ... marks."""

    case: str
    group: str
    dice: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    collateral: list[int] = field(default_factory=list)
    area: list[int] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def add(self, step: Corrected, subject: Subject) -> None:
        """Take in the mask after one more mark: means over the classes."""
        planes = range(len(subject.y0))[subject.labels.class_planes]
        scores = [overlap(step.bits[k], subject.y0[k], subject.inside) for k in planes]
        dice, iou = np.mean(scores, axis=0).tolist()
        self.dice.append(dice)
        self.iou.append(iou)
        if step.mark is not None:
            self.collateral.append(step.collateral)
            self.area.append(step.area)
            self.marks.append(step.mark)

    def at(self, scores: list[float], number: int) -> float:
        """Return a score after so many marks; a mask that is right early stays so."""
        return scores[min(number, len(scores) - 1)]

    def marks_to(self, goal: float, most: int) -> int:
        """Return how many marks it takes to an IoU; `most` if they do not suffice."""
        return next((n for n, iou in enumerate(self.iou) if iou >= goal), most)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("arm", choices=[*ARMS, RITM])
    parser.add_argument("--prior", choices=["weak", "today"], default="weak")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings")
    parser.add_argument("--rivals", action="store_true", help="also the cheap rivals")
    parser.add_argument("--cases", type=int, default=None, help="the first few, while developing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    key = (args.data, args.prior, args.arm, args.seed)

    base = "chosen" if args.arm == RITM else args.arm
    recipe = arm_recipe(args.data, args.prior, base, args.seed, args.runs)
    if args.arm == RITM:
        file, cost = train_ritm(recipe, args.runs / f"{recipe.name}_ritm")
        model = experiment.load_hybrid(experiment.open_model(Path(str(recipe.segmentor.weights))))
        network = load_ritm(file, model)
        methods = {
            RITM: lambda subject: RitmAnswers(network, subject.refining),
            RITM_SPREAD: lambda subject: Spreading(
                subject.refining, SPREADING, network=RitmAnswers(network, subject.refining)
            ),
        }
    else:
        file, cost = train_arm(args.data, args.prior, args.arm, args.seed, args.runs)
        model = experiment.load_hybrid(experiment.open_model(file))
        methods = own_methods(args.rivals, DATA[args.data].strokes)
    model.place("cpu").eval()
    tested = experiment.list_cases(recipe, "test")[: args.cases]
    subjects = load_subjects(model, recipe, tested, DATA[args.data].every)
    facts = dict(zip(("data", "prior", "arm", "seed"), key, strict=True)) | cost
    done = {row["method"] for row in rows() if all(row[name] == facts[name] for name in KEYS)}
    evaluate(methods, subjects, facts, done, args.cases is None)
    if args.rivals and args.arm != RITM:
        for method in CANDIDATES.keys() - done:
            chosen = [choice(subject, CANDIDATES[method]) for subject in subjects]
            keep({**facts, "method": method}, chosen, 0, args.cases is None)
    wanted = [name for name in TUNED if not any(method.startswith(name) for method in done)]
    if args.rivals and args.arm != RITM and wanted:
        held_out = experiment.list_cases(recipe, "validation")[:TUNED_ON]
        methods = tuned(load_subjects(model, recipe, held_out), args.data, wanted)
        evaluate(methods, subjects, facts, done, args.cases is None)


def evaluate(
    methods: dict[str, Callable[[Subject], Answer]],
    subjects: list[Subject],
    facts: dict[str, Any],
    done: set[str],
    whole: bool,
) -> None:
    """Correct all images by every method that has no row yet, and keep a row of each."""
    for method, answers in methods.items():
        if method in done:
            continue
        most = min(DATA[facts["data"]].marks, most_of(method, facts["arm"]))
        courses = [
            course(subject, answers(subject), person_of(method, facts["data"], subject), most)
            for subject in subjects
        ]
        keep({**facts, "method": method}, courses, most, whole)
        if method == OURS and SAME_MARKS not in done:
            same = [replay(subject, each) for subject, each in zip(subjects, courses, strict=True)]
            keep({**facts, "method": SAME_MARKS}, same, most, whole)


def most_of(method: str, arm: str) -> int:
    """Return the most marks of a method; slow ones, other arms and messy people end early."""
    early = {WRONG: 1, WRONG_SPREAD: 1, MESSY: 5, MESSY_SPREAD: 5, MESSY_PAINT: 5}
    if method.startswith(TUNED) or arm not in JUDGED_LONG:
        return 5
    return early.get(method, 20)


def load_subjects(
    model: HybridSegmentor, recipe: Any, cases: Sequence[Case], every: int = 1
) -> list[Subject]:
    """Return the images or slices that show a class: all of them, or one in `every`."""
    subjects, showing = [], itertools.count()
    for case in cases:
        loaded = LoadedCases([case], reading_of(recipe), cache=False)
        for number in range(len(loaded)):
            item = loaded[number]
            y0, inside = item["y0"].numpy() > 0, item["field_of_view"][0].numpy() > 0
            if (y0[model.labels.class_planes] & inside).any() and next(showing) % every == 0:
                refining = Refining(model, item["image"])
                subjects.append(Subject(item["name"], case.group, refining, y0, inside))
    return subjects


def own_methods(rivals: bool, strokes: bool = False) -> dict[str, Callable[[Subject], Answer]]:
    """Return the methods that need no tuning, by name."""

    def on_prior(subject: Subject) -> Answer:
        return Painting(subject.labels.bits(subject.refining.prior), subject.labels)

    def on_refined(subject: Subject) -> Answer:
        return Painting(subject.refining([]), subject.labels)

    methods: dict[str, Callable[[Subject], Answer]] = {
        OURS: lambda subject: subject.refining,
        SPREAD: lambda subject: Spreading(subject.refining, SPREADING),
        PAINT_REFINED: on_refined,
    }
    if strokes:
        methods[WHOLE] = on_refined
    if rivals:
        methods |= {
            PAINT_PRIOR: on_prior,
            f"{PAINT_PRIOR}, 8 px": on_prior,
            f"{PAINT_REFINED}, 8 px": on_refined,
            "threshold": lambda s: Threshold(s.refining.probability([]), s.labels),
            MESSY: lambda subject: subject.refining,
            MESSY_SPREAD: lambda subject: Spreading(subject.refining, SPREADING),
            MESSY_PAINT: on_refined,
            WRONG: lambda subject: subject.refining,
            WRONG_SPREAD: lambda subject: Spreading(subject.refining, SPREADING),
            FIVE_STEPS: lambda subject: subject.refining.with_steps(5),
        }
    return methods


def tuned(
    held_out: list[Subject], data: str, wanted: Sequence[str] = TUNED
) -> dict[str, Callable[[Subject], Answer]]:
    """Return the rivals with settings, at their best on validation images after 3 marks."""
    makers: dict[str, Callable[..., Answer]] = {
        "blend": lambda s, **given: Blend(s.refining.probability([]), s.labels, **given),
        "random walker": lambda s, **given: RandomWalker(
            s.refining.cropped(s.refining.image), s.refining.probability([]), s.labels, **given
        ),
    }
    methods: dict[str, Callable[[Subject], Answer]] = {}
    for name, make in ((name, makers[name]) for name in wanted):
        scores = {}
        for given in grid(name):
            courses = [
                course(subject, make(subject, **given), person_of(name, data, subject), 3)
                for subject in held_out
            ]
            words = json.dumps(given)
            scores[words] = float(np.mean([each.at(each.dice, 3) for each in courses]))
        best = max(scores, key=lambda words: scores[words])
        print(name, scores, flush=True)
        methods[f"{name} {best}"] = partial(make, **json.loads(best))
    return methods


def person_of(method: str, data: str, subject: Subject) -> Person:
    """Return who corrects: see the head of this file."""
    exclusive = subject.labels.kind == "exclusive"
    if method in (MESSY, MESSY_SPREAD, MESSY_PAINT, WRONG, WRONG_SPREAD):
        alone = method in (WRONG, WRONG_SPREAD)
        person = MessyPerson(wrong=1, inside=0) if alone else MessyPerson()
        draws = seeded(0, "messy", subject.name)
        return lambda predicted, y0: person.click(predicted, y0, draws, exclusive=exclusive)
    if method == WHOLE:
        return whole_vessel
    if DATA[data].strokes:
        return stroke_along
    if method.endswith("8 px"):
        return partial(click_fixed, exclusive=exclusive)
    return clicker(subject.labels)


def stroke_along(predicted: Bits, y0: Bits) -> Mark | None:
    """Stroke along the centre line of the largest missed vessel."""
    error = next((each for each in find_errors(predicted, y0) if each.add), None)
    return None if error is None else Area(plane=error.plane, mask=thin(error.mask))


def whole_vessel(predicted: Bits, y0: Bits) -> Mark | None:
    """Mark every pixel of the largest missed vessel."""
    error = next((each for each in find_errors(predicted, y0) if each.add), None)
    return None if error is None else Area(plane=error.plane, mask=error.mask)


def click_fixed(predicted: Bits, y0: Bits, exclusive: bool) -> Mark | None:
    """Click with a brush of 8 pixels, or narrower where it would not fit."""
    errors = find_errors(predicted, y0, exclusive=exclusive)
    if not errors:
        return None
    point = deepest_point(errors[0].mask)
    radius = min(BRUSH, fitting_radius(errors[0].mask, point))
    return Click(plane=errors[0].plane, add=errors[0].add, point=point, radius=radius)


def course(subject: Subject, answer: Answer, person: Person, most: int) -> Course:
    """Correct one image; all goals reached, 10 marks are enough."""
    found = Course(subject.name, subject.group)
    for step in correct(answer, subject.y0, subject.inside, most, person):
        found.add(step, subject)
        if len(found.marks) >= max(SHOWN) and found.iou[-1] >= max(GOALS):
            break
    return found


def thresholds(refining: Refining) -> list[np.ndarray]:
    """Return maps whose masks are the refined probability cut at several thresholds."""
    maps = []
    for cut in THRESHOLDS:
        shifted = refining.probability([])
        shifted[refining.hybrid.labels.class_planes] += 0.5 - cut
        maps.append(shifted)
    return maps


# Without a mark: several masks, of which a person would choose the best.
CANDIDATES: dict[str, Callable[[Refining], Sequence[np.ndarray]]] = {
    "best of 4 draws": lambda refining: refining.samples(4),
    "best of 4 thresholds": thresholds,
}


def choice(subject: Subject, candidates: Callable[[Refining], Sequence[np.ndarray]]) -> Course:
    """Return the score of the best of several masks."""
    best = Course(subject.name, subject.group)
    for each in candidates(subject.refining):
        found = Course(subject.name, subject.group)
        bits = subject.labels.bits(each)
        found.add(Corrected(np.where(subject.inside, bits, subject.y0)), subject)
        best = max(best, found, key=lambda course: course.dice or [-1.0])
    return best


def replay(subject: Subject, made: Course) -> Course:
    """Paint the marks that the refiner was given on its mask without marks."""
    found, bits = Course(made.case, made.group), subject.refining([])
    for number in range(len(made.marks) + 1):
        painted = paint(bits, made.marks[:number], subject.labels)
        found.add(Corrected(np.where(subject.inside, painted, subject.y0)), subject)
    return found


def keep(facts: dict[str, Any], courses: list[Course], most: int, whole: bool) -> None:
    """Print a row, and write it with the scores of single images."""
    row = facts | summary(courses, most)
    print(json.dumps(row), flush=True)
    if not whole:
        return
    name = "_".join(str(facts[key]) for key in ("data", "prior", "arm", "seed", "method"))
    file = (
        RESULTS
        / "cases"
        / ("".join(c if c.isalnum() or c in "._-" else "_" for c in name) + ".csv")
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(
            ["case", "group", *itertools.chain(*((f"dice{n}", f"iou{n}") for n in SHOWN))]
        )
        for each in courses:
            scores = [f"{each.at(s, n):.4f}" for n in SHOWN for s in (each.dice, each.iou)]
            writer.writerow([each.case, each.group, *scores])
    with open(RESULTS / "rows.jsonl", "a", encoding="utf-8") as opened:
        opened.write(json.dumps({**row, "file": f"cases/{file.name}"}) + "\n")


def summary(courses: list[Course], most: int) -> dict[str, Any]:
    """Return the means over images, and what marks did beside what they were for."""
    steps = [np.diff(each.dice[: max(SHOWN) + 1]) for each in courses]
    changes = np.concatenate(steps)
    marked = [(c, a) for each in courses for c, a in zip(each.collateral, each.area, strict=True)]
    turned = np.array(marked or [(0, 1)], dtype=np.float64)
    return {
        "images": len(courses),
        "groups": len({each.group for each in courses}),
        **{
            name: {
                str(n): round(float(np.mean([e.at(scores(e), n) for e in courses])), 4)
                for n in SHOWN
                if n <= most
            }
            for name, scores in (("dice", lambda e: e.dice), ("iou", lambda e: e.iou))
        },
        "dice_0_to_5": round(
            float(np.mean([[e.at(e.dice, n) for n in range(6)] for e in courses])), 4
        ),
        "marks_to": {
            str(goal): round(float(np.mean([e.marks_to(goal, most) for e in courses])), 2)
            for goal in GOALS
        },
        "marks_that_harm": round(float(np.mean(changes < -HARM)), 4) if len(changes) else 0.0,
        "collateral_px": round(float(turned[:, 0].mean()), 1),
        "collateral_median_of_area": round(float(np.median(turned[:, 0] / turned[:, 1])), 3),
    }


def rows() -> list[dict[str, Any]]:
    """Return the rows so far."""
    file = RESULTS / "rows.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
