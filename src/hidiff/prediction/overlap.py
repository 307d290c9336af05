"""Read, predict and write at once: while one image is predicted, the next is being read.

Reading and writing have a thread each; prediction stays in the thread of the caller.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Result = TypeVar("Result")

AHEAD = 4  # images that are read before their turn, and as many that wait to be written


class Stages(Generic[Item, Read, Result]):
    """The three stages that an item goes through, and how it ends.

    An error of one stage ends that item alone: `end` is called with it.
    """

    def weigh(self, item: Item) -> int:
        """Return about how many bytes the item takes until it is written."""
        return 0

    def read(self, item: Item) -> Read | None:
        """Read the item, in a thread of its own; None ends it without the other stages."""
        raise NotImplementedError

    def predict(self, item: Item, read: Read) -> Result:
        """Predict the item, in the thread of the caller."""
        raise NotImplementedError

    def write(self, item: Item, result: Result) -> None:
        """Write the item, in a thread of its own."""
        raise NotImplementedError

    def end(self, item: Item, error: Exception | None) -> None:
        """Take the end of an item, in the thread of the caller; raising here ends them all."""
        raise NotImplementedError

    def drop(self, item: Item) -> None:
        """Give up an item that was read, or begun to be, and that nobody will predict."""


def overlap(
    items: Iterable[Item], stages: Stages[Item, Read, Result], most_bytes: int, ahead: int = AHEAD
) -> None:
    """Take every item through its stages, in order.

    At most `ahead` items are read before their turn, and at most as many wait to be written. An
    item is only read while all those in work, it included, weigh at most `most_bytes`, or when it
    is alone: so a larger one is read, predicted and written by itself. An exception that is no
    item's own (Ctrl-C, or one that `end` raises) ends all, after what was predicted is written.
    """
    _Overlap(stages, most_bytes, ahead).run(iter(items))


class _Overlap(Generic[Item, Read, Result]):
    """The items that are being read and written, in order."""

    def __init__(self, stages: Stages[Item, Read, Result], most_bytes: int, ahead: int):
        self.stages = stages
        self.ahead = ahead
        self.room = _Room(most_bytes)
        self.reader = ThreadPoolExecutor(1, "read")
        self.writer = ThreadPoolExecutor(1, "write")
        self.reading: deque[tuple[Item, Future[tuple[int, Read | None]]]] = deque()
        self.writing: deque[tuple[Item, Future[None]]] = deque()

    def run(self, items: Iterator[Item]) -> None:
        with self.writer, self.reader:
            try:
                self.read_ahead(items)
                while self.reading:
                    item, future = self.reading[0]
                    wait([future])
                    self.reading.popleft()
                    self.read_ahead(items)
                    self.predict(item, future)
                    del future  # it holds the image
                    self.end_written(self.ahead)
                self.end_written(0)
            except BaseException:
                self.stop()
                raise

    def read_ahead(self, items: Iterator[Item]) -> None:
        while len(self.reading) < self.ahead:
            try:
                item = next(items)
            except StopIteration:
                return
            self.reading.append((item, self.reader.submit(self.read, item)))

    def read(self, item: Item) -> tuple[int, Read | None]:
        """Return what the item weighs, and what was read of it; runs in the reader's thread."""
        weight = self.room.take(self.stages.weigh(item))
        try:
            return weight, self.stages.read(item)
        except BaseException:
            self.room.give(weight)
            raise

    def predict(self, item: Item, future: "Future[tuple[int, Read | None]]") -> None:
        """Predict an item that was read, and hand it to the writer; or end it."""
        weight, error = 0, None
        try:
            weight, read = future.result()
            if read is not None:
                result = self.stages.predict(item, read)
                self.writing.append((item, self.writer.submit(self.write, item, weight, result)))
                return
        except Exception as failure:
            error = failure
        except BaseException:
            self.stages.drop(item)
            raise
        self.room.give(weight)
        self.stages.end(item, error)

    def write(self, item: Item, weight: int, result: Result) -> None:
        """Write an item; runs in the writer's thread."""
        try:
            self.stages.write(item, result)
        finally:
            self.room.give(weight)

    def end_written(self, most: int) -> None:
        """End the items that are written, and wait until at most `most` are not."""
        while self.writing and (len(self.writing) > most or self.writing[0][1].done()):
            item, future = self.writing[0]
            wait([future])
            self.writing.popleft()
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            self.stages.end(item, error)

    def stop(self) -> None:
        """Read nothing further, and write what was predicted."""
        self.room.close()
        begun = [item for item, future in self.reading if not future.cancel()]
        self.reader.shutdown()
        for item in begun:
            self.stages.drop(item)
        with contextlib.suppress(Exception):  # another one is on its way already
            self.end_written(0)


class _Room:
    """Bytes that the items in work may take together; one item alone may take more."""

    def __init__(self, most: int):
        self.most = most
        self.taken = 0
        self.closed = False
        self.changed = threading.Condition()

    def take(self, weight: int) -> int:
        """Wait until there is room for so many bytes, and take them."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.closed or not self.taken or self.taken + weight <= self.most
            )
            self.taken += weight
        return weight

    def give(self, weight: int) -> None:
        with self.changed:
            self.taken -= weight
            self.changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
