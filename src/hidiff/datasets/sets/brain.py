"""A demonstration set out of nilearn's wheel: slices of the MNI152 brain and their tissues.

Nothing is downloaded: the wheel of nilearn (extra `demo`) carries the T1 average of 152 heads
(ICBM 2009a) and its grey and white matter maps. It shows that everything works, and says nothing
about patients: one averaged brain, whose masks are cut from the probability maps.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from hidiff.datasets.sets.synthetic import new_folder, smooth_field, write_lists, write_pair
from hidiff.extras import import_extra
from hidiff.labels import Labels
from hidiff.seeding import derive

BRAIN_LABELS = Labels(
    kind="exclusive", classes={"grey_matter": (1,), "white_matter": (2,), "fluid": (3,)}
)
SLAB = r"^(slab-\d+)"  # the group of a slice, in its file's stem

SIZE = 96  # pixels a side, of 2 mm
_FIRST_MM, _SLAB_MM, _GAP_MM, _STEP_MM = 30, 9, 3, 2
_NOISE = 0.06  # standard deviation, of white matter's brightness
_BIAS = 0.25  # most that a coil's uneven field brightens or darkens
# From the neck up. Held-out slabs lie among the others, so that each side sees all heights.
SLABS = (
    "train",
    "train",
    "test",
    "train",
    "validation",
    "train",
    "train",
    "test",
    "train",
    "validation",
)


def write_brain(folder: Path | str, seed: int = 0) -> None:
    """Write 50 axial slices as PNG, 30 to train, 10 to validate, 10 to test, with their lists.

    The height is cut into slabs of 5 slices, 2 mm apart; between two slabs lie 4 mm, so that no
    neighbour of a test slice is trained on. An average of 152 heads is too clean to be a task:
    each slice gets an uneven field and noise of its own, a function of the seed.
    """
    lists: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    with new_folder(folder) as made:
        t1, tissues = load_tissues()
        for name, height, split in slices():
            lists[split].append(name)
            image = degrade(upright(t1, height), derive(seed, "brain", name))
            write_pair(made, name, image, upright(tissues, height))
        write_lists(made, lists)


def slices() -> list[tuple[str, int, str]]:
    """Return (name, height in mm above the template's lowest plane, split) of every slice."""
    found = []
    for slab, split in enumerate(SLABS):
        bottom = _FIRST_MM + slab * (_SLAB_MM + _GAP_MM)
        for height in range(bottom, bottom + _SLAB_MM, _STEP_MM):
            found.append((f"slab-{slab}_height-{height:03d}", height, split))
    return found


def load_tissues() -> tuple[Float[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"]]:
    """Return T1 brightness in 0..1 and the likeliest tissue (BRAIN_LABELS), at 2 mm in the plane.

    Fluid is what belongs to the brain and is neither grey nor white matter.
    """
    datasets = import_extra("nilearn.datasets", "demo", "the brain set")
    t1, grey, white = (
        _halve_in_plane(np.asarray(load(resolution=1).dataobj, dtype=np.float32))
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    )
    inside = t1 > 0.02  # the template's skull is stripped: outside is 0
    fluid = np.where(inside, 1 - grey - white, 0).clip(0)
    outside = np.where(inside, 0, 0.5)
    tissues = np.stack([outside, grey, white, fluid]).argmax(axis=0).astype(np.uint8)
    return t1, tissues


def upright(volume: np.ndarray, height: int) -> np.ndarray:
    """Return one axial slice, nose up, centred on SIZE x SIZE."""
    plane = np.rot90(volume[:, :, height])
    rows, columns = ((SIZE - side) // 2 for side in plane.shape)
    top, left = max(-rows, 0), max(-columns, 0)
    plane = plane[top : top + SIZE, left : left + SIZE]
    rows, columns = SIZE - plane.shape[0], SIZE - plane.shape[1]
    return np.pad(plane, ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)))


def degrade(plane: Float[np.ndarray, "h w"], seed: int) -> UInt8[np.ndarray, "h w"]:
    """Add uneven brightness and the noise of a magnitude image (Rice); return 8 bits."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    uneven = plane * (1 + _BIAS * smooth_field((SIZE, SIZE), 3, draws))
    real, imaginary = draws.normal(0, _NOISE, (2, *plane.shape))
    magnitude = np.hypot(uneven + real, imaginary)
    return (200 * magnitude).clip(0, 255).astype(np.uint8)


def _halve_in_plane(volume: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "u v z"]:
    """Return the mean of 2 x 2 voxels, in each axial plane."""
    across, along, up = (volume.shape[0] // 2, volume.shape[1] // 2, volume.shape[2])
    pairs = volume[: 2 * across, : 2 * along].reshape(across, 2, along, 2, up)
    return pairs.mean(axis=(1, 3))
