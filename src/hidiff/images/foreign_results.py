"""Another model's results of a case: one file of channels, a file per class, or a label map."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from hidiff.images.alignment import lay_on, pad_onto
from hidiff.images.files import DataError, ImageFiles, first_file, visible_files
from hidiff.images.film import check_no_film
from hidiff.images.formats import find_format, format_of, image_stem, read_mask
from hidiff.images.geometry import Geometry, VolumeGeometry
from hidiff.images.image import Image
from hidiff.images.label_names import match_names, plain, read_label_names
from hidiff.images.mapped import make_room
from hidiff.images.mask_values import picture_traits
from hidiff.images.nnunet_results import is_nnunet_result, read_nnunet_result
from hidiff.images.pictures import ARRAYS
from hidiff.images.prior_channels import Channels, plain_channels, sum_planes
from hidiff.images.segmentation_objects import find_seg, read_seg
from hidiff.images.volume_format import VolumeFormat
from hidiff.labels import BACKGROUND, Labels

Files = ImageFiles
_FILE_EACH = re.compile(r".*_probability_\d+-")


def read_foreign_maps(
    prior: Files, labels: Labels, geometry: Geometry, image: ImageFiles
) -> Float[np.ndarray, "k d h w"] | None:
    """Read the probability of each mask plane, from files that say what their channels are.

    None for pictures, and for arrays that no file beside them explains: those are planes in order.
    """
    path = first_file(prior)
    if isinstance(prior, tuple) or (path.is_dir() and find_seg(path) is None):
        return _read_files(prior, labels, geometry, image)
    if not isinstance(geometry, VolumeGeometry):
        return None
    check_no_film(geometry, image)
    if path.suffix.lower() in ARRAYS:
        format = format_of(image)
        if not (isinstance(format, VolumeFormat) and format.reversed_arrays):
            return None
        if not is_nnunet_result(path):
            return None
        found, channels = read_nnunet_result(path, geometry.plane)
        laid = lay_on(found, geometry, first_file(image))
        return sum_planes(laid.values, labels, channels, path)
    if (seg := find_seg(path)) is not None:
        found, names, _ = read_seg(seg, geometry.plane)
        laid = _lay_seg(found, geometry, image)
        return sum_planes(laid.values, labels, _segments(labels, names, seg), path)
    maps = geometry.from_native(format_of(image).read_maps(path, geometry, image))
    channels = _channels_of(path, labels, len(maps))
    return sum_planes(maps, labels, channels, path)


def _channels_of(path: Path, labels: Labels, count: int) -> Channels:
    """Return the meaning of the channels of a file: its own names, else the order of the labels."""
    names = read_label_names(path)
    if names and match_names(labels, names, path) and len(names) in (count, count - 1):
        # nobody says which channel is which: they are in the order of the values, as nnU-Net's
        values = tuple(sorted(names.values()))
        with_background = ((0,), *values) if len(names) < count else values
        return Channels(with_background, names, labels.kind == "regions")
    channels = plain_channels(labels, count)
    if channels is None:
        raise DataError(
            f"{path} holds {count} channels, but {labels.num_planes} are wanted, a plane for each "
            f"of {', '.join(labels.plane_names)}."
        )
    return channels


def _segments(labels: Labels, names: list[str], path: Path) -> Channels:
    """Return the meaning of the segments of a DICOM SEG: their names, else 1, 2, ..."""
    numbered = {name: (number,) for number, name in enumerate(names, start=1)}
    found = numbered if match_names(labels, numbered, path) else {}
    return Channels(tuple(numbered.values()), found)


def _lay_seg(found: Image, geometry: VolumeGeometry, image: ImageFiles) -> Image:
    """Return segments on the image's grid; slices that the file leaves out are empty."""
    return lay_on(pad_onto(found, geometry), geometry, first_file(image))


