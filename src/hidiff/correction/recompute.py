"""Refine one slice again within reach of marks, clamp them, and merge the result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from hidiff.correction.history import Patch
from hidiff.correction.maps import SessionMaps
from hidiff.correction.reach import box_around, dilate, touched_as_seen, touched_by
from hidiff.correction.record import Locks
from hidiff.correction.settings import CorrectionSettings
from hidiff.diffusion import Evidence
from hidiff.hybrid import know
from hidiff.images import find_view
from hidiff.labels import Labels
from hidiff.marks import Drawn, Mark, draw_marks, spread_marks
from hidiff.prediction import decide, entropy_bits
from hidiff.prediction.prediction import normalise_planes
from hidiff.prediction.reach import Guidance

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class SliceMarks:
    """All marks of a slice, the latest entry's last."""

    number: int
    marks: Sequence[Mark]
    latest: int
    """number of marks of the latest entry"""
    is_carried: Sequence[bool]
    """for each mark: True if it was carried on from a neighbouring slice"""

    @property
    def before(self) -> "SliceMarks":
        """Return the marks without those of the latest entry."""
        earlier = len(self.marks) - self.latest
        return SliceMarks(self.number, self.marks[:earlier], 0, self.is_carried[:earlier])

    def draw(self, size: Size, image_size: Size, labels: Labels) -> Drawn:
        """Draw all marks on planes of a size."""
        exclusive = labels.kind == "exclusive"
        return draw_marks(self.marks, size, image_size, labels.num_planes, exclusive=exclusive)

    def belief(
        self, image_size: Size, labels: Labels, log_odds: float
    ) -> Float[np.ndarray, "k h w"] | None:
        """Return the log-odds that carried marks add to the prior; None without any."""
        if not any(self.is_carried):
            return None
        added = np.zeros((labels.num_planes, *image_size), dtype=np.float32)
        for mark, is_carried in zip(self.marks, self.is_carried, strict=True):
            if is_carried and mark.plane is not None:
                footprint = mark.footprint(image_size, image_size)
                part = added[mark.plane][footprint.box]
                part[footprint.mask] = log_odds if mark.add else -log_odds
        return added


def recompute(
    maps: SessionMaps,
    placed: SliceMarks,
    drawn: Drawn,
    locks: Locks,
    odds: float,
    settings: CorrectionSettings,
) -> Patch:
    """Return the new maps within reach of the latest marks; nothing is changed yet.

    `drawn` are all marks of the slice at the image's own size.
    """
    maps.need(placed.number)
    opened, number = maps.opened, placed.number
    image_size = opened.opened.geometry.size
    latest = placed.marks[len(placed.marks) - placed.latest :]
    touched = touched_by(latest, image_size, image_size)
    seen = touched_as_seen(latest, touched, opened)
    if maps.refine and opened.sees(number) and seen.any():
        near = dilate(seen, settings.reach_px)
        probability = _refine(maps, placed, near, settings, drawn)
        reach = opened.from_seen(torch.from_numpy(near), nearest=True).numpy()
        # a mark that shrinks to nothing between resized pixels is within reach of itself
        reach |= touched
        if maps.mask is not None:
            # a given mask is right until a mark speaks against it, so what the networks would
            # change without the mark stays
            without = _refine(maps, placed.before, near, settings)
            reach &= _differ(probability, without, maps) | touched
        rows, columns = box_around(reach)
        probability = probability[:, rows, columns]
        if odds != 1:
            probability = scale_odds(probability, odds, maps.predictor.labels)
    else:
        reach = touched
        rows, columns = box_around(reach)
        there = maps.arrays["probability"][:, placed.number, rows, columns]
        probability = there.astype(np.float32)
    allowed = (reach & ~locks.area(placed.number, image_size))[rows, columns]
    return _merge(maps, placed.number, rows, columns, probability, drawn, allowed, locks)


def scale_odds(
    probability: Float[np.ndarray, "k h w"], odds: float, labels: Labels
) -> Float[np.ndarray, "k h w"]:
    """Return probabilities with the odds of every class multiplied; 0 and 1 stay as they are."""
    scaled = probability.astype(np.float32)
    if labels.kind == "exclusive":
        scaled[1:] *= np.float32(odds)
        return scaled / scaled.sum(axis=0, keepdims=True)
    return scaled * np.float32(odds) / (1 - scaled + scaled * np.float32(odds))


def _differ(
    left: Float[np.ndarray, "k h w"], right: Float[np.ndarray, "k h w"], maps: SessionMaps
) -> Bool[np.ndarray, "h w"]:
    """Return where two probabilities give different labels."""
    labels, rule = maps.predictor.labels, maps.settings.rule
    differ = decide(left, labels, rule) != decide(right, labels, rule)
    return differ.any(axis=0) if differ.ndim == 3 else differ


