"""The order of cases in batches, which a resumed run or another rank finds again."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from hidiff.seeding import generator


class Draws(Sampler[list[tuple[int, int]]]):
    """Endless batches of keys (epoch, case number), for a DataLoader's `batch_sampler`.

    Every epoch shows each case once, in an order that is a function of (seed, epoch). Epochs run
    on into one another, so a batch may hold the end of one and the start of the next. Batches are
    counted over all ranks: `batch_size` is the size of the whole, of which each rank takes its
    slice. A resumed run begins at batch `first_batch`.
    """

    def __init__(
        self,
        num_cases: int,
        seed: int,
        batch_size: int,
        first_batch: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if num_cases < 1 or batch_size < 1:
            raise ValueError(
                f"{num_cases} cases in batches of {batch_size} make no batch: both must be 1 or "
                "more. Check that the training split is not empty."
            )
        if batch_size % world:
            raise ValueError(
                f"batch_size is {batch_size}, but {world} processes share it evenly: "
                f"use a multiple of {world}."
            )
        self.num_cases = num_cases
        self.seed = seed
        self.batch_size = batch_size
        self.first_batch = first_batch
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.world
        place = self.first_batch * self.batch_size + self.rank * share
        epoch, order = -1, []
        while True:
            keys = []
            for position in range(place, place + share):
                if position // self.num_cases != epoch:
                    epoch = position // self.num_cases
                    order = self._order(epoch)
                keys.append((epoch, order[position % self.num_cases]))
            yield keys
            place += self.batch_size

    def _order(self, epoch: int) -> list[int]:
        draws = generator(self.seed, "order", epoch)
        return torch.randperm(self.num_cases, generator=draws).tolist()
