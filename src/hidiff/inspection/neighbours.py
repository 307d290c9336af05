"""Find pictures of adjacent numbers that look alike, as slices of one patient or frames do."""

import re

import numpy as np
from jaxtyping import Float, Num

SIDE = 16  # of the thumbnails that are compared
FEWEST = 8  # pictures
# Neighbours are alike if they differ by less than this share of what pictures far apart do.
ALIKE = 0.35


class Neighbours:
    """Thumbnails of all pictures by name."""

    def __init__(self) -> None:
        self._thumbnails: dict[str, Float[np.ndarray, " n"]] = {}

    def add(self, name: str, image: Num[np.ndarray, "c d h w"]) -> None:
        """Take a picture in; a volume is passed over, as is a picture of one brightness."""
        if image.shape[1] != 1:
            return
        grey = image[:, 0].mean(axis=0, dtype=np.float64)
        rows, columns = (np.linspace(0, side - 1, SIDE).round().astype(int) for side in grey.shape)
        small = grey[np.ix_(rows, columns)].ravel()
        small -= small.mean()
        if length := np.linalg.norm(small):
            self._thumbnails[name] = small / length

    def sentence(self) -> str:
        """Return a warning if pictures with adjacent numbers look alike; else nothing."""
        names = sorted((n for n in self._thumbnails if re.search(r"\d", n)), key=_by_number)
        if len(names) < FEWEST:
            return ""
        pictures = np.stack([self._thumbnails[name] for name in names])
        far = np.roll(pictures, len(pictures) // 2, axis=0)
        beside = 1 - np.median((pictures[1:] * pictures[:-1]).sum(axis=1))
        apart = 1 - np.median((pictures * far).sum(axis=1))
        if beside >= ALIKE * apart:
            return ""
        return (
            f"pictures with adjacent numbers look alike ({names[0]}, {names[1]}, ...), as slices "
            "of one patient or frames of one video do, but each counts as a patient of its own, so "
            "scores may be too good. Say whose they are: by names that begin with the patient, by "
            "lists (train.txt, validation.txt, test.txt), or by --set data.splitting.group"
        )


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts a2 before a10."""
    return [
        (int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)
    ]
