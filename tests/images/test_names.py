"""Names that end in four digits: channels of a case, or cases of their own."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images import names
from hidiff.images.files import is_hidden
from hidiff.images.names import CHANNEL, name_cases
from hidiff.images.sequences import BRATS, BRATS_2023, MS_LESIONS, join_sequences


def cases(names, channels, folder="d", **options):
    """Return stem -> files, or the missing channels, of files of these names."""
    files = [Path(folder) / name for name in names]
    found = name_cases(files, channels, stem_of=lambda file: file.name, **options)
    return {case.stem: case.missing or [file.name for file in case.files] for case in found}


@pytest.mark.parametrize(
    ("names", "channels", "right"),
    [
        # patients whose names end in four digits
        (["amos_0001", "amos_0002"], 1, {"amos_0001": ["amos_0001"], "amos_0002": ["amos_0002"]}),
        (["amos_0001", "amos_0002"], 2, {"amos_0001": ["amos_0001"], "amos_0002": ["amos_0002"]}),
        (["amos_0001"], 1, {"amos_0001": ["amos_0001"]}),
        (["amos_0000"], 1, {"amos_0000": ["amos_0000"]}),
        (["p_0000", "p_0001"], 1, {"p_0000": ["p_0000"], "p_0001": ["p_0001"]}),
        # channels, in the order of their numbers
        (["p_0001", "p_0000"], 2, {"p": ["p_0000", "p_0001"]}),
        (["p_0000", "p_0001", "q"], 2, {"p": ["p_0000", "p_0001"], "q": ["q"]}),
        # a gap is never filled by the next number
        (["p_0000", "p_0002"], 2, {"p": ("p_0001",)}),
        (["p_0000", "p_0002"], 3, {"p": ("p_0001",)}),
        (["p_0000"], 2, {"p": ("p_0001",)}),
        # more files than channels: nobody knows which belong together
        (["p_0000", "p_0001", "p_0002"], 2, {f"p_000{i}": [f"p_000{i}"] for i in range(3)}),
        # nnU-Net's names of the only channel
        (["a_0000", "b_0000"], 1, {"a": ["a_0000"], "b": ["b_0000"]}),
        (["a_0000", "b"], 1, {"a_0000": ["a_0000"], "b": ["b"]}),
    ],
)
def test_a_name_is_read_with_the_number_of_channels(names, channels, right):
    assert cases(names, channels) == right


def test_a_folder_of_nnunet_numbers_every_file():
    assert cases(["a_0000"], 1, folder="imagesTs") == {"a": ["a_0000"]}


def test_files_that_are_whole_images_are_never_joined():
    names = ["frame_0000", "frame_0001", "frame_0002"]
    assert cases(names, 3, holds_all=lambda file: True) == {name: [name] for name in names}


def test_channels_of_two_folders_are_two_cases():
    files = [Path("a/p_0000"), Path("b/p_0001")]
    found = name_cases(files, 2, stem_of=lambda file: file.name)
    assert [case.files for case in found] == [(files[0],), (files[1],)]
    assert found[0].missing == ("p_0001",)


STEMS = st.one_of(
    st.text("ab_01", min_size=1, max_size=6),
    st.builds("{}_{:04d}".format, st.sampled_from(["p", "q", "p_0000", "amos"]), st.integers(0, 4)),
)


@given(st.lists(STEMS, unique=True, max_size=12), st.integers(1, 4))
def test_every_file_is_in_one_case_and_channels_are_complete(names, channels):
    files = [Path("d") / name for name in names]
    found = name_cases(files, channels, stem_of=lambda file: file.name)
    assert sorted(file for case in found for file in case.files) == sorted(files)
    for case in found:
        numbers = [CHANNEL.fullmatch(file.name) for file in case.files]
        if case.missing:
            own = {file.name for file in case.files}
            wanted = {f"{case.stem}_{number:04d}" for number in range(channels)}
            assert set(case.missing) == wanted - own
        elif len(case.files) > 1:
            assert [file.name for file in case.files] == [
                f"{case.stem}_{number:04d}" for number in range(channels)
            ]
        else:
            name = case.files[0].name
            assert case.stem == name or (case.stem == name.removesuffix("_0000") and numbers[0])
    one = [case for case in found if len(case.files) == 1]
    assert channels > 1 or len(one) == len(files)


@pytest.mark.parametrize("name", ["._p_0000.nii.gz", "Thumbs.db", ".DS_Store", "desktop.ini"])
def test_files_of_operating_systems_are_no_data(name):
    assert is_hidden(Path(name))
    assert not is_hidden(Path("case.png"))


def steps_of(stems) -> int:
    """Return how many instructions of the module run."""
    files = [Path("d") / stem for stem in stems]
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code.co_filename != names.__file__:
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        name_cases(files, 1, stem_of=lambda file: file.name)
    finally:
        sys.settrace(former)
    return count


@pytest.mark.parametrize("name", ["case{}", "case{}_0000", "case_{:04d}"])
def test_eight_times_the_files_take_no_more_than_a_linear_time(name):
    few, many = ([name.format(number) for number in range(n)] for n in (100, 800))
    assert steps_of(few) > 1000 and steps_of(many) < 9 * steps_of(few)  # 64 would be quadratic


@pytest.mark.parametrize("source", ["brats", "brats2023"])
@pytest.mark.parametrize("endings", [BRATS, BRATS_2023])
def test_scans_of_brats_are_cases_of_four_channels_without_their_masks(source, endings):
    files = [Path("scans") / f"{case}{ending}" for ending in sorted(endings) for case in "ba"]
    found, others = join_sequences(files, source, lambda file: file.name)
    assert {case.stem: [file.name for file in case.files] for case in found} == {
        case: [f"{case}{ending}" for ending in endings[:4]] for case in "ab"
    }
    assert not others and not any(case.missing for case in found)
    lacking, _ = join_sequences(files[2:], source, lambda file: file.name)
    missing = {name for case in lacking for name in case.missing}
    assert missing == {file.name for file in files[:2]} - {f"{case}{endings[4]}" for case in "ab"}


def test_names_of_sequences_mean_nothing_to_models_of_other_data():
    files = [Path(f"a{ending}") for ending in BRATS]
    assert join_sequences(files, "nnunet", lambda file: file.name) == ([], files)
    alone = [Path("a_seg"), Path("other_t2w")]
    assert join_sequences(alone, "brats", lambda file: file.name) == ([], [alone[1], alone[0]])


def test_a_scan_of_ms_lesions_is_named_by_its_folder():
    files = [Path("patient07") / name for name in MS_LESIONS]
    (case,), others = join_sequences(files, "ms_lesions", lambda file: file.name)
    assert (case.stem, case.files, others) == ("patient07", tuple(files[:4]), [])
