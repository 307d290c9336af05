"""The classes of a data set, and the mask planes that they become.

One class: one plane, a sigmoid. Exclusive classes: one plane a class and one for the background,
a softmax. Overlapping regions (BraTS: whole tumour, core, enhancing): one plane a region, sigmoids.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Integer, Num, Shaped, UInt8
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hidiff.noise import few, is_noise

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # torch takes seconds to import; files are found, and mistakes refused, without it

BACKGROUND = "background"
# what result rows call the mean over the classes
MEAN = "mean"
WHITES = (1, 255, 65535)
# JPEG changes values by several: a mask in it can only be one class, whose values are above this.
LEAST_LOSSY = 127


class Labels(BaseModel):
    """The classes, by name, and the values that mean them in a mask file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["one_class", "exclusive", "regions"] = Field(
        description="one_class: a sigmoid; exclusive classes: softmax with background; "
        "regions, which may overlap: sigmoids"
    )
    classes: Mapping[str, tuple[int, ...]] = Field(
        description="each class's name and its values in the masks; background (0) is implied"
    )
    threshold: float | None = Field(
        default=None,
        description="one_class only: a mask value above it is foreground. Without it, masks of 0/1 "
        "and of 0/255 are read in the same way, those with JPEG noise are cut at half of white, "
        "and any other value that is not declared is an error",
    )
    ignore: tuple[int, ...] = Field(
        default=(),
        description="value or values of pixels that nobody decided (often 255 or -1): left out of "
        "losses, metrics and reports. With it, every other value of a mask must be declared",
    )

    @field_validator("ignore", mode="before")
    @classmethod
    def _one_or_several(cls, ignore: Any) -> Any:
        if ignore is None:
            return ()
        return (ignore,) if isinstance(ignore, int) else ignore

    @model_validator(mode="after")
    def _consistent(self) -> "Labels":
        if not self.classes:
            raise ValueError("labels need at least one class, e.g. classes: {vessel: [255]}")
        if BACKGROUND in self.classes:
            raise ValueError("background is implied: leave it out of labels.classes")
        if MEAN in self.classes:
            raise ValueError(
                "a class is called mean, as result rows call the mean over the classes. "
                "Give it another name."
            )
        if self.kind == "one_class" and len(self.classes) != 1:
            raise ValueError(
                f"labels.kind one_class has {len(self.classes)} classes ({', '.join(self.classes)})"
                ", but wants exactly 1. Use kind: exclusive or regions."
            )
        for name, each in self.classes.items():
            if not each:
                raise ValueError(f"labels.classes: {name} has no value. Say which mean it: [255]")
            if 0 in each:
                raise ValueError(
                    f"labels.classes: {name} has the value 0, which is the background. Leave it "
                    "out, or write the masks with another value."
                )
        values = [value for each in self.classes.values() for value in each]
        if self.kind == "exclusive" and len(set(values)) < len(values):
            raise ValueError(
                f"labels.kind exclusive has the values {values}: each may name one class only. "
                "Overlapping classes are kind: regions."
            )
        taken = {0, *values} & set(self.ignore)
        if taken:
            raise ValueError(
                f"labels.ignore has {few(sorted(taken))}, which means the background or a class "
                "already. A value can mean one of them only."
            )
        if self.threshold is not None and self.kind != "one_class":
            raise ValueError("labels.threshold is for kind: one_class only: leave it out")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes without the background."""
        return tuple(self.classes)

    @property
    def plane_names(self) -> tuple[str, ...]:
        """One name a mask plane; exclusive classes begin with the background."""
        return (BACKGROUND, *self.classes) if self.kind == "exclusive" else tuple(self.classes)

    @property
    def num_planes(self) -> int:
        """K, the number of mask planes."""
        return len(self.plane_names)

    @property
    def class_planes(self) -> slice:
        """The planes that are classes, not background."""
        return slice(1, None) if self.kind == "exclusive" else slice(0, None)

    def activate(self, logits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """Turn the segmentor's logits into probabilities: the prior."""
        return logits.softmax(dim=1) if self.kind == "exclusive" else logits.sigmoid()

    def encode(
        self, mask: Num[np.ndarray, "*space"], *, lossy: bool = False
    ) -> Float[np.ndarray, "k *space"]:
        """Return a mask as it lies in a file as bits, one plane a class. Ignored pixels have none.

        `lossy` says that the file's compression changes values, as JPEG does. Raises ValueError for
        a value that no class declares.
        """
        return self.encode_bool(mask, lossy=lossy).astype(np.float32)

    def encode_bool(
        self, mask: Num[np.ndarray, "*space"], *, lossy: bool = False
    ) -> Bool[np.ndarray, "k *space"]:
        """Encode as `encode` does, with a byte per bit: for volumes."""
        if self.kind == "one_class":
            return self._foreground(mask, lossy)[None]
        self._check_kept(mask, lossy)
        self._check_declared(mask)
        planes = np.stack([np.isin(mask, values) for values in self.classes.values()])
        if self.kind == "exclusive":
            planes = np.concatenate([~planes.any(axis=0, keepdims=True), planes])
        return planes

    def counted(self, mask: Num[np.ndarray, "*space"]) -> Bool[np.ndarray, "*space"]:
        """Return which pixels of a mask count: those without an ignored value."""
        return ~np.isin(mask, self.ignore)

    def check(self, mask: Num[np.ndarray, "*space"], *, lossy: bool = False) -> None:
        """Raise ValueError for a mask that `encode` does not read."""
        if self.kind == "one_class":
            self.cut(mask, lossy=lossy)
        else:
            self._check_kept(mask, lossy)
            self._check_declared(mask)

    def _check_declared(self, mask: Num[np.ndarray, "*space"]) -> None:
        """Raise ValueError for a value that is neither a class, nor background, nor ignored."""
        declared = {0, *self.ignore, *(v for values in self.classes.values() for v in values)}
        unknown = [value for value in np.unique(mask).tolist() if value not in declared]
        if not unknown:
            return
        ignored = f", ignored: {list(self.ignore)}" if self.ignore else ""
        raise ValueError(
            f"the mask holds the values {few(unknown)}, but only {sorted(declared)} are declared "
            f"({dict(self.classes)}{ignored}). Add them to labels.classes, or to labels.ignore if "
            "they mark pixels that shall not count; or mend the mask."
        )

    def _check_kept(self, mask: Num[np.ndarray, "*space"], lossy: bool) -> None:
        """Raise ValueError if lossy compression may have turned one class into another."""
        largest = mask.max(initial=0) if lossy else 0
        if largest == 0 or (self.kind == "one_class" and largest > LEAST_LOSSY):
            return
        raise ValueError(
            f"the mask is a JPEG, which changes values by several, and holds values up to {largest}"
            ", so nobody can tell its classes. Export it again as PNG."
        )

    def _foreground(
        self, mask: Num[np.ndarray, "*space"], lossy: bool
    ) -> Bool[np.ndarray, "*space"]:
        """Return where the one class is."""
        cut = self.cut(mask, lossy=lossy)
        if cut is not None:
            return (mask > cut) & self.counted(mask)
        (values,) = self.classes.values()
        return np.isin(mask, values)

    def cut(self, mask: Num[np.ndarray, "*space"], *, lossy: bool = False) -> float | None:
        """Return the value above which a mask of one class is foreground; None: at its word.

        A mask that holds declared values alone is taken at its word. Without an ignore label a mask
        of 0 and one of 1, 255 and 65535 is foreground there, and one with noise around black and
        white is cut half way. Raises ValueError for any other mask.
        """
        if self.threshold is not None:
            return self.threshold
        self._check_kept(mask, lossy)
        (values,) = self.classes.values()
        if np.isin(mask, [0, *values, *self.ignore]).all():
            return None
        if self.ignore:
            self._check_declared(mask)
        found, counts = np.unique(mask, return_counts=True)
        above = found[found != 0]
        largest = found[-1]
        if len(above) == 1 and largest in WHITES:
            return float(largest) / 2
        if found[0] >= 0:
            for white in WHITES[1:]:
                if is_noise(found, counts, white, lossy=lossy):
                    return white / 2
        if found[0] < 0 or largest in (*values, *WHITES[1:]):
            raise ValueError(
                f"the mask holds the values {few(above.tolist())}, but only {list(values)} is "
                f"declared ({dict(self.classes)}). If some mark pixels that nobody decided, set "
                "labels.ignore to them; if they are classes, add them to labels.classes; if all "
                "above one is foreground, set labels.threshold."
            )
        raise ValueError(
            f"the mask's largest value is {largest:.7g}, which is neither declared "
            f"({dict(self.classes)}) nor near 1, 255 or 65535 as noise is. Add it to "
            "labels.classes, or set labels.threshold: values above it are foreground."
        )

    def decode(
        self, planes: Shaped[np.ndarray, "k *space"]
    ) -> UInt8[np.ndarray, "*space"] | UInt8[np.ndarray, "k *space"]:
        """Turn bits or probabilities into a label map.

        one_class: 0 and 1, cut at 0.5. exclusive: 0 is the background, then the classes in their
        order (argmax). regions: a bit per plane, cut at 0.5.
        """
        if self.kind == "exclusive":
            return planes.argmax(axis=0).astype(np.uint8)
        bits = (planes >= 0.5).astype(np.uint8)
        return bits[0] if self.kind == "one_class" else bits

    def bits(self, planes: Shaped[np.ndarray, "k *space"]) -> Bool[np.ndarray, "k *space"]:
        """Return the likeliest bits of probabilities: exclusive classes' argmax, others' halves."""
        if self.kind == "exclusive":
            return np.arange(len(planes)).reshape(-1, *[1] * (planes.ndim - 1)) == planes.argmax(
                axis=0
            )
        return planes >= 0.5

    def class_masks(self, label_map: Integer[np.ndarray, "*any"]) -> dict[str, np.ndarray]:
        """Turn a label map of `decode` into one boolean mask per class, without the background."""
        if self.kind == "regions":
            return {name: label_map[i] > 0 for i, name in enumerate(self.class_names)}
        return {name: label_map == i for i, name in enumerate(self.class_names, start=1)}

    @property
    def written_values(self) -> tuple[int, ...] | None:
        """Return the value that each class has in a mask file; of several the first.

        Regions that lie in each other each have a value that no smaller one has, and a file is
        painted with them, the largest first. None for regions that overlap in another way.
        """
        if self.kind != "regions":
            return tuple(values[0] for values in self.classes.values())
        regions = [frozenset(values) for values in self.classes.values()]
        for one, other in combinations(regions, 2):
            if one & other and not (one < other or other < one):
                return None
        own = [one.difference(*(other for other in regions if other < one)) for one in regions]
        return tuple(min(each) for each in own) if all(own) else None

    def to_file(self, label_map: Integer[np.ndarray, "*any"]) -> Integer[np.ndarray, "*space"]:
        """Turn a label map of `decode` into the values that `encode` reads, as small integers.

        Only where there are `written_values`.
        """
        values = self.written_values
        assert values is not None
        dtype = np.result_type(*(np.min_scalar_type(value) for value in (0, *values)))
        if self.kind != "regions":
            return np.array([0, *values], dtype=dtype)[label_map]
        written = np.zeros(label_map.shape[1:], dtype=dtype)
        sizes = [len(each) for each in self.classes.values()]
        for plane in sorted(range(len(values)), key=lambda plane: -sizes[plane]):
            written[label_map[plane] > 0] = values[plane]
        return written