def _read_files(
    prior: Files, labels: Labels, geometry: Geometry, image: ImageFiles
) -> Float[np.ndarray, "k d h w"]:
    """Read a file per class, one after another."""
    files, source = _files_by_class(prior), first_file(prior)
    named = match_names(labels, files, source)
    if not named:
        raise DataError(
            f"{source} holds files of {', '.join(sorted(files)[:6]) or 'nothing'}, but one for "
            f"each of {', '.join(labels.class_names)} is wanted, such as "
            f"{labels.class_names[0]}.nii.gz."
        )
    maps = make_room((labels.num_planes, *geometry.shape))
    classes = maps[labels.class_planes]
    for name, plane in zip(labels.class_names, classes, strict=True):
        plane[...] = _read_one(files[named[name]], geometry, image)
    background = files.get(BACKGROUND)
    if labels.kind == "exclusive":
        maps[0] = (
            _read_one(background, geometry, image)
            if background is not None
            else (1 - classes.sum(axis=0)).clip(0, 1)
        )
    planes = tuple(labels.classes.values())
    channels = ((0,), *planes) if labels.kind == "exclusive" else planes
    return sum_planes(maps, labels, Channels(channels, {}, labels.kind == "regions"), source)


def _read_one(file: Path, geometry: Geometry, image: ImageFiles) -> Num[np.ndarray, "d h w"]:
    maps = format_of(image).read_maps(file, geometry, image)
    maps = maps[0] if maps.ndim == len(geometry.native_shape) + 1 and len(maps) == 1 else maps
    if maps.shape != geometry.native_shape:
        raise DataError(
            f"{file} has the shape {maps.shape}, but one map of the shape {geometry.native_shape} "
            "is wanted, as its folder has a file per class."
        )
    return geometry.from_native(maps)


def _files_by_class(prior: Files) -> dict[str, Path]:
    """Return the files of a case by the class that each is of."""
    if isinstance(prior, tuple):
        names = {path: image_stem(path) for path in map(Path, prior)}
        return {plain(_FILE_EACH.sub("", stem)): path for path, stem in names.items()}
    found: dict[str, Path] = {}
    for file in visible_files(Path(prior)):
        if file.is_file() and find_format(file) is not None:
            name = plain(image_stem(file))
            if name in found:
                raise DataError(
                    f"{prior} holds both {found[name].name} and {file.name}, but one of them is "
                    "wanted. Take one out."
                )
            found[name] = file
    return found


def read_foreign_bits(
    prior: Files,
    labels: Labels,
    values: Mapping[str, tuple[int, ...]] | None,
    geometry: Geometry,
    image: ImageFiles,
) -> Bool[np.ndarray, "k d h w"]:
    """Read the hard masks of another model as bits, a plane per class.

    Classes are found by `values`, else by the names that the file or its folder gives, else by the
    values of the labels. Raises ValueError for a value that nothing declares.
    """
    path = first_file(prior)
    if isinstance(geometry, VolumeGeometry):
        check_no_film(geometry, image)
        if (seg := find_seg(path)) is not None:
            found, names, fractional = read_seg(seg, geometry.plane)
            laid = _lay_seg(found, geometry, image).values
            chosen = _segments(labels, names, seg)
            planes = sum_planes(laid, labels, chosen, path)
            return planes >= 0.5 if fractional else planes > 0
        if path.is_dir():
            return _read_mask_files(path, labels, geometry, image)
    mask = read_mask(path, geometry, image)
    lossy = picture_traits(path).lossy
    names = values or read_label_names(path)
    if not names or not (named := match_names(labels, names, path)):
        return labels.encode_bool(mask, lossy=lossy)
    classes = {name: tuple(names[named[name]]) for name in labels.class_names}
    if classes == dict(labels.classes) and labels.kind == "one_class":
        return labels.encode_bool(mask, lossy=lossy)
    # whatever else the other model segments is background here
    known = [value for each in classes.values() for value in each]
    other = Labels(kind=labels.kind, classes=classes)
    return other.encode_bool(np.where(np.isin(mask, known), mask, 0))


def _read_mask_files(
    folder: Path, labels: Labels, geometry: VolumeGeometry, image: ImageFiles
) -> Bool[np.ndarray, "k d h w"]:
    """Read a mask per class, as TotalSegmentator writes them: everything above 0 is inside."""
    files = _files_by_class(folder)
    named = match_names(labels, files, folder)
    if not named:
        raise DataError(
            f"{folder} holds masks of {', '.join(sorted(files)[:6]) or 'nothing'}, but one for "
            f"each of {', '.join(labels.class_names)} is wanted, such as "
            f"{labels.class_names[0]}.nii.gz."
        )
    bits = np.zeros((labels.num_planes, *geometry.shape), dtype=bool)
    classes = bits[labels.class_planes]
    for name, plane in zip(labels.class_names, classes, strict=True):
        plane[...] = read_mask(files[named[name]], geometry, image) > 0
    if labels.kind == "exclusive":
        bits[0] = ~classes.any(axis=0)
    return bits
