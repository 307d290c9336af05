"""A download becomes a folder once, whole or not at all, and holds what the download held."""

import numpy as np
import pytest

from hidiff.datasets import CATALOG, PREPARERS, Splitting, load_split, prepare
from hidiff.images import DataError
from hidiff.loading import Reading, read_item
from tests import official

WRITERS = {"lidc": official.lidc, "synapse": official.synapse}


@pytest.fixture(params=PREPARERS)
def download(request, tmp_path):
    WRITERS[request.param](tmp_path / "download")
    return request.param, tmp_path / "download"


def snapshot(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_it_can_be_run_twice(download, tmp_path):
    name, source = download
    first = prepare(name, source, tmp_path / "ready")
    before = snapshot(tmp_path / "ready")
    second = prepare(name, source, tmp_path / "ready")
    assert (first.written, second.written) == (True, False)
    assert first.found == second.found
    assert snapshot(tmp_path / "ready") == before


def test_what_is_missing_of_the_whole_set_is_told(download, tmp_path):
    name, source = download
    prepared = prepare(name, source, tmp_path / "ready")
    whole = CATALOG[name].holds
    found = {"lidc": 20, "synapse": 10}[name]
    assert f"cases: {found}, but the whole set holds {whole.cases}" in prepared.missing
    assert prepared.found["cases"] == found


def test_other_files_do_not_go_over_a_prepared_folder(download, tmp_path):
    name, source = download
    prepare(name, source, tmp_path / "ready")
    (source / "more.bin").write_bytes(b"1")
    with pytest.raises(DataError, match=r"was prepared from other files\. Remove it"):
        prepare(name, source, tmp_path / "ready")


def test_a_folder_of_somebody_else_is_left_alone(download, tmp_path):
    name, source = download
    (tmp_path / "ready").mkdir()
    (tmp_path / "ready" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"ready is not empty"):
        prepare(name, source, tmp_path / "ready")


def test_a_cut_download_is_named_and_leaves_nothing(download, tmp_path):
    name, source = download
    file = next(file for file in sorted(source.rglob("*.npz")))
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match=rf"{file.name} does not read"):
        prepare(name, source, tmp_path / "ready")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["download"]


def test_a_list_leads_nowhere_else(tmp_path):
    official.synapse(tmp_path / "download")
    listed = tmp_path / "download" / "lists" / "lists_Synapse" / "train.txt"
    listed.write_text("../../outside\n")
    with pytest.raises(DataError, match="wants plain file names"):
        prepare("synapse", tmp_path / "download", tmp_path / "ready")


def test_a_missing_download_says_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match=r"gone is not there\. Wanted is nodules_4raters\.npz"):
        prepare("lidc", tmp_path / "gone", tmp_path / "ready")


def test_a_set_that_is_read_as_it_is_is_only_counted(tmp_path):
    official.kvasir_seg(tmp_path / "download")
    before = snapshot(tmp_path)
    prepared = prepare("kvasir_seg", tmp_path / "download", tmp_path / "ready")
    assert (prepared.written, prepared.folder) == (False, tmp_path / "download")
    assert prepared.found["cases"] == 10
    assert prepared.missing[0] == "cases: 10, but the whole set holds 1000"
    assert snapshot(tmp_path) == before


def test_all_four_raters_are_kept_bit_for_bit(tmp_path):
    official.lidc(tmp_path / "download")
    ready = prepare("lidc", tmp_path / "download", tmp_path / "ready").folder
    with np.load(tmp_path / "download" / "nodules_4raters.npz") as archive:
        packed, ids, images = (archive[key] for key in ("mask_packed", "ids", "image"))
    cases = {case.name: case for s in ("train", "test") for case in load_split("lidc", ready, s)}
    entry = CATALOG["lidc"]
    for number, (patient, nodule, cut) in enumerate(ids.tolist()):
        name = f"patient-{patient:04d}_nodule-{nodule}_slice-{cut:03d}"
        if name not in cases:  # it validates
            continue
        item = read_item(cases[name], Reading(entry.labels, 1, entry.intensity))
        raters = np.unpackbits(packed[number], axis=-1)
        np.testing.assert_array_equal(item["raters"][:, 0, 0].numpy(), raters)
        # two of four and more: the fourth's own pixel is out, the third's silence does not count
        np.testing.assert_array_equal(item["y0"][0, 0].numpy(), raters.sum(axis=0) >= 2)
        grey = (item["image"][0, 0].numpy() + 1) / 2 * 255
        np.testing.assert_allclose(grey, images[number], atol=1e-3)


def test_synapses_slices_and_volumes_are_not_drawn_together(tmp_path):
    official.synapse(tmp_path / "download")
    ready = prepare("synapse", tmp_path / "download", tmp_path / "ready").folder
    with pytest.raises(DataError, match="slices to train on and volumes to test on"):
        load_split("synapse", ready, "test", splitting=Splitting(redraw=True))


def test_synapse_volumes_have_the_slices_of_their_arrays(tmp_path):
    official.synapse(tmp_path / "download")
    ready = prepare("synapse", tmp_path / "download", tmp_path / "ready").folder
    (case, _) = load_split("synapse", ready, "test")
    entry = CATALOG["synapse"]
    item = read_item(case, Reading(entry.labels, 1, entry.intensity))
    image, bits = item["image"], item["y0"]
    np.testing.assert_array_equal(bits[5, 0].numpy(), official.MASK)
    assert not bits[1:, 1:].any()
    np.testing.assert_allclose(image[0, 0].numpy(), 2.0 * official.MASK - 1)
    np.testing.assert_allclose(image[0, 1].numpy(), 1.0 * official.MASK - 1)
    assert not case.has_spacing


def test_real_lidc_holds_what_it_should(data_root, tmp_path):
    if not (data_root / "LIDC").is_dir():
        pytest.skip(f"LIDC is not in {data_root}")
    from hidiff.datasets.sets.lidc import read_lidc

    image, raters, ids = read_lidc(data_root / "LIDC" / "nodules_4raters.npz")
    whole = CATALOG["lidc"].holds
    assert (len(image), len(set(ids[:, 0].tolist())), raters.shape[1]) == (
        whole.cases,
        whole.groups,
        whole.raters,
    )