def _refine(
    maps: SessionMaps,
    placed: SliceMarks,
    reach: Bool[np.ndarray, "seen_h seen_w"],
    settings: CorrectionSettings,
    drawn: Drawn | None = None,
) -> Float[np.ndarray, "k h w"]:
    """Return the refined probability of a slice, at the image's size; it holds within reach.

    `drawn` are its marks at the image's size, if they were drawn before.
    """
    predictor, opened, number = maps.predictor, maps.opened, placed.number
    image_size, seen_size = opened.opened.geometry.size, opened.seen_size
    labels = predictor.labels
    if opened.crop is not None:
        whole = placed.draw(image_size, image_size, labels) if drawn is None else drawn
        hints, exact = (opened.to_seen(each, nearest=True) for each in (whole.hints, whole.exact))
    else:
        if drawn is None or seen_size != image_size:
            drawn = placed.draw(seen_size, image_size, labels)
        hints, exact = drawn.hints, drawn.exact
    belief = placed.belief(image_size, labels, settings.carry_log_odds)
    if belief is not None:
        belief = opened.to_seen(torch.from_numpy(belief))
    rows, columns, mean = predictor.refine_reach(
        opened.seen(number),
        opened.key(number),
        maps.settings,
        torch.from_numpy(reach),
        Guidance(hints, exact, belief),
        maps.keep,
    )
    if settings.spread:
        here = (slice(None), rows, columns)
        image = opened.seen(number)[0, : predictor.hybrid.segmentor.image_channels, rows, columns]
        y0 = (hints[here] > 0).float()
        mean = torch.from_numpy(
            spread_marks(
                image.numpy(), mean.numpy(), exact[here].numpy(), y0.numpy(), settings.spread
            )
        )
    former = torch.from_numpy(maps.arrays["probability"][:, number].astype(np.float32))
    seen = opened.to_seen(former).clone()
    inside = torch.from_numpy(reach)[rows, columns]
    seen[:, rows, columns] = torch.where(inside, mean, seen[:, rows, columns])
    probability = opened.from_seen(seen).numpy().clip(0, 1)
    if labels.kind == "exclusive":
        probability = normalise_planes(probability)
    if maps.settings.lit_view and opened.crop is None:
        view = find_view(opened.image[:, number].numpy())
        probability = probability * view
        if labels.kind == "exclusive":
            probability[0][~view] = 1
    return probability


def _merge(
    maps: SessionMaps,
    number: int,
    rows: slice,
    columns: slice,
    probability: Float[np.ndarray, "k rows columns"],
    drawn: Drawn,
    allowed: Bool[np.ndarray, "rows columns"],
    locks: Locks,
) -> Patch:
    """Clamp the marks, decide the labels, and keep what is not allowed to change."""
    labels = maps.predictor.labels
    here = (slice(None), rows, columns)
    known = drawn.exact[here]
    evidence = Evidence(known[None], drawn.y0[here][None])
    probability = know(torch.from_numpy(probability)[None], evidence, labels)[0].numpy()
    former = {
        name: maps.arrays[name][..., number, rows, columns]
        for name in ("labels", "probability", "uncertainty")
    }
    decided = _decide(maps, number, rows, columns, probability)
    decided = _obey(decided, probability, known.numpy(), drawn.y0[here].numpy(), labels)
    allowed = allowed & ~breaks_lock(former["labels"], decided, locks, labels)
    merged = {
        "labels": np.where(allowed, decided, former["labels"]),
        "probability": np.where(
            allowed, probability.astype(former["probability"].dtype), former["probability"]
        ),
        "uncertainty": np.where(
            allowed,
            entropy_bits(probability, labels).astype(former["uncertainty"].dtype),
            former["uncertainty"],
        ),
    }
    return Patch(number, rows, columns, merged)


def _decide(
    maps: SessionMaps, number: int, rows: slice, columns: slice, probability: np.ndarray
) -> UInt8[np.ndarray, "*k rows columns"]:
    """Return the labels of a box, by the rule of the prediction."""
    labels, rule = maps.predictor.labels, maps.settings.rule
    if rule == "half":
        return decide(probability, labels, rule)
    # the other rules read the whole slice
    whole = maps.arrays["probability"][:, number].astype(np.float32)
    whole[:, rows, columns] = probability
    return decide(whole, labels, rule)[..., rows, columns]


def _obey(
    decided: np.ndarray,
    probability: np.ndarray,
    known: Bool[np.ndarray, "k rows columns"],
    y0: Float[np.ndarray, "k rows columns"],
    labels: Labels,
) -> UInt8[np.ndarray, "*k rows columns"]:
    """Return labels that every mark agrees with, whatever the rule made of them."""
    if labels.kind != "exclusive":
        bits = np.where(known, y0 > 0, decided if labels.kind == "regions" else decided[None])
        bits = bits.astype(np.uint8)
        return bits if labels.kind == "regions" else bits[0]
    ruled_out = known & (y0 == 0)
    wrong = np.take_along_axis(ruled_out, decided[None].astype(np.intp), axis=0)[0]
    others = np.where(ruled_out, -1, probability).argmax(axis=0)
    return np.where(wrong, others, decided).astype(np.uint8)


def breaks_lock(
    former: np.ndarray, decided: np.ndarray, locks: Locks, labels: Labels
) -> Bool[np.ndarray, "rows columns"]:
    """Return the pixels that a locked class would gain or lose."""
    broken = np.zeros(decided.shape[-2:], dtype=bool)
    for plane in locks.planes:
        if labels.kind == "exclusive":
            broken |= (former == plane) != (decided == plane)
        elif labels.kind == "regions":
            broken |= former[plane] != decided[plane]
        else:
            broken |= former != decided
    return broken
