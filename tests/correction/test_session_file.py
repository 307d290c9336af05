"""A session's file: opened again bit for bit, or refused in one clear line."""

import errno
import io
import json
import resource
import zipfile

import numpy as np
import pytest
from PIL import Image

import hidiff
from hidiff.correction import read_session
from tests.correction.models import (
    SIZE,
    make_image,
    make_model,
    make_volume,
    read_maps,
    same,
    save_networks,
)

pytestmark = pytest.mark.filterwarnings("ignore:this m")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sessions")


@pytest.fixture(scope="module")
def model(folder):
    return hidiff.load(save_networks(folder / "model.safetensors", *make_model(folder)))


@pytest.fixture(scope="module")
def image(folder):
    path = folder / "eye.png"
    Image.fromarray(make_image()).save(path)
    return path


@pytest.fixture(scope="module")
def saved(model, image, folder):
    """A session with every kind of entry, some of them undone, and its file."""
    session = model.correct(image)
    mask = np.zeros(SIZE, dtype=bool)
    mask[5:9, 5:30] = True
    session.click((30, 50), "curve", radius=5)
    session.stroke([(10.5, 10), (60, 90)], "background", radius=2)
    session.stroke(mask, "curve", exact=False)
    session.lock(mask)
    session.lock(label="curve")
    session.unlock()
    session.candidates(3)
    session.choose(1)
    session.click((60, 20), "curve")
    session.undo()
    session.undo()
    return session, session.save(folder / "eye.session")


def test_an_opened_session_has_the_same_bits_and_goes_on(saved):
    session, path = saved
    opened = hidiff.open_session(path)
    assert same(read_maps(opened), read_maps(session))
    assert (opened.marks, opened.revision) == (session.marks, session.revision)
    assert (opened.can_undo, opened.can_redo) == (True, True)
    other = hidiff.open_session(path)
    while opened.redo() is not None:
        session.redo()
        assert same(read_maps(opened), read_maps(session))
    while opened.undo() is not None:
        session.undo()
        assert same(read_maps(opened), read_maps(session))
    while other.marks != session.marks:
        other.undo()
    for each in (other, session):
        each.click((40, 80), "curve", radius=3)
    assert same(read_maps(other), read_maps(session))


def test_a_saved_volume_goes_on_with_the_array_that_it_is_given(model, tmp_path):
    volume = make_volume(3)
    session = model.correct(volume, spacing_mm=(3, 1, 1), name="scan", windows=1)
    session.click((1, 30, 50), "curve", radius=5)
    path = session.save(tmp_path / "scan.session")
    with pytest.raises(ValueError, match=r"in memory\. Give it: image="):
        hidiff.open_session(path)
    opened = hidiff.open_session(path, image=volume)
    assert same(read_maps(opened), read_maps(session))
    assert opened.prediction().name == "scan"


def test_a_session_from_a_mask_is_opened_with_it(model, image, tmp_path):
    mask = (make_image(seed=3) > 250).astype(np.uint8)
    session = model.correct(image, mask=mask)
    session.click((30, 50), "curve", radius=5)
    opened = hidiff.open_session(session.save(tmp_path / "eye.session"), model=model)
    for each in (session, opened):
        each.click((20, 20), "curve", radius=5)
    assert same(read_maps(opened), read_maps(session))


def test_another_image_or_model_is_refused(saved, folder, tmp_path):
    _, path = saved
    with pytest.raises(ValueError, match="session of another image: eye had other values"):
        hidiff.open_session(path, image=make_image(seed=9))
    recipe, hybrid = make_model(folder)
    hybrid.refiner.output.weight.data[0, 0, 0, 0] += 1e-6
    other = save_networks(tmp_path / "other.safetensors", recipe, hybrid)
    with pytest.raises(ValueError, match="session of another model"):
        hidiff.open_session(path, model=other)


def test_a_model_or_image_that_is_gone_is_named(model, tmp_path):
    Image.fromarray(make_image()).save(tmp_path / "a.png")
    path = model.correct(tmp_path / "a.png").save(tmp_path / "a.session")
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png, which is not there. Give it: image="):
        hidiff.open_session(path)


def cut(share):
    return lambda data: data[: int(len(data) * share)]


def flip(data):
    place = len(data) // 3
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def with_objects(data):
    """Return a session file like another one, with an array that needs unpickling."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "array0.npy":
                member = io.BytesIO()
                np.save(member, np.array([{"a": 1}], dtype=object), allow_pickle=True)
                content = member.getvalue()
            new.writestr(name, content)
    return buffer.getvalue()


def of_a_later_format(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        header = json.loads(old.read("session.json")) | {"format": "hidiff-session-9"}
        new.writestr("session.json", json.dumps(header))
    return buffer.getvalue()


DAMAGES = {
    "half": cut(0.5),
    "nearly whole": cut(0.99),
    "empty": cut(0),
    "a flipped byte": flip,
    "needs unpickling": with_objects,
    "a later format": of_a_later_format,
    "a picture": lambda data: b"\x89PNG" + data,
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_file_is_refused_by_name(saved, tmp_path, what):
    path = tmp_path / "bad.session"
    path.write_bytes(DAMAGES[what](saved[1].read_bytes()))
    if what == "a picture":  # a zip may have anything before it
        read_session(path)
        return
    with pytest.raises(ValueError, match=r"bad\.session does not read as a session") as error:
        hidiff.open_session(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no\.session is not a file"):
        hidiff.open_session(tmp_path / "no.session")


def test_without_room_the_former_file_stays_whole(saved):
    session, path = saved
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError) as error:
            session.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.glob(".*")] == []
