"""Run a module once and find which of its layers give features, at which strides."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.outputs import find_logits, find_maps, take_map

# Not square, so that rows, columns and channels are told apart; of stride 64 six pixels are left.
TRIAL_SIZE = (128, 192)
MOST_SHOWN = 4  # layers of a stride in an error


class Found(NamedTuple):
    """A layer that gives a map of the image."""

    name: str
    channels: int


@contextmanager
def catching(network: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Catch the outputs of the named layers in the block, in the order in which they ended.

    If a layer is called more than once, its last output counts. Hooks live for one block, so that
    a copy of the network catches its own layers, and hear their own thread alone.
    """
    caught: dict[str, Any] = {}
    thread = get_ident()

    def catch_as(name: str):
        def catch(module: nn.Module, args: object, output: Any) -> None:
            if get_ident() != thread:  # another thread predicts with the same network
                return
            caught.pop(name, None)
            caught[name] = output

        return catch

    handles = [network.get_submodule(name).register_forward_hook(catch_as(name)) for name in names]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Switch to eval mode without gradients in the block, and put the network's modes back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def blank(network: nn.Module, channels: int, size: tuple[int, int]) -> Tensor:
    """Return a trial image on the network's device."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    return torch.zeros(1, channels, *size, device=device)


def try_out(network: nn.Module, image: Tensor, names: Iterable[str]) -> tuple[Any, dict[str, Any]]:
    """Return the network's output for a trial image, and the outputs of the named layers."""
    with at_rest(network), catching(network, names) as caught:
        try:
            return network(image), caught
        except Exception as error:  # of anybody's module, which may fail in any way
            raise ValueError(
                f"{type(network).__name__} fails on a trial image {tuple(image.shape)}: {error}. "
                "If it takes images of one size only, name it: size=(224, 224); if of other "
                "channels, image_channels=1."
            ) from error


def survey(
    network: nn.Module, image_channels: int, size: tuple[int, int]
) -> tuple[dict[int, list[Found]], Any]:
    """Return the layers with parameters that give a map, by stride, and the output.

    Layers stand in the order in which they end.

    Layers without any (dropout, softmax) only pass on or weigh what another made.
    """
    names = [
        name
        for name, module in network.named_modules()
        if name and next(module.parameters(), None) is not None
    ]
    found: dict[int, list[Found]] = {}
    output, caught = try_out(network, blank(network, image_channels, size), names)
    for name, came in caught.items():
        for place in find_maps(came, 1, *size):
            channels = take_map(came, place, *size).shape[1]
            found.setdefault(place.stride, []).append(Found(name, channels))
    return dict(sorted(found.items())), output


def propose_features(
    module: nn.Module,
    image_channels: int = 3,
    size: tuple[int, int] | None = None,
    logits: str | int | None = None,
) -> dict[int, str]:
    """Run a module once and propose a layer for each of the strides 4, 8, 16 and 32 that it has.

    Of the layers of a stride, the last to end: so a decoder's before an encoder's, and a whole
    block's before that of a layer within it. A layer with as many channels as there are classes is
    taken for a head, and only if there is no other. Without stride 4 the nearest finer one is
    proposed too, to be pooled. `size` is (height, width) of the trial image, for a module that
    takes one only. Raises ValueError, with what was found, if nothing lies between 1 and 32.
    """
    height, width = size or TRIAL_SIZE
    found, output = survey(module, image_channels, (height, width))
    place = find_logits(output, blank(module, image_channels, (height, width)), _text(logits))
    planes = take_map(output, place, height, width).shape[1]
    wanted = [stride for stride in STRIDES if stride in found]
    if STRIDES[0] not in found:
        wanted += [max((stride for stride in found if stride < STRIDES[0]), default=0)]
    proposed = {}
    for stride in sorted(filter(None, wanted)):
        bodies = [each for each in found[stride] if each.channels != planes]
        proposed[stride] = (bodies or found[stride])[-1].name
    if not proposed:
        raise ValueError(
            f"no layer of {type(module).__name__} gives features at a stride of 1 to {STRIDES[-1]} "
            f"of an image of {height}x{width}: {describe(found)}. Wrap it with features={{}}: "
            "then the refiner looks at the image with an encoder of its own."
        )
    return proposed


def describe(found: dict[int, list[Found]]) -> str:
    """Write the layers as text, such as "stride 4: stem (8 channels); stride 8: deep"."""
    lines = []
    for stride, layers in found.items():
        shown = [f"{each.name} ({each.channels} channels)" for each in layers[-MOST_SHOWN:]]
        more = ["..."] if len(layers) > MOST_SHOWN else []
        lines.append(f"stride {stride}: {', '.join([*more, *shown])}")
    return "found were " + "; ".join(lines) if lines else "no layer gave any map"


def _text(name: str | int | None) -> str | None:
    return None if name is None else str(name)
