"""Choose the segmentor's rate in stage 2 on validation cases, once for each arm and data set.

A rival that is held back by a bad rate makes any hybrid look good, and the other way round. So a
suite lists rates, every arm that trains the segmentor in stage 2 is trained at each of them, and
only the one with the highest mean Dice on validation cases is evaluated further. The first seed
chooses for all.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from hidiff.labels import MEAN
from hidiff.recipe import change_recipe
from hidiff.suites.rows import Row
from hidiff.suites.runs import RATE, Run
from hidiff.suites.suite import Evaluation, SuiteError

ON_VALIDATION = Evaluation(split="validation")


def list_candidates(run: Run) -> list[Run]:
    """Return the run of the first seed at each rate, to be evaluated on validation cases alone."""
    first = run.first or run
    return [
        replace(at_rate(first, rate), evaluations={f"rate {rate:g}": ON_VALIDATION}, rates=())
        for rate in run.rates
    ]


def choose_rate(run: Run, rows: Sequence[Row]) -> Run:
    """Return the run at its best rate; `rows` are those of its candidates, in the same order.

    Of equal rates the first counts. Raises SuiteError if no candidate has a Dice.
    """
    if not run.rates:
        return run
    scores = dict(zip(run.rates, map(validation_dice, rows), strict=True))
    known = {rate: dice for rate, dice in scores.items() if not math.isnan(dice)}
    if not known:
        raise SuiteError(
            f"{run.name}: no rate has a Dice on the validation cases, so none can be chosen. Give "
            "the recipe validation cases with masks that are not empty, or leave out rates."
        )
    tried = {f"{rate:g}": dice for rate, dice in scores.items()}
    return replace(at_rate(run, max(known, key=known.__getitem__)), rates=(), tried=tried)


def at_rate(run: Run, rate: float) -> Run:
    """Return the run with this rate of the segmentor in stage 2."""
    return replace(
        run,
        recipe=change_recipe(run.recipe, [f"{RATE}={rate!r}"]),
        changes={**run.changes, RATE: rate},
    )


def validation_dice(row: Row) -> float:
    """Return the mean Dice of the arm's own masks: refined ones if it has a refiner."""
    sources = row["metrics"][MEAN]["dice"]
    return sources["refined" if "refined" in sources else "prior"][0]
