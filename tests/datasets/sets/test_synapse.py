"""TransUNet's layout of Synapse, with real content, is read as the same arrays."""

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import CATALOG, load_split, prepare
from hidiff.datasets.splits import SPLITS
from hidiff.images.intensity import Intensity, normalise
from hidiff.loading import LoadedCases, Reading

WHITE = 255
SLICES = slice(40, 44)  # of a volume: enough to have organs, and quick to compress


@pytest.fixture
def source(data_root):
    folder = data_root / "Synapse_257"
    if not folder.is_dir():
        pytest.skip(f"Synapse_257 is not in {data_root}")
    return folder


def read_slice(source, kind: str, name: str) -> np.ndarray:
    return np.asarray(Image.open(source / "train" / kind / f"{name}.png"))


def read_volume(source, kind: str, name: str) -> np.ndarray:
    """Return slices first, rows and columns as a picture has them."""
    volume = nib.load(source / "test" / kind / f"{name}.nii.gz")
    assert isinstance(volume, nib.Nifti1Image) and nib.aff2axcodes(volume.affine) == tuple("LPS")
    return np.asarray(volume.dataobj).transpose(2, 1, 0)[SLICES]


def test_real_cases_in_transunets_layout_are_read_as_they_are(source, tmp_path):
    """Two training cases (npz) and two test cases (h5): float32 images in 0..1, float32 labels."""
    download = tmp_path / "download"
    (download / "train_npz").mkdir(parents=True)
    (download / "test_vol_h5").mkdir()
    slices, volumes = {}, {}
    for case in ("case0005", "case0009"):
        for file in sorted((source / "train" / "images").glob(f"{case}_*.png"))[20:22]:
            slices[file.stem] = [
                read_slice(source, kind, file.stem) for kind in ("images", "masks")
            ]
            image, label = slices[file.stem]
            arrays = {"image": np.float32(image) / WHITE, "label": np.float32(label)}
            np.savez(download / "train_npz" / f"{file.stem}.npz", **arrays)
    for case in ("case0001", "case0008"):
        image, label = (read_volume(source, kind, case) for kind in ("images", "masks"))
        volumes[case] = image, label
        with h5py.File(download / "test_vol_h5" / f"{case}.npy.h5", "w") as file:
            file["image"], file["label"] = np.float32(image) / WHITE, np.float32(label)

    folder = prepare("synapse", download, tmp_path / "ready").folder
    entry = CATALOG["synapse"]
    assert entry.labels and entry.intensity
    names = entry.labels.class_names
    cases = {split: load_split("synapse", folder, split) for split in SPLITS}
    assert {case.name for split in SPLITS[:2] for case in cases[split]} == slices.keys()
    assert {case.name for case in cases["test"]} == volumes.keys()
    for split, ours in cases.items():
        wanted = volumes if split == "test" else slices
        for case in ours:
            image, label = (array.reshape(-1, 257, 257) for array in wanted[case.name])
            items = LoadedCases([case], Reading(entry.labels, 1, entry.intensity))
            assert len(items) == len(image)
            for item, plane, classes in zip(items, image, label, strict=True):
                expected = normalise(np.float32(plane)[None], Intensity())
                np.testing.assert_allclose(item["image"].numpy(), expected, atol=1e-6)
                assert item["y0"].shape[0] == len(names) + 1
                np.testing.assert_array_equal(item["y0"].argmax(dim=0).numpy(), classes)
    found = {int(value) for _, label in volumes.values() for value in np.unique(label)}
    assert len(found) > 5
