"""Shares of a batch for several machines: the I-th of N, whatever starts them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from hidiff.cli.errors import Mistake

Case = TypeVar("Case")

Part = Annotated[
    int | None,
    typer.Option(
        "--part",
        metavar="I",
        help="Do only the I-th of --parts shares, counted from 1. A share holds the same cases "
        "whatever their order, so each can run on a machine of its own: docs/many.md.",
    ),
]
Parts = Annotated[
    int | None,
    typer.Option("--parts", metavar="N", help="The number of shares that --part is one of."),
]


@dataclass(frozen=True)
class Share:
    """One of several equal shares of the cases."""

    part: int
    """counted from 1"""
    parts: int

    def __str__(self) -> str:
        return f"part {self.part} of {self.parts}"

    def choose(self, cases: Sequence[Case], name: Callable[[Case], str]) -> list[Case]:
        """Return the cases of this share: of all, sorted by name, every N-th from the I-th.

        So shares differ by one case at most, and neighbours by name, which often are of one
        patient or size, are spread over all. A hash of the name would keep a case in its share
        when others are added; but of 1,000 cases in 16 shares, 63 each here, one share would then
        get about 76, and all wait for it.
        """
        return sorted(cases, key=name)[self.part - 1 :: self.parts]


def find_share(part: int | None, parts: int | None) -> Share | None:
    """Return the share that two options mean; None without them. Raises Mistake."""
    if part is None and parts is None:
        return None
    if part is None or parts is None:
        given, missing = ("--parts", "--part") if part is None else ("--part", "--parts")
        raise Mistake(f"{given} needs {missing} too: --part 3 --parts 16 means the third of 16.")
    if parts < 1:
        raise Mistake(f"--parts is {parts}, but 1 or more are wanted.")
    if not 1 <= part <= parts:
        raise Mistake(
            f"--part {part} --parts {parts}: shares are counted from 1 to {parts}. Give one."
        )
    return Share(part, parts)
