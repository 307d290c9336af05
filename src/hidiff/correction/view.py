"""The readable part of a session: facts about its image, its maps, and its record."""

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Shaped

from hidiff.correction.history import Change, History
from hidiff.correction.maps import SessionMaps
from hidiff.correction.places import check_slice
from hidiff.correction.record import Locks, label_names
from hidiff.images import Image
from hidiff.labels import Labels

F = TypeVar("F", bound=Callable[..., Any])


def locked(method: F) -> F:
    """Let one thread at a time into a session."""

    @wraps(method)
    def run(self: "SessionView", *args: Any, **options: Any) -> Any:
        with self.mutex:
            return method(self, *args, **options)

    return run  # pyright: ignore[reportReturnType] (the same signature)


class SessionView:
    """A session without what changes it."""

    def __init__(self, maps: SessionMaps, history: History):
        self.mutex = RLock()
        """held while a call changes or reads the session"""
        self.revision = 0
        """goes up by one with every change, undo and redo"""
        self._maps = maps
        self._history = history
        self._changed: Change | None = None

    # Facts

    @property
    def name(self) -> str:
        """The name of the image, and of the files that `write` makes."""
        return self._maps.opened.name

    @property
    def image(self) -> Image:
        """The image, with its raw values."""
        return self._maps.opened.opened

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the image as given, without channels."""
        return self.image.geometry.native_shape

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that a mark can have: the classes, and "background"."""
        return label_names(self._labels)

    @property
    def num_slices(self) -> int:
        """Number of slices; 1 of a picture."""
        return self.image.geometry.shape[0]

    @property
    @locked
    def marks(self) -> tuple[dict[str, Any], ...]:
        """The record in order, in plain values; undone entries are left out."""
        return tuple(entry.describe(self._labels) for entry in self._history.record)

    @property
    @locked
    def can_undo(self) -> bool:
        """True if there is anything to undo."""
        return self._history.position > 0

    @property
    @locked
    def can_redo(self) -> bool:
        """True if something was undone that can be done again."""
        return self._history.position < len(self._history.steps)

    @locked
    def locked_area(self, number: int) -> Bool[np.ndarray, "h w"]:
        """Return the pixels of a slice that are locked, without those of locked labels."""
        locks = Locks.of(self._history.record, self._labels)
        return locks.area(number, self.image.geometry.size)

    # Ahead

    def segment(self, slice: int = 0) -> None:
        """Predict a slice before it is needed, and those that are predicted with it.

        Meanwhile other threads go on with the session: they do not wait for the networks.
        """
        check_slice(slice, self.image.geometry)
        with self.mutex:
            if self._maps.is_at_hand(slice):
                self._maps.need(slice)
                return
        found = self._maps.predict(slice)
        with self.mutex:
            self._maps.take(found)

    def prepare(self, slice: int = 0) -> None:
        """Do the work that the first mark on a slice would wait for, while nobody waits.

        It predicts the slice, and looks at windows that marks may change: all of them if the
        session starts from a given mask, those that were certain otherwise; as many as there is
        room for (`cache_mb`). It takes as long as the segmentor on the whole slice. Meanwhile other
        threads go on with the session.
        """
        self.segment(slice)
        with self.mutex:
            keep = self._maps.keep.copy()
        self._maps.see_ahead(slice, keep)
        with self.mutex:
            self._maps.keep.take(keep)

    # Maps

    @property
    def labels(self) -> Shaped[np.ndarray, "*native"]:
        """Integers, as `Prediction.labels` has them."""
        return self._native("labels")

    @property
    def probability(self) -> Shaped[np.ndarray, "*native"]:
        """Probability of each plane, 0..1; sums to 1 over exclusive planes."""
        return self._native("probability")

    @property
    def uncertainty(self) -> Shaped[np.ndarray, "*native"]:
        """Entropy of the probability in bits; of each plane, for regions."""
        return self._native("uncertainty")

    @property
    def prior(self) -> Shaped[np.ndarray, "*native"]:
        """Probability of each plane before the refiner: the segmentor's, or the one given."""
        return self._native("prior")

    @property
    @locked
    def changed(self) -> Change | None:
        """The box and mask of the latest change; None before the first."""
        return self._changed

    @locked
    def slice_maps(self, number: int) -> dict[str, Shaped[np.ndarray, "*k h w"]]:
        """Return copies of the maps of one slice: labels, probability, uncertainty and prior."""
        self._maps.need(number)
        names = ("labels", "probability", "uncertainty", "prior")
        return {name: self._maps.arrays[name][..., number, :, :].copy() for name in names}

    @property
    def _labels(self) -> Labels:
        return self._maps.predictor.labels

    @locked
    def _native(self, name: str) -> Shaped[np.ndarray, "*native"]:
        self._maps.need_all()
        return self.image.geometry.native(self._maps.arrays[name]).copy()
