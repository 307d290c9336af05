"""A picture's prediction as PNG or TIFF: labels to look at, probabilities to compute with.

Labels of one class and of regions are 0 and 255 (a plane each); exclusive classes have the values
of the masks that the model was trained on. In a 16-bit PNG, 65535 is probability 1, and the highest
possible uncertainty: log2(K) bits for K exclusive planes, otherwise 1 bit.
"""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8, UInt16
from PIL import Image

from hidiff.prediction.endings import ENDINGS
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.common import Files, PredictionFormat, plane_stems, writes_bytes


def png_files(prediction: Prediction, uncertainty: bool) -> Files:
    """Write labels, uncertainty and probability as PNGs of 8 and 16 bits."""
    planes = plane_stems(prediction.classes.plane_names)
    labels = visible_labels(prediction)
    shares = prediction.uncertainty / prediction.most_bits
    if labels.ndim == 2:
        yield "_labels.png", writes_bytes(image_bytes([labels], "PNG"))
        yield "_uncertainty.png", writes_bytes(image_bytes([to_16_bit(shares)], "PNG"))
    else:
        for plane, bits in zip(planes, labels, strict=True):
            yield f"_labels_{plane}.png", writes_bytes(image_bytes([bits], "PNG"))
        for plane, share in zip(planes, shares, strict=True):
            content = image_bytes([to_16_bit(share)], "PNG")
            yield f"_uncertainty_{plane}.png", writes_bytes(content)
    if prediction.probability is not None:
        for plane, probability in zip(planes, prediction.probability, strict=True):
            content = image_bytes([to_16_bit(probability)], "PNG")
            yield f"_probability_{plane}.png", writes_bytes(content)


def tiff_files(prediction: Prediction, uncertainty: bool) -> Files:
    """Write labels, probability and uncertainty as TIFFs with a page for each plane."""
    pages = {
        "_labels.tiff": visible_labels(prediction),
        "_probability.tiff": prediction.probability,
        "_uncertainty.tiff": prediction.uncertainty,
    }
    for ending, maps in pages.items():
        if maps is not None:
            content = image_bytes(maps.reshape(-1, *maps.shape[-2:]), "TIFF")
            yield ending, writes_bytes(content)


def visible_labels(
    prediction: Prediction,
) -> Integer[np.ndarray, "h w"] | UInt8[np.ndarray, "k h w"]:
    """Return bits as 0 and 255, so that a viewer shows them; exclusive classes as in the masks."""
    labels = prediction.labels
    if prediction.classes.kind == "exclusive":
        written = prediction.classes.to_file(labels)
        # a PNG holds 0 to 65535; classes of other values are numbered in their order
        return written if written.dtype in (np.uint8, np.uint16) else labels
    return np.where(labels > 0, 255, 0).astype(np.uint8)


def to_16_bit(share: Float[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """Return 0..1 as 0..65535; a rounding error beyond either end is cut off."""
    return np.round(np.clip(share, 0, 1) * 65535).astype(np.uint16)


def image_bytes(
    pages: Sequence[Shaped[np.ndarray, "h w"]] | Shaped[np.ndarray, "k h w"], format: str
) -> bytes:
    """Return the content of a picture file, with one page for each array."""
    first, *others = (Image.fromarray(np.ascontiguousarray(page)) for page in pages)
    buffer = io.BytesIO()
    if format == "TIFF":
        first.save(
            buffer, format, compression="tiff_adobe_deflate", save_all=True, append_images=others
        )
    else:
        first.save(buffer, format)
    return buffer.getvalue()


PNG = PredictionFormat(ENDINGS["png"], png_files)
TIFF = PredictionFormat(ENDINGS["tiff"], tiff_files)
