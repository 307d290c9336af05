"""Puts the numbers into what README.md and docs/benchmarks.md say of the results.

    python benchmarks/words.py

Words are written in benchmarks/words, one file for each page; whatever a run measured stands there
as a Jinja expression, such as {{ pair("main", "DRIVE", "hybrid").gain }}. The page's part between
<!-- words --> and <!-- end of words --> is made of them, so no number is typed by hand.
"""

import json
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from hidiff.labels import MEAN
from hidiff.metrics import Entry, pair_arms, summarise
from hidiff.suites.compare import Pair, find_pairs, single
from hidiff.suites.page import mean_dice
from hidiff.suites.rows import Results, Row, read_results
from hidiff.suites.suite import SEGMENTOR_ONLY, STAGE1
from hidiff.suites.tables import final_dice

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGES = {"readme.md": ROOT / "README.md", "benchmarks.md": ROOT / "docs" / "benchmarks.md"}
BEGIN, END = "<!-- words -->", "<!-- end of words -->"
WIDTH = 104  # characters a line
PRIOR = "prior"  # the hybrid's own, as one to compare with


@dataclass(frozen=True)
class Told:
    """One metric of an arm against another; as a string the difference with interval and n."""

    before: str
    after: str
    gain: str
    interval: str
    n: int
    p: str
    seeds: int

    def __str__(self) -> str:
        return f"{self.gain} ({self.interval}, n = {self.n})"

    @property
    def inside(self) -> str:
        """The same for between parentheses."""
        return f"{self.gain}, {self.interval}, n = {self.n}"


def main() -> None:
    for name, page in PAGES.items():
        page.write_text(fill(page, HERE / "words" / name), encoding="utf-8")


def fill(page: Path, words: Path) -> str:
    """The page with the words and their numbers in place."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"{page.name} has no {BEGIN} with an {END} after it")
    makers = Environment(undefined=StrictUndefined, autoescape=False)
    makers.globals.update(pair=pair, score=score, times=times, spread=spread, band=band, room=room,
                          own_images=own_images, average=average, each_step=each_step,
                          more_work=more_work)  # fmt: skip
    text = makers.from_string(words.read_text(encoding="utf-8")).render()
    return f"{head}{BEGIN}\n\n{wrap(text)}\n\n{END}{tail}"


def wrap(text: str) -> str:
    """Every paragraph and bullet filled anew, as numbers change their length."""
    parts = []
    for part in text.strip().split("\n\n"):
        bullets = (" ".join(each.split()) for each in f"\n{part}".split("\n- ") if each.strip())
        bulleted = part.startswith("- ")
        parts.append(
            "\n".join(
                textwrap.fill(
                    f"- {each}" if bulleted else each,
                    WIDTH,
                    subsequent_indent="  " if bulleted else "",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                for each in bullets
            )
        )
    return "\n\n".join(parts)


# what the words may call


def pair(
    suite: str,
    data: str,
    arm: str,
    over: str = SEGMENTOR_ONLY,
    on: str = "test",
    metric: str = "dice",
    seeds: tuple[int, ...] | None = None,
) -> Told:
    """An arm against another, or (over="prior") its refined masks against its own prior."""
    if over == PRIOR:
        results, rows = rows_of(suite, data, arm, on)
        summary, _ = single(results, rows)
        return tell(summary.entry(MEAN, metric), len(rows))
    found = the_pair(suite, data, arm, over, on, seeds)
    return tell(found.summary().entry(MEAN, metric), len(found.seeds))


def more_work(
    suite: str, data: str, arm: str, on: str, rival: str = "", seeds: tuple[int, ...] | None = None
) -> Told:
    """An arm's answer with more samples or steps, which those change nothing of that the segmentor
    alone gives: against its `test` in the suite `rival`, or in this one. Of the seeds both have."""
    sides = {SEGMENTOR_ONLY: (rival or suite, "test"), arm: (suite, on)}
    found = {}
    for name, (place, evaluation) in sides.items():
        results, rows = rows_of(place, data, name, evaluation)
        found[name] = {row["seed"]: (results.cases(row), row["judged_sha256"]) for row in rows}
    before, after = (found[name] for name in sides)
    both = sorted(before.keys() & after.keys() & set(seeds or after))
    if not both or any(before[seed][1] != after[seed][1] for seed in both):
        raise KeyError(f"{arm} and {SEGMENTOR_ONLY} of {data} were not judged on the same cases")
    cases = pair_arms([before[seed][0] for seed in both], [after[seed][0] for seed in both])
    return tell(summarise(cases).entry(MEAN, "dice"), len(both))


def band(suite: str, data: str, arm: str, which: int, metric: str) -> Told:
    """The same within one band of size, 0 the smallest, -1 the largest."""
    found = the_pair(suite, data, arm, SEGMENTOR_ONLY, "test")
    (name, _), cases = list(found.bands().items())[which]
    return tell(summarise(cases).entry(name, metric), len(found.seeds))


def score(suite: str, data: str, arm: str, on: str = "test") -> str:
    """The mean Dice of an arm's answer."""
    return short(mean_dice(rows_of(suite, data, arm, on)[1]))


