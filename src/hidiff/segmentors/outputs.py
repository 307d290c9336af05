"""Find feature maps in the output of a network or a layer, whatever they come wrapped in."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

LOGITS = ("logits", "out")  # what transformers and torchvision call them
PREFIX_TOKENS = (0, 1, 5)  # a class token, and four registers beside it


class Place(NamedTuple):
    """The place and the layout of a map in an output."""

    path: str
    """ "" for a bare tensor, else as in "1", "out" or "hidden_states.2" """
    layout: str
    """channels_first (b c h w), channels_last (b h w c) or tokens (b n c)"""
    stride: int


def tensors_of(output: Any, path: str = "") -> dict[str, Tensor]:
    """Return every tensor of a tensor, tuple, list, dict or dataclass, by its path."""
    if isinstance(output, Tensor):
        return {path: output}
    if isinstance(output, Mapping):
        items = output.items()
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        items = [(each.name, getattr(output, each.name)) for each in dataclasses.fields(output)]
    elif isinstance(output, tuple) and (names := getattr(output, "_fields", None)):  # named
        items = zip(names, output, strict=True)
    elif isinstance(output, Sequence) and not isinstance(output, str | bytes):
        items = enumerate(output)
    else:
        return {}
    found: dict[str, Tensor] = {}
    for name, value in items:
        found |= tensors_of(value, f"{path}.{name}" if path else str(name))
    return found


def find_maps(output: Any, batch: int, height: int, width: int) -> list[Place]:
    """Find every tensor of an output that is a map of the image at a whole stride."""
    places = []
    for path, tensor in tensors_of(output).items():
        found = _lie_of(tuple(tensor.shape), batch, height, width)
        if found:
            places.append(Place(path, *found))
    return places


def take_map(
    output: Any, place: Place, height: int, width: int
) -> Float[Tensor, "b channels rows columns"]:
    """Return the map at a place, channels first, for an image of (height, width)."""
    found = tensors_of(output)
    if place.path not in found:
        raise ValueError(
            f"a layer gave {place.path!r} for the trial image, and now gives "
            f"{', '.join(found) or 'no tensor'}. Name a layer that always gives the same."
        )
    tensor = found[place.path]
    if place.layout == "channels_last":
        return tensor.movedim(-1, 1)
    if place.layout == "tokens":
        rows, columns = height // place.stride, width // place.stride
        grid = tensor[:, tensor.shape[1] - rows * columns :]
        return grid.transpose(1, 2).unflatten(2, (rows, columns))
    return tensor


def find_logits(output: Any, image: Tensor, name: str | None) -> Place:
    """Find the logits among a network's outputs.

    The one of that name, if it has one. Else of several maps the one called logits or out, else the
    finest, and of equally fine ones the first (deep supervision gives several).
    """
    batch, _, height, width = image.shape
    places = {each.path: each for each in find_maps(output, batch, height, width)}
    wanted = (name,) if name is not None else LOGITS
    for path in wanted:
        if path in places:
            return places[path]
    if name is None and places:
        return min(places.values(), key=lambda place: place.stride)
    came = [f"{path or 'one tensor'} {tuple(t.shape)}" for path, t in tensors_of(output).items()]
    what = f"no map called {name!r}" if name is not None else "no map of the image"
    raise ValueError(
        f"{what} is in the output for an image {tuple(image.shape)}: "
        f"{', '.join(came) or type(output).__name__} came, but logits (batch, planes, height, "
        "width) of the image's size, or smaller by a whole factor, are wanted. Name them "
        "(logits='1', logits='out'), or wrap it in a module that returns them."
    )


def take_logits(output: Any, place: Place, height: int, width: int) -> Float[Tensor, "b k h w"]:
    """Return the logits at a place, interpolated to the image's size if they are smaller."""
    logits = take_map(output, place, height, width)
    if place.stride == 1:
        return logits
    return functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)


def _lie_of(shape: tuple[int, ...], batch: int, height: int, width: int) -> tuple[str, int] | None:
    """Return (layout, stride) of a tensor of that shape, or None if it is no map of the image."""
    if not shape or shape[0] != batch:
        return None
    if len(shape) == 4:
        for layout, sides in (("channels_first", shape[2:]), ("channels_last", shape[1:3])):
            if stride := _stride(sides, height, width):
                return layout, stride
    if len(shape) == 3:
        for extra in PREFIX_TOKENS:
            for stride in range(1, min(height, width) + 1):
                if height % stride or width % stride:
                    continue
                if (height // stride) * (width // stride) + extra == shape[1]:
                    return "tokens", stride
    return None


def _stride(sides: tuple[int, ...], height: int, width: int) -> int | None:
    """Return the whole factor by which the sides are smaller than the image's."""
    rows, columns = sides
    if not rows or not columns or height % rows or width % columns:
        return None
    stride = height // rows
    return stride if stride == width // columns else None
