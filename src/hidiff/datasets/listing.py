"""The cases of one split of a data set, as its publisher shares them out, or drawn anew."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from hidiff.datasets.case import Case, MissingSplit
from hidiff.datasets.catalog import CATALOG
from hidiff.datasets.sets.brain import write_brain
from hidiff.datasets.sets.synthetic import write_synthetic
from hidiff.datasets.splits import SPLITS, Split, Splitting, fold_of, split_by_group
from hidiff.images.files import DataError
from hidiff.images.formats import find_mixture

DEFAULT_SPLITTING = Splitting()

# Data sets that are made here, at the folder that is asked for.
WRITERS: dict[str, Callable[[Path], None]] = {
    "brain": write_brain,
    "synthetic": write_synthetic,
}


def load_split(
    name: str, root: Path | str, split: Split | str, *, splitting: Splitting = DEFAULT_SPLITTING
) -> list[Case]:
    """Return the cases of one split of a data set, sorted by name.

    `root` is the data set's own folder. The sets we make ourselves (brain, synthetic) are written
    there when it is missing or empty.
    """
    if name not in CATALOG:
        raise DataError(
            f"data set {name!r} is not known, but one of {', '.join(CATALOG)} is wanted. "
            "For your own images use folder."
        )
    if split not in SPLITS:
        raise DataError(f"split {split!r} is not known: use one of {', '.join(SPLITS)}.")
    root = Path(root)
    if name in WRITERS and not (root.is_dir() and any(root.iterdir())):
        WRITERS[name](root)
    if not root.is_dir():
        raise DataError(
            f"no folder at {root.absolute()}, but {CATALOG[name].title} is wanted there. "
            "Download it from its publisher (hidiff data list tells its terms, and hidiff data "
            "prepare what is to be done then), or mend the path."
        )
    cases = splitting.select(_list_cases(name, root, split, splitting))
    if not cases:
        raise MissingSplit(
            f"the split {split} of {root} is empty. Check splitting.fractions or "
            f"splitting.validation_cases, or list its cases in {split}.txt (data set folder)."
        )
    return sorted(cases, key=lambda case: case.name)


def _list_cases(name: str, root: Path, split: Split, splitting: Splitting) -> Sequence[Case]:
    """List a split as the data set has it, or drawn anew; folds share train and validation out."""
    if splitting.fold is not None and split != "test":
        whole = splitting.model_copy(update={"fold": None})
        both = [case for side in SPLITS[:2] for case in _list_cases(name, root, side, whole)]
        return fold_of(both, splitting.folds, splitting.fold, splitting.seed)[split]
    list_cases = CATALOG[name].list_cases
    if not splitting.redraw:
        return list_cases(root, split, splitting)
    # the shares are of what is drawn here, not of what a data set does before
    as_it_lies = splitting.model_copy(
        update={"redraw": False, "only": "", "fractions": DEFAULT_SPLITTING.fractions}
    )
    cases = [case for side in SPLITS[:2] for case in list_cases(root, side, as_it_lies)]
    with suppress(MissingSplit):  # as anywhere, that of the tests alone may be missing
        cases += list_cases(root, "test", as_it_lies)
    if find_mixture(case.image for case in cases):
        raise DataError(
            f"{root} holds slices to train on and volumes to test on, so that its split cannot be "
            "drawn anew. Leave splitting.redraw out."
        )
    return split_by_group(splitting.select(cases), splitting.fractions, splitting.seed)[split]
