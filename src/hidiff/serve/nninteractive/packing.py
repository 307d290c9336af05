"""nnInteractive's packed arrays: a head, and chunks that blosc2 has compressed.

    b"NNIA", version (1 byte), codec, number of axes, length of the type's name, the name,
    each axis (8 bytes), number of chunks (4 bytes); of each chunk its length, its packed length
    (8 bytes each) and a blosc2 frame. All little-endian.

Read in the client's source, version 2.6.0. Reading trusts no number of the head.
"""

import math
import struct

import numpy as np
from jaxtyping import Shaped

from hidiff.extras import import_extra
from hidiff.serve.refusal import Refusal

MAGIC = b"NNIA"
VERSION = 1
ZSTD = 1
CODECS = (1, 2)  # ZSTD, LZ4; a frame says itself which
CHUNK = 2**30  # blosc2 takes 2 GiB at most
TYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16",
         "float32", "float64")  # fmt: skip
MOST_AXES = 4


def pack(array: Shaped[np.ndarray, "*any"]) -> bytes:
    """Return an array in the form of the protocol."""
    blosc2 = import_extra("blosc2", "app")
    array = np.ascontiguousarray(array)
    name = array.dtype.name.encode("ascii")
    head = struct.pack("<4sBBBB", MAGIC, VERSION, ZSTD, array.ndim, len(name)) + name
    head += struct.pack(f"<{array.ndim}q", *array.shape)
    content = array.tobytes()
    starts = range(0, len(content), CHUNK)
    parts = [head, struct.pack("<I", len(starts))]
    for start in starts:
        chunk = content[start : start + CHUNK]
        # blosc2 writes a frame that it cannot read if the type's size is wrong and all is zero
        packed = blosc2.compress2(
            chunk,
            typesize=array.dtype.itemsize,
            codec=blosc2.Codec.ZSTD,
            clevel=3,
            filters=[blosc2.Filter.NOFILTER],
        )
        parts += [struct.pack("<QQ", len(chunk), len(packed)), packed]
    return b"".join(parts)


def unpack(content: bytes, most_bytes: int) -> Shaped[np.ndarray, "*any"]:
    """Return the array. Raises ValueError for a damaged one, Refusal above `most_bytes`."""
    try:
        return _unpack(content, most_bytes)
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError("the packed array is cut off or damaged. Send it again.") from error


def _unpack(content: bytes, most_bytes: int) -> np.ndarray:
    magic, version, codec, ndim, length = struct.unpack_from("<4sBBBB", content, 0)
    if magic != MAGIC or version != VERSION or codec not in CODECS:
        raise ValueError("the body is no packed array of nnInteractive's protocol, version 1.")
    name = content[8 : 8 + length].decode("ascii")
    if name not in TYPES or not 1 <= ndim <= MOST_AXES:
        raise ValueError(f"the array is of {name[:20]!r} with {ndim} axes, which is not read.")
    offset = 8 + length
    shape = struct.unpack_from(f"<{ndim}q", content, offset)
    offset += 8 * ndim
    dtype = np.dtype(name)
    if any(side < 1 for side in shape):
        raise ValueError(f"the array has the shape {shape}, but sides of 1 or more are wanted.")
    total = math.prod(shape) * dtype.itemsize
    if total > most_bytes:
        raise Refusal(
            413,
            f"the array unpacks to {total / 2**20:.0f} MiB, but {most_bytes / 2**20:.0f} MiB are "
            "the most.",
        )
    return _join(content, offset, total).view(dtype).reshape(shape)


def _join(content: bytes, offset: int, total: int) -> np.ndarray:
    blosc2 = import_extra("blosc2", "app")
    (count,) = struct.unpack_from("<I", content, offset)
    offset += 4
    joined = np.empty(total, np.uint8)
    written = 0
    for _ in range(count):
        raw, packed = struct.unpack_from("<QQ", content, offset)
        offset += 16
        frame = content[offset : offset + packed]
        offset += packed
        if len(frame) != packed or written + raw > total:
            raise ValueError("the packed array is cut off or damaged. Send it again.")
        try:
            sizes = blosc2.get_cbuffer_sizes(frame)
            # the frame's own numbers are checked before it is unpacked into memory of that size
            if sizes[0] != raw or sizes[1] > packed:
                raise ValueError("the packed array is damaged. Send it again.")
            unpacked = blosc2.decompress2(frame)
        except (RuntimeError, TypeError) as error:
            raise ValueError("the packed array is damaged. Send it again.") from error
        if len(unpacked) != raw:
            raise ValueError("the packed array is damaged. Send it again.")
        joined[written : written + raw] = np.frombuffer(unpacked, np.uint8)
        written += raw
    if written != total:
        raise ValueError("the packed array is cut off. Send it again.")
    return joined
