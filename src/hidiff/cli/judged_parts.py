"""Evaluations in parts: each share of the cases has a journal, and one command joins them."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidiff.cli.claims import Claims
from hidiff.cli.errors import Mistake
from hidiff.cli.shares import Share

if TYPE_CHECKING:
    from hidiff.evaluation.findings import Findings, Journal

PARTS = "parts"  # folder of the journals, below that of the results


def check_begun(folder: Path, share: Share | None, *, overwrite: bool, go_on: bool) -> None:
    """Raise Mistake or FileExistsError if what an earlier command has judged would be lost.

    With `overwrite` it is removed: the part of this share, or all.
    """
    if overwrite and go_on:
        raise Mistake("--continue keeps what is done and --overwrite replaces it: give one only.")
    begun = sorted((folder / PARTS).glob("*.jsonl"))
    if share is not None:
        begun = [file for file in begun if file == _file(folder, share)]
    if overwrite:
        for file in begun:
            file.unlink()
    elif begun and not go_on:
        raise FileExistsError(
            f"{folder} holds an unfinished evaluation, in {len(begun)} parts: go on with it, and "
            "join the parts, with --continue, or begin again with --overwrite."
        )


@contextmanager
def open_journal(
    folder: Path, share: Share | None, about: Mapping[str, Any]
) -> Iterator["tuple[Journal, dict[str, Findings]]"]:
    """Lock the journal of a share. Return it, and the findings of all shares so far.

    `about` says what is evaluated. Raises Mistake if another run writes to the same journal.
    """
    from hidiff.evaluation.findings import Journal

    file = _file(folder, share)
    journal = Journal(file, about)
    with Claims(file.parent) as claims, claims.claim(file.stem) as held:
        if not held:
            raise Mistake(
                f"another run is at work on {file}. Wait for it; if there is none, remove "
                f"{file.parent}/.{file.stem}.case.lock."
            )
        own = journal.read()
        others = [each for each in sorted(file.parent.glob("*.jsonl")) if each != file]
        found = {each.case: each for other in others for each in Journal(other, about).read()}
        journal.begin(own)
        yield journal, found | {each.case: each for each in own}


def remove_parts(folder: Path) -> None:
    """Remove the journals of an evaluation whose results are written."""
    shutil.rmtree(folder / PARTS)


def missing_of(cases: Sequence[Any], found: "Mapping[str, Findings]") -> list[Any]:
    """Return the cases that no part has judged yet."""
    return [case for case in cases if case.name not in found]


def _file(folder: Path, share: Share | None) -> Path:
    share = share or Share(1, 1)
    return folder / PARTS / f"{share.part}-of-{share.parts}.jsonl"
