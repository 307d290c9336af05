"""A lower bound on the memory of a training, known before anything is allocated."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hidiff.training.stages import IN_TURNS, Stage

CGROUP = Path("/sys/fs/cgroup")  # the limits of a container under Linux (version 2)
TRAINED_COPIES = 4  # weights, gradients, AdamW's two moments
REFINER_COPIES = 5  # the same, and the average
# Main memory that the first iteration takes whatever its size: code that libraries load then, and
# their workspaces. Measured on the smallest recipe of research/reliability/memory_estimate.py.
LIBRARIES = 100 * 2**20


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes, counted from the shapes of the tensors that must be there at one time.

    A lower bound: workspaces of convolutions, gradients on their way back and the allocator's waste
    come on top. research/reliability/memory_estimate.py measures by how much.
    """

    weights: int
    """weights of both networks, with gradients, moments and average"""
    activations: int
    """values that one part of a batch keeps for the way back"""
    cache: int
    """decoded training images; always in main memory"""
    libraries: int = LIBRARIES
    """always in main memory"""

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.cache + self.libraries

    def __str__(self) -> str:
        return (
            f"{gib(self.total)} (weights and optimizers {gib(self.weights)}, activations "
            f"{gib(self.activations)}, cached images {gib(self.cache)}, libraries "
            f"{gib(self.libraries)})"
        )


def gib(count: int) -> str:
    """Write bytes as "1.25 GiB"."""
    return f"{count / 2**30:.2f} GiB"


def count_activations(
    segmentor: nn.Module,
    refiner: nn.Module,
    *,
    num_images: int,
    channels: int,
    planes: int,
    patch_size: tuple[int, int],
    stage: Stage = IN_TURNS,
) -> int:
    """Return the bytes that one step keeps for the way back, of networks on the meta device.

    Tensors there have shapes and no content, so this costs nothing, whatever the size. A stage that
    does not train the segmentor keeps nothing of it.
    """
    image = torch.empty(num_images, channels, *patch_size, device="meta")
    mask = torch.empty(num_images, planes, *patch_size, device="meta")
    t = torch.empty(num_images, dtype=torch.long, device="meta")
    own = {
        parameter.untyped_storage()._cdata
        for network in (segmentor, refiner)
        for parameter in network.parameters()
    }
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()._cdata
        if place not in own:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.set_grad_enabled(stage.trains_segmentor):
            logits, features, *_ = segmentor(image)
        refiner(image, mask, logits.sigmoid(), t, features)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def count_weights(segmentor: nn.Module, refiner: nn.Module, stage: Stage = IN_TURNS) -> int:
    """Return the bytes of both networks, with the gradients and moments of those that a stage moves
    and the refiner's average."""

    def size(network: nn.Module) -> int:
        return sum(weight.numel() * weight.element_size() for weight in network.parameters())

    copies = TRAINED_COPIES if stage.trains_segmentor else 1
    return copies * size(segmentor) + REFINER_COPIES * size(refiner)


def memory_of(device: torch.device) -> tuple[int, int]:
    """Return (all, free) bytes of a GPU, or of the main memory that this process may use."""
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        return whole, free
    import psutil  # deferred: prediction, which imports this module too, does without it

    memory = psutil.virtual_memory()
    whole, free = memory.total, memory.available
    with contextlib.suppress(OSError, ValueError):  # no container, or "max": no limit
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        whole, free = min(whole, limit), min(free, max(limit - used, 0))
    return whole, free
