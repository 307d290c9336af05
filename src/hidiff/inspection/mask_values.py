"""The values of all masks, and the classes that they suggest: for check and plan alike."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Num

from hidiff.images import PictureTraits, find_format, picture_traits, read_class_names
from hidiff.labels import BACKGROUND, LEAST_LOSSY, MEAN, WHITES, Labels
from hidiff.noise import few, is_noise

# More values than that in grey pictures may be brightness instead of classes.
MOST_CLASSES = 32
# One of these far above all other values, or one below 0, often marks what nobody decided.
UNDECIDED = (255, 65535)
# Share of masks whose border is all foreground, from which on they seem inverted.
MOST_FRAMED = 0.9
BOTH_WAYS = "masks of 0/1 and of 0/255 are read in the same way"


@dataclass
class MaskValues:
    """The values of the masks read so far."""

    pixels: Counter[int] = field(default_factory=Counter)
    """value -> pixels"""
    masks: Counter[int] = field(default_factory=Counter)
    """value -> masks that hold it"""
    single: bool = True
    """True if no mask holds two values beside 0"""
    labelled: bool = False
    """True if files are of kinds that hold classes: volumes, and pictures with a palette"""
    lossy: list[str] = field(default_factory=list)
    """names of masks whose compression changes values"""
    unlike_noise: list[str] = field(default_factory=list)
    """names of masks that training cannot cut at half of white"""
    names: dict[int, str] = field(default_factory=dict)
    """value -> name of its class, where the files tell it (3D Slicer's do)"""
    clashes: list[str] = field(default_factory=list)
    """values that have another name in another file, in words"""
    colours: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """value -> red, green and blue in the files' palettes"""
    recoloured: list[str] = field(default_factory=list)
    """values that have another colour in another file, in words"""
    read: int = 0
    """number of masks"""
    framed: int = 0
    """masks whose whole border belongs to a class"""

    @classmethod
    def of_shares(cls, shares: Mapping[int, float], *, labelled: bool) -> "MaskValues":
        """Return values of which only the share of all pixels is known."""
        pixels = Counter({value: round(share * 1e9) for value, share in shares.items()})
        above = {value for value in shares if value}
        return cls(pixels, single=above <= set(WHITES), labelled=labelled)

    def add(self, path: Path, mask: Num[np.ndarray, "*space"]) -> PictureTraits:
        """Take a mask in, and return the traits of its file."""
        traits = picture_traits(path)
        values, counts = np.unique(mask, return_counts=True)
        for value, count in zip(values.astype(int).tolist(), counts.tolist(), strict=True):
            self.pixels[value] += count
            self.masks[value] += 1
        self.single = self.single and int(np.count_nonzero(values)) < 2
        self.read += 1
        self.framed += _is_framed(mask)
        format = find_format(path)
        volume = format is not None and format.plural == "volumes"
        self.labelled = self.labelled or traits.palette or volume
        if traits.lossy:
            self.lossy.append(path.name)
        if not set(values.tolist()) <= {0, *WHITES} and not _can_be_cut(mask, traits.lossy):
            self.unlike_noise.append(path.name)
        for value, name in read_class_names(path).items():
            known = self.names.setdefault(value, name)
            if known != name:
                self.clashes.append(f"{value} is {known} in some files, but {name} in {path.name}")
        for value in values.astype(int).tolist() if traits.colours else ():
            colour = traits.colours[3 * value : 3 * value + 3]
            known = self.colours.setdefault(value, colour)
            if known != colour:
                shown = [f"#{bytes(each).hex()}" for each in (known, colour)]
                self.recoloured.append(
                    f"the value {value} has the colour {shown[0]} in some masks, but {shown[1]} in "
                    f"{path.name}: a palette may number the classes anew in each file"
                )
        return traits

    def without(self, ignore: tuple[int, ...]) -> "MaskValues":
        """Return the same without the values that are ignored."""
        pixels = Counter({v: count for v, count in self.pixels.items() if v not in ignore})
        masks = Counter({v: count for v, count in self.masks.items() if v not in ignore})
        above = {value for value in pixels if value}
        single = self.single or len(above) < 2
        return replace(self, pixels=pixels, masks=masks, single=single)

    @property
    def inverted(self) -> str:
        """Return a warning that black and white may be exchanged; empty if they do not seem so."""
        if not self.read or self.framed < MOST_FRAMED * self.read:
            return ""
        return (
            f"the whole border belongs to a class in {self.framed} of {self.read} masks, as if the "
            "background were white: 0 is taken for the background"
        )

    def class_names(self, values: list[int]) -> list[str]:
        """Return a name for the class of each value, such as class_3 where no file has one."""
        told = [re.sub(r"[^\w.-]+", "_", self.names.get(value, "")).strip("_") for value in values]
        names = [
            f"class_{value:g}" if name in ("", BACKGROUND, MEAN) else name
            for name, value in zip(told, values, strict=True)
        ]
        unique = len(set(names)) == len(names)
        return names if unique else [f"class_{value:g}" for value in values]


@dataclass(frozen=True)
class Proposal:
    """The proposed meaning of mask values."""

    labels: Labels | None
    """None where they cannot be told"""
    reading: str
    """the meaning of each value, and the setting for a recipe"""
    question: str = ""
    """a question that a person must answer first; empty if nothing is in doubt"""
    warning: str = ""
    """an ambiguity that was resolved, to be looked at"""


def propose_labels(values: MaskValues, ignore: tuple[int, ...] = ()) -> Proposal:
    """Return the classes that mask values suggest. In doubt there is a question and no proposal."""
    values = values.without(ignore)
    found = np.array(sorted(values.pixels))
    above = [value for value in found.tolist() if value]
    shown = few(above)
    ignored = f"; {few(list(ignore))} is ignored" if ignore else ""
    if not above:
        return Proposal(None, "")
    if values.clashes:
        question = (
            f"the same value has several names: {values.clashes[0]}. Export the masks of all cases "
            "with the same label values (in 3D Slicer: by one colour table)."
        )
        return Proposal(None, f"values {shown}", question)
    if question := _undecided(above, values.single):
        return Proposal(None, f"values {shown}", question)
    if values.lossy and above[-1] <= LEAST_LOSSY:
        return Proposal(None, f"values {shown}", _of_lossy(values, shown))
    if len(above) == 1 or (values.single and set(above) <= set(WHITES)):
        [name] = values.class_names(above[:1]) if values.names else ["object"]
        reading = f"0 is background, {shown} one class: {_one_class(above, name)}{ignored}"
        if len(above) == 1:
            return Proposal(_one(above[0], ignore, name), reading)
        warning = (
            f"some masks are 0/{above[0]:g} and others 0/{above[-1]:g}: all are read as one class. "
            "If these are two classes, or one is to be ignored, say so in a recipe."
        )
        return Proposal(_one(above[-1], ignore), f"{reading}; {BOTH_WAYS}", warning=warning)
    counts = np.array([values.pixels[value] for value in found.tolist()])
    noisy = not ignore and is_noise(found, counts, lossy=bool(values.lossy))
    if noisy and not values.labelled and not values.unlike_noise:
        reading = f"{len(found)} values up to {above[-1]:g}, the noise of JPEG: {_one_class([255])}"
        warning = (
            f"masks hold {len(found)} values around 0 and 255, which JPEG or smoothing makes. "
            "Values above half of white count as the class. Save masks as PNG without resampling."
        )
        return Proposal(_one(255, ()), reading, warning=warning)
    if values.lossy:
        return Proposal(None, f"values {shown}", _of_lossy(values, shown))
    if _may_be_grey(above, values.labelled):
        question = (
            f"masks are grey pictures of {len(above)} values ({shown}): classes, or brightness? If "
            "each is a class, write labels.classes in a recipe; if it is one class, set "
            "labels.threshold; or save the masks with a palette."
        )
        return Proposal(None, f"values {shown}", question)
    classes = {name: (value,) for name, value in zip(values.class_names(above), above, strict=True)}
    named = ", ".join(f"{name}: [{value}]" for name, (value,) in classes.items())
    reading = f"0 is background, each other value a class: kind: exclusive, classes: {{{named}}}"
    labels = Labels(kind="exclusive", classes=classes, ignore=ignore)
    warning = (
        f"the masks' {len(above)} values lie around 0 and 255, as smoothing leaves them, but each "
        "is taken for a class. Look at the masks."
        if noisy
        else ""
    )
    return Proposal(labels, reading + ignored, warning=warning)


def _of_lossy(values: MaskValues, shown: str) -> str:
    """Return the question about classes in files that change their values."""
    return (
        f"{len(values.lossy)} masks are JPEG, which changes values, but they hold more than "
        f"black and white ({shown}). Export them again as PNG: no one can tell the classes."
    )


def _can_be_cut(mask: Num[np.ndarray, "*space"], lossy: bool) -> bool:
    """Return whether training reads a mask as one class with noise around black and white."""
    try:
        _one(255, ()).cut(mask, lossy=lossy)
    except ValueError:
        return False
    return True


def _is_framed(mask: Num[np.ndarray, "*space"]) -> bool:
    """Return whether no pixel at the border of any slice is background."""
    edges = (mask[..., 0, :], mask[..., -1, :], mask[..., :, 0], mask[..., :, -1])
    return mask.ndim > 1 and min(mask.shape[-2:]) > 2 and all(edge.all() for edge in edges)


def _undecided(above: list[int], single: bool) -> str:
    """Return the question whether a value marks pixels that nobody decided; empty if none may."""
    lowest, largest = above[0], above[-1]
    odd = [value for value in above if value < 0]
    others = [value for value in above if value not in (*odd, largest)]
    in_a_row = others == list(range(1, len(others) + 1)) and len(others) < largest - 8
    alone = bool(others) and (in_a_row or max(others) < largest / 4)
    if not odd and largest in UNDECIDED and alone and not single:
        odd = [largest]
    if not odd:
        return ""
    where = "" if lowest < 0 else f" beside {few(others)} in the same masks"
    shown = ", ".join(f"{value:g}" for value in odd)
    return (
        f"masks hold {shown}{where}: a class, or pixels that nobody decided? Say it with --set "
        f"labels.ignore={shown if len(odd) == 1 else odd}, or name the "
        "class in a recipe (labels.classes)."
    )


def _may_be_grey(above: list[int], labelled: bool) -> bool:
    """Return whether values may be brightness: many in a picture, and not 1, 2, 3, ... n."""
    in_a_row = above == list(range(1, len(above) + 1)) and len(above) < 128
    return not labelled and len(above) > MOST_CLASSES and not in_a_row


def _one(value: int, ignore: tuple[int, ...], name: str = "object") -> Labels:
    return Labels(kind="one_class", classes={name: (value,)}, ignore=ignore)


def _one_class(values: list[int], name: str = "object") -> str:
    return f"kind: one_class, classes: {{{name}: [{', '.join(f'{v:g}' for v in values)}]}}"
