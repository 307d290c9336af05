import numpy as np
import pytest
from PIL import Image, ImageSequence

from hidiff.labels import Labels
from hidiff.prediction import SliceMaps, one_slice
from hidiff.prediction.writers import write_prediction

SIZE = (5, 7)
CLASSES = {
    "one_class": Labels(kind="one_class", classes={"vessel": (1,)}),
    "exclusive": Labels(kind="exclusive", classes={"left lung": (1,), "right/lung": (2,)}),
    "regions": Labels(kind="regions", classes={"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}),
}


def entropy(p):
    """Bits of each plane on its own, then of all together."""
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.nan_to_num(-p * np.log2(p))
        other = np.nan_to_num(-(1 - p) * np.log2(1 - p))
    return (own + other).astype(np.float32), own.sum(axis=0).astype(np.float32)


def make_prediction(kind):
    rng = np.random.default_rng(0)
    num_planes = 1 if kind == "one_class" else 3
    p = rng.random((num_planes, *SIZE)).astype(np.float32)
    if kind == "exclusive":
        p /= p.sum(axis=0)
    per_plane, together = entropy(p)
    labels = {
        "one_class": (p[0] >= 0.5).astype(np.uint8),
        "exclusive": p.argmax(axis=0).astype(np.uint8),
        "regions": (p >= 0.5).astype(np.uint8),
    }[kind]
    maps = SliceMaps(
        labels=labels,
        probability=p,
        prior=p[::-1].copy(),
        prior_labels=labels,
        uncertainty={"one_class": per_plane[0], "exclusive": together}.get(kind, per_plane),
    )
    return one_slice("case", CLASSES[kind], maps)


def pages(path):
    with Image.open(path) as image:
        return np.stack([np.array(page) for page in ImageSequence.Iterator(image)])


def names(paths):
    return sorted(path.name for path in paths)


def test_one_class_is_seen_as_0_and_255(tmp_path):
    prediction = make_prediction("one_class")
    written = write_prediction(prediction, tmp_path / "new", stem="a")
    assert names(written) == ["a_labels.png", "a_probability_0-vessel.png", "a_uncertainty.png"]
    assert names((tmp_path / "new").iterdir()) == names(written)
    labels = pages(tmp_path / "new" / "a_labels.png")[0]
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, prediction.labels * 255)


def test_exclusive_classes_keep_their_values(tmp_path):
    prediction = make_prediction("exclusive")
    written = write_prediction(prediction, tmp_path, stem="a")
    assert np.array_equal(pages(tmp_path / "a_labels.png")[0], prediction.labels)
    assert names(written) == [
        "a_labels.png",
        "a_probability_0-background.png",
        "a_probability_1-left_lung.png",
        "a_probability_2-right_lung.png",
        "a_uncertainty.png",
    ]


def test_regions_have_a_file_each(tmp_path):
    prediction = make_prediction("regions")
    write_prediction(prediction, tmp_path, stem="a")
    for i, name in enumerate(("0-WT", "1-TC", "2-ET")):
        assert np.array_equal(
            pages(tmp_path / f"a_labels_{name}.png")[0], prediction.labels[i] * 255
        )
        uncertainty = pages(tmp_path / f"a_uncertainty_{name}.png")[0] / 65535
        assert np.allclose(uncertainty, prediction.uncertainty[i], atol=1e-5)


@pytest.mark.parametrize("kind", ["one_class", "exclusive", "regions"])
def test_16_bit_probabilities_are_right_to_half_a_step(kind, tmp_path):
    prediction = make_prediction(kind)
    write_prediction(prediction, tmp_path, stem="a")
    files = sorted(tmp_path.glob("a_probability_*.png"))
    for file, probability in zip(files, prediction.probability, strict=True):
        read = pages(file)[0]
        assert read.max() > 255  # really 16 bits
        assert np.abs(read / 65535 - probability).max() <= 0.5 / 65535 + 1e-7


def test_uncertainty_of_k_exclusive_planes_is_in_parts_of_log2_k(tmp_path):
    prediction = make_prediction("exclusive")
    write_prediction(prediction, tmp_path, stem="a")
    read = pages(tmp_path / "a_uncertainty.png")[0] / 65535 * np.log2(3)
    assert np.allclose(read, prediction.uncertainty, atol=2e-5)


@pytest.mark.parametrize("kind", ["one_class", "exclusive", "regions"])
def test_tiff_keeps_every_bit_of_the_floats(kind, tmp_path):
    prediction = make_prediction(kind)
    write_prediction(prediction, tmp_path, stem="a", formats=("tiff",))
    assert np.array_equal(pages(tmp_path / "a_probability.tiff"), prediction.probability)
    uncertainty = pages(tmp_path / "a_uncertainty.tiff")
    assert np.array_equal(uncertainty.reshape(prediction.uncertainty.shape), prediction.uncertainty)
    factor = 1 if kind == "exclusive" else 255
    labels = pages(tmp_path / "a_labels.tiff").reshape(prediction.labels.shape)
    assert np.array_equal(labels, prediction.labels * factor)


@pytest.mark.parametrize("kind", ["one_class", "exclusive", "regions"])
def test_npz_keeps_every_array_and_needs_no_unpickling(kind, tmp_path):
    prediction = make_prediction(kind)
    write_prediction(prediction, tmp_path, stem="a", formats=("npz",))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert "variance" not in read
        for name in ("labels", "probability", "uncertainty", "prior", "prior_labels"):
            assert np.array_equal(read[name], getattr(prediction, name))


def test_nothing_is_written_if_one_file_is_in_the_way(tmp_path):
    prediction = make_prediction("one_class")
    (tmp_path / "a_uncertainty.png").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a_uncertainty.png exists already\. Pass overwrite"):
        write_prediction(prediction, tmp_path, stem="a")
    assert names(tmp_path.iterdir()) == ["a_uncertainty.png"]
    write_prediction(prediction, tmp_path, stem="a", overwrite=True)
    assert len(names(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"formats": ("jpeg",)}, "none of png, tiff, npz"),
        ({"stem": "../a"}, "without folders"),
        ({"stem": ""}, "without folders"),
        ({"formats": ("nifti",)}, "none of png, tiff, npz"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        write_prediction(make_prediction("one_class"), tmp_path, **({"stem": "a"} | settings))
    assert not list(tmp_path.iterdir())


def test_one_format_may_be_given_as_a_word(tmp_path):
    prediction = make_prediction("one_class")
    assert names(write_prediction(prediction, tmp_path, stem="a", formats="npz")) == ["a.npz"]
