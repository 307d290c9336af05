"""What the classes of a data set are, and the mask planes they become.

One class: one plane, a sigmoid. Exclusive classes: one plane a class and one for the background,
a softmax. Overlapping regions (BraTS: whole tumour, core, enhancing): one plane a region, sigmoids.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Integer, Num, Shaped, UInt8
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # torch takes seconds to import; files are found, and mistakes refused, without it

BACKGROUND = "background"
# what result rows call the mean over the classes
MEAN = "mean"


class Labels(BaseModel):
    """The classes, by name, and the values that mean them in a mask file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["one_class", "exclusive", "regions"] = Field(
        description="one_class: sigmoid; exclusive: softmax with background; regions: sigmoids"
    )
    classes: Mapping[str, tuple[int, ...]] = Field(
        description="name -> the values that mean it in the mask; background (0) is implied"
    )
    threshold: float | None = Field(
        default=None,
        description="one_class only: a mask value above it is foreground. Without it: a mask of 0 "
        "and the class's values is taken at its word, any other is cut at half of 1, 255 or 65535, "
        "so that 0/1, 0/255 and JPEG masks are all read right",
    )

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
        """The prior: the segmentor's logits as probabilities."""
        return logits.softmax(dim=1) if self.kind == "exclusive" else logits.sigmoid()

    def encode(self, mask: Num[np.ndarray, "*space"]) -> Float[np.ndarray, "k *space"]:
        """A mask as it lies in a file -> bits, one plane a class.

        Raises ValueError for a value that no class declares.
        """
        return self.encode_bool(mask).astype(np.float32)

    def encode_bool(self, mask: Num[np.ndarray, "*space"]) -> Bool[np.ndarray, "k *space"]:
        """As `encode`, a byte a bit: for volumes."""
        if self.kind == "one_class":
            return self._foreground(mask)[None]
        declared = {0} | {value for each in self.classes.values() for value in each}
        found = np.unique(mask)
        unknown = [value for value in found.tolist() if value not in declared]
        if unknown:
            raise ValueError(
                f"the mask holds the values {_few(unknown)}, but only {sorted(declared)} are "
                f"declared ({dict(self.classes)}). Add them to labels.classes, or mend the mask."
            )
        planes = np.stack([np.isin(mask, values) for values in self.classes.values()])
        if self.kind == "exclusive":
            planes = np.concatenate([~planes.any(axis=0, keepdims=True), planes])
        return planes

    def _foreground(self, mask: Num[np.ndarray, "*space"]) -> Bool[np.ndarray, "*space"]:
        """Where the one class is."""
        cut = self.cut(mask)
        if cut is not None:
            return mask > cut
        (values,) = self.classes.values()
        return np.isin(mask, values)

    def cut(self, mask: Num[np.ndarray, "*space"]) -> float | None:
        """Of one class: the value above which a mask is foreground; None: taken at its word.

        Raises ValueError for a mask that can be read neither way.
        """
        if self.threshold is not None:
            return self.threshold
        (values,) = self.classes.values()
        if np.isin(mask, [0, *values]).all():
            return None
        largest = mask.max()
        for white in (1, 255, 65535):
            if white / 2 < largest <= white:
                return white / 2
        raise ValueError(
            f"the mask's largest value is {largest:g}, which is neither declared "
            f"({dict(self.classes)}) nor near 1, 255 or 65535. Add it to labels.classes, or set "
            "labels.threshold: values above it are foreground."
        )

    def decode(
        self, planes: Shaped[np.ndarray, "k *space"]
    ) -> UInt8[np.ndarray, "*space"] | UInt8[np.ndarray, "k *space"]:
        """Bits or probabilities -> a label map.

        one_class: 0 and 1, cut at 0.5. exclusive: 0 is the background, then the classes in their
        order (argmax). regions: a bit a plane, cut at 0.5.
        """
        if self.kind == "exclusive":
            return planes.argmax(axis=0).astype(np.uint8)
        bits = (planes >= 0.5).astype(np.uint8)
        return bits[0] if self.kind == "one_class" else bits

    def class_masks(self, label_map: Integer[np.ndarray, "*any"]) -> dict[str, np.ndarray]:
        """A label map of `decode` -> a boolean mask a class, background left out."""
        if self.kind == "regions":
            return {name: label_map[i] > 0 for i, name in enumerate(self.class_names)}
        return {name: label_map == i for i, name in enumerate(self.class_names, start=1)}

    @property
    def written_values(self) -> tuple[int, ...] | None:
        """The value that each class has in a mask file; of several the first.

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
        """A label map of `decode` -> what `encode` reads, in the smallest integers.

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


def _few(values: list, most: int = 6) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:most])
    return f"{shown}, ... ({len(values)} in all)" if len(values) > most else shown
