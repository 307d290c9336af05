"""A prediction as files: label maps to look at, probabilities and uncertainty to compute with."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8, UInt16
from PIL import Image

from hidiff.prediction.prediction import Prediction
from hidiff.weights import atomic_write


def write_prediction(
    prediction: Prediction,
    folder: Path | str,
    *,
    stem: str,
    formats: Sequence[str] = ("png",),
    plane_names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write `{stem}_labels.png` and its kin into `folder`; the paths written.

    | format | labels                  | probability                 | uncertainty                |
    |--------|-------------------------|-----------------------------|----------------------------|
    | png    | 8 bit                   | 16 bit, a file per plane    | 16 bit, a file per map     |
    | tiff   | 8 bit, a page per plane | float32, a page per plane   | float32, bits              |
    | npz    | one file with every array of the prediction, as it is; `variance` if there is one  |

    Labels of one class and of regions are 0 and 255 (a plane each), of exclusive classes 0 (the
    background), 1, 2, ... in the order of the classes. In a 16 bit PNG, 65535 is probability 1, and
    the highest possible uncertainty: log2(K) bits for K exclusive planes, otherwise 1 bit.

    `plane_names` name the files of single planes. Each file appears whole or not at all, and none
    is written if one is in the way (FileExistsError), unless `overwrite`.
    """
    if not stem or Path(stem).name != stem:
        raise ValueError(f"the stem is {stem!r}, but must be a file name without folders.")
    formats = (formats,) if isinstance(formats, str) else formats
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(
            f"the format {unknown[0]!r} is none of {', '.join(FORMATS)}. Choose among these."
        )
    planes = plane_stems(prediction, plane_names)
    contents = {
        Path(folder) / f"{stem}{ending}": content
        for name in formats
        for ending, content in FORMATS[name](prediction, planes).items()
    }
    for path in contents:
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists already. Pass overwrite=True to replace it, or write elsewhere."
            )
    for path, content in contents.items():
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return list(contents)


def as_png(prediction: Prediction, planes: Sequence[str]) -> dict[str, bytes]:
    """What follows the stem -> the file's bytes, in PNGs of 8 and 16 bits."""
    files = {}
    labels = visible_labels(prediction)
    uncertainty = prediction.uncertainty / most_bits(prediction)
    if labels.ndim == 2:
        files["_labels.png"] = image_bytes([labels], "PNG")
        files["_uncertainty.png"] = image_bytes([to_16_bit(uncertainty)], "PNG")
    else:
        for plane, bits, entropy in zip(planes, labels, uncertainty, strict=True):
            files[f"_labels_{plane}.png"] = image_bytes([bits], "PNG")
            files[f"_uncertainty_{plane}.png"] = image_bytes([to_16_bit(entropy)], "PNG")
    for plane, probability in zip(planes, prediction.probability, strict=True):
        files[f"_probability_{plane}.png"] = image_bytes([to_16_bit(probability)], "PNG")
    return files


def as_tiff(prediction: Prediction, planes: Sequence[str]) -> dict[str, bytes]:
    """What follows the stem -> the file's bytes, in TIFFs with a page per plane."""
    pages = {
        "_labels.tiff": visible_labels(prediction),
        "_probability.tiff": prediction.probability,
        "_uncertainty.tiff": prediction.uncertainty,
    }
    return {
        ending: image_bytes(array.reshape(-1, *array.shape[-2:]), "TIFF")
        for ending, array in pages.items()
    }


def as_npz(prediction: Prediction, planes: Sequence[str]) -> dict[str, bytes]:
    """What follows the stem -> one compressed archive; it reads without unpickling."""
    names = ["labels", "probability", "uncertainty", "prior", "prior_labels", "variance"]
    arrays = {name: getattr(prediction, name) for name in names}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{k: v for k, v in arrays.items() if v is not None})
    return {".npz": buffer.getvalue()}


FORMATS = {"png": as_png, "tiff": as_tiff, "npz": as_npz}


def visible_labels(prediction: Prediction) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "k h w"]:
    """Bits as 0 and 255, so that a viewer shows them; exclusive classes keep their values."""
    labels = prediction.labels
    exclusive = labels.ndim == 2 and len(prediction.probability) > 1
    return labels if exclusive else np.where(labels > 0, 255, 0).astype(np.uint8)


def most_bits(prediction: Prediction) -> float:
    """The highest uncertainty there can be, in bits."""
    num_planes = len(prediction.probability)
    return float(np.log2(num_planes)) if prediction.labels.ndim == 2 and num_planes > 1 else 1.0


def to_16_bit(share: Float[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """0..1 as 0..65535; a rounding error beyond either end is cut off."""
    return np.round(np.clip(share, 0, 1) * 65535).astype(np.uint16)


def image_bytes(
    pages: Sequence[Shaped[np.ndarray, "h w"]] | Shaped[np.ndarray, "k h w"], format: str
) -> bytes:
    first, *others = (Image.fromarray(np.ascontiguousarray(page)) for page in pages)
    buffer = io.BytesIO()
    if format == "TIFF":
        first.save(
            buffer, format, compression="tiff_adobe_deflate", save_all=True, append_images=others
        )
    else:
        first.save(buffer, format)
    return buffer.getvalue()


def plane_stems(prediction: Prediction, names: Sequence[str] | None) -> list[str]:
    """ "0-background", "1-left_lung"; only numbers without names."""
    num_planes = len(prediction.probability)
    if names is None:
        return [str(i) for i in range(num_planes)]
    if len(names) != num_planes:
        raise ValueError(
            f"there are {len(names)} plane names ({', '.join(names)}), but the prediction has "
            f"{num_planes} planes. Give one a plane (Labels.plane_names)."
        )
    return file_names(names)


def file_names(names: Sequence[str]) -> list[str]:
    """Of planes; the number keeps apart what looks alike."""
    return [f"{i}-{re.sub(r'[^0-9A-Za-z.-]+', '_', name)}" for i, name in enumerate(names)]
