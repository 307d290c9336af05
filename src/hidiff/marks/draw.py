"""A person's marks, in their order, as hint planes and as evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hidiff.marks.footprint import Size
from hidiff.marks.mark import Mark

NOBODY = -1  # the author of a bit that no mark speaks of


@dataclass(frozen=True)
class Drawn:
    """The hints and the evidence of marks, for every pixel of every plane."""

    hints: Float[Tensor, "k h w"]
    """+1: this class; -1: not this class; 0: nothing said"""
    exact: Bool[Tensor, "k h w"]
    """True where a hint is certain"""
    author: Int[Tensor, "k h w"]
    """the place in the order of the mark that a hint comes from; -1: of none"""
    contradicted: Bool[Tensor, "h w"]
    """pixels where a mark said the opposite of an earlier one"""
    overruled: tuple[tuple[int, int], ...]
    """(earlier, later) mark of each contradiction"""

    @property
    def y0(self) -> Float[Tensor, "k h w"]:
        """The hints as bits of the clean mask, for evidence; 0 where nothing is said."""
        return (self.hints > 0).to(self.hints.dtype)


def draw_marks(
    marks: Sequence[Mark],
    size: Size,
    image_size: Size,
    num_planes: int,
    *,
    exclusive: bool = False,
) -> Drawn:
    """Draw marks of an image of `image_size` on planes of `size`, the later over the earlier.

    A pixel that a mark touches counts. The background (`plane` None) is -1 in every plane. Of
    exclusive classes plane 0 is the background, +1 in one plane is -1 in all others, and where all
    planes but one are ruled out, that one is +1.

    Where a mark contradicts an earlier one, the later one is obeyed. Of exclusive classes all that
    was said of such a pixel is then forgotten, as what is left might rule out every class.

    Raises ValueError, naming the mark's place in the order, for one that does not fit.
    """
    canvas = _Canvas(size, num_planes, exclusive)
    for number, mark in enumerate(marks):
        try:
            says = _statement(mark, num_planes, exclusive)
            footprint = mark.footprint(size, image_size)
        except ValueError as error:
            raise ValueError(f"mark {number}: {error}") from error
        canvas.put(number, says, mark.exact, footprint.box, footprint.mask)
    return canvas.drawn()


def _statement(mark: Mark, num_planes: int, exclusive: bool) -> np.ndarray:
    """Return what a mark says of each plane: -1, 0 or +1."""
    says = np.zeros(num_planes, dtype=np.int8)
    plane = 0 if mark.plane is None and exclusive else mark.plane
    if plane is None:
        if not mark.add and num_planes > 1:
            raise ValueError(
                "it says that a place is not background, but not which of the classes it is. Mark "
                "one of them."
            )
        says[:] = -1 if mark.add else 1
        return says
    if plane >= num_planes:
        raise ValueError(f"it speaks of plane {plane}, but there are {num_planes}, from 0")
    if exclusive and mark.add:
        says[:] = -1
    says[plane] = 1 if mark.add else -1
    return says


class _Canvas:
    """Planes that marks are put on, one after the other."""

    def __init__(self, size: Size, num_planes: int, exclusive: bool):
        self.exclusive = exclusive
        self.hints = np.zeros((num_planes, *size), dtype=np.int8)
        self.exact = np.zeros((num_planes, *size), dtype=bool)
        self.author = np.full((num_planes, *size), NOBODY, dtype=np.int32)
        self.contradicted = np.zeros(size, dtype=bool)
        self.overruled: list[tuple[int, int]] = []

    def put(
        self, number: int, says: np.ndarray, exact: bool, box: tuple, touched: np.ndarray
    ) -> None:
        """Put a statement on the touched pixels of a box."""
        hints, sure, author = (each[:, *box] for each in (self.hints, self.exact, self.author))
        said = says[:, None, None]
        against = (hints * said < 0) & touched
        earlier = np.unique(author[against])
        self.overruled += [(int(each), number) for each in earlier]
        self.contradicted[box] |= against.any(axis=0)
        if self.exclusive:
            forgotten = np.broadcast_to(against.any(axis=0), hints.shape)
            hints[forgotten], sure[forgotten], author[forgotten] = 0, False, NOBODY
        speaks = (said != 0) & touched
        # the same said again does not make what is certain doubtful
        sure[speaks] = exact | (sure & (hints == said))[speaks]
        author[speaks] = number
        np.copyto(hints, said, where=speaks)
        if self.exclusive:
            self._conclude(number, hints, sure, author, touched)

    @staticmethod
    def _conclude(
        number: int, hints: np.ndarray, sure: np.ndarray, author: np.ndarray, touched: np.ndarray
    ) -> None:
        """Set the last plane to +1 where all others are ruled out."""
        ruled_out = hints < 0
        single = (ruled_out.sum(axis=0) == len(hints) - 1) & touched
        last = single & (hints == 0)
        certain = (sure | ~ruled_out).all(axis=0)
        np.copyto(sure, certain, where=last)
        author[last] = number
        hints[last] = 1

    def drawn(self) -> Drawn:
        """Return hints and evidence of all marks together."""
        return Drawn(
            hints=torch.from_numpy(self.hints).float(),
            exact=torch.from_numpy(self.exact),
            author=torch.from_numpy(self.author),
            contradicted=torch.from_numpy(self.contradicted),
            overruled=tuple(self.overruled),
        )