def spread(suite: str, data: str, arm: str) -> str:
    """How far the Dice of an arm's seeds lie apart."""
    found = [final_dice(row) for row in rows_of(suite, data, arm, "test")[1]]
    return short(max(found) - min(found))


def times(suite: str, data: str, arm: str, on: str = "test") -> str:
    """How many times as long a prediction takes as the segmentor's alone."""
    found = the_pair(suite, data, arm, STAGE1, on)
    before, after = (
        sum(row["seconds_per_case"] for row in rows) for rows in (found.before, found.after)
    )
    return f"{after / before:.1f}"


def room(data: str, kind: str) -> str:
    """What any second network brings (room.py): "ensemble" or "cascade"."""
    return short(measured("room")[data][kind]["difference"], places=4).rstrip("0")


def own_images(data: str, metric: str) -> str:
    """By how much the prior's metric is higher on test images than on those it was trained on
    (training_set.py)."""
    return gap(measured("training_set")[data]["priors"][metric])


def average(data: str) -> str:
    """What the last step's weights gain over the average (training_set.py)."""
    return gap(measured("training_set")[data]["average"])


def each_step(data: str) -> dict[str, Any]:
    """What the refiner knows at each t (each_step.py): ECE of the prior and of y0_hat at T, and by
    what share the best temperature lowers the prior's cross-entropy."""
    found = measured("each_step")[data]
    best = min(found["temperatures"].values())
    return {
        "prior": f"{found['prior']['ece']:.2f}".lstrip("0"),
        "refined": f"{found['steps'][0]['y0_hat']['ece']:.2f}".lstrip("0"),
        "temperature": f"{100 * (1 - best / found['prior']['nats']):.0f} %",
    }


# how numbers are said and found


def tell(entry: Entry, seeds: int) -> Told:
    before, after, difference = entry.prior, entry.refined, entry.difference
    if not (before and after and difference) or difference.low is None or difference.high is None:
        raise KeyError(f"no difference of {entry.metric} with an interval")
    p = entry.test.p if entry.test else 1.0
    return Told(
        before=short(before.mean),
        after=short(after.mean),
        gain=short(difference.mean, signed=True),
        interval=f"{short(difference.low)} to {short(difference.high)}",
        n=difference.n or 0,
        p="p < .001" if p < 0.001 else f"p = {short(p)}",
        seeds=seeds,
    )


def gap(found: dict[str, Any]) -> str:
    """A difference with its interval, as in benchmarks/results."""
    low, high = (short(end, places=4) for end in found["interval"])
    return f"{short(found['difference'], signed=True, places=4)} ({low} to {high})"


def short(value: float, signed: bool = False, places: int = 3) -> str:
    """Without the zero before the point, as papers write what is at most 1; -0 and +0 are 0."""
    text = f"{value:.{places}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{places}f}"
    if not text.strip("-.0"):
        return text.lstrip("-")
    return f"+{text}" if signed and value > 0 else text


@cache
def read(suite: str) -> Results:
    return read_results(ROOT / "results" / suite)


def the_pair(
    suite: str,
    data: str,
    arm: str,
    over: str,
    on: str,
    seeds: tuple[int, ...] | None = None,
) -> Pair:
    def wanted(row: Row) -> bool:
        place = row["data"], row["evaluation"]
        return place == (data, on) and (seeds is None or row["seed"] in seeds)

    found = find_pairs(read(suite), over, arm, wanted)
    if len(found) != 1:
        raise KeyError(f"{len(found)} pairs of {arm} and {over} on {data} ({on}) in {suite}")
    return found[0]


def rows_of(suite: str, data: str, arm: str, on: str) -> tuple[Results, list[Row]]:
    wanted = {"data": data, "arm": arm, "evaluation": on}
    results = read(suite)
    found = [row for row in results.latest() if wanted.items() <= row.items()]
    if not found:
        raise KeyError(f"no row of {wanted} in {suite}")
    return results, found


@cache
def measured(name: str) -> Any:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
