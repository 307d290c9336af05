"""nnInteractive's protocol, spoken by its own client from the package index."""

import numpy as np
import pytest

from hidiff.serve.marking import MarkQueue
from hidiff.serve.nninteractive.leases import Leases
from hidiff.serve.nninteractive.packing import pack, unpack
from hidiff.serve.offered import OfferedModels
from tests.serve.conftest import draw_picture

client_module = pytest.importorskip(
    "nnInteractive.inference.remote.remote_session",
    reason="the real client is not installed: pip install nninteractive-client",
)
serialization = pytest.importorskip("nnInteractive.inference.remote.serialization")

Client = client_module.nnInteractiveRemoteInferenceSession
SPACING = (4.0, 1.5, 1.5)
KEY = "a token of more than sixteen"


def draw_volume() -> np.ndarray:
    return np.stack([draw_picture(seed) for seed in range(5)]).astype(np.float32)


@pytest.fixture
def session(live):
    with Client(live().address) as opened:
        opened.set_image(draw_volume()[None], {"spacing": np.array(SPACING)})
        opened.set_target_buffer(np.zeros((5, 70, 100), np.uint8))
        yield opened


@pytest.fixture
def own(model):
    """The library's session on the same array."""
    return model.correct(draw_volume(), spacing_mm=SPACING)


def test_a_whole_session_of_the_real_client_is_the_librarys_session(session, own):
    assert session.supports_undo and session.supports_initial_label
    assert session.original_image_shape == (1, 5, 70, 100)
    assert session._predict() is not None
    assert (session.target_buffer == own.labels).all()

    session.add_point_interaction((2, 30, 40), include_interaction=True)
    own.click((2.0, 30.0, 40.0), label="curve", radius=3.0)
    assert (session.target_buffer == own.labels).all()

    scribble = np.zeros((1, 6, 30), np.uint8)
    scribble[0, 2:4] = 1
    box = [[3, 4], [40, 46], [10, 40]]
    changed = session.add_scribble_interaction(scribble, False, interaction_bbox=box)
    painted = np.zeros((5, 70, 100), bool)
    painted[3:4, 40:46, 10:40] = scribble > 0
    own.stroke(painted, label="curve", add=False)
    assert (session.target_buffer == own.labels).all()
    assert changed is None or changed[0] == [3, 4]

    assert session.undo()
    own.undo()
    assert (session.target_buffer == own.labels).all()
    assert session.undo() and not session.undo()


def test_it_starts_from_the_clients_own_mask(session, model):
    given = np.zeros((5, 70, 100), np.uint8)
    given[1:3, 20:40, 20:60] = 1
    own = model.correct(draw_volume(), mask=given, spacing_mm=SPACING)
    session.reset_interactions()
    session.add_initial_seg_interaction(given, run_prediction=False)
    assert (session.target_buffer == given).all()
    session.add_point_interaction((2, 50, 80), include_interaction=True)
    own.click((2.0, 50.0, 80.0), label="curve", radius=3.0)
    assert (session.target_buffer == own.labels).all()


def test_a_mark_on_the_clients_mask_does_not_wait_for_the_segmentor(live, model, monkeypatch):
    server = live()
    with Client(server.address) as session:
        session.set_image(draw_picture().astype(np.float32)[None, None])
        session.set_target_buffer(np.zeros((1, 70, 100), np.uint8))
        given = np.zeros((1, 70, 100), np.uint8)
        given[0, 20:40, 20:60] = 1
        session.add_initial_seg_interaction(given, run_prediction=False)
        server.service.pool.shutdown(wait=True)  # what is done in the background is done
        segmentor = model.predictor.hybrid.segmentor
        monkeypatch.setattr(segmentor, "forward", lambda image: pytest.fail("the segmentor ran"))
        session.add_point_interaction((0, 30, 70), include_interaction=True)
        assert session.target_buffer[0, 30, 70] == 1


def test_marks_take_their_turn_with_those_of_the_page(live, monkeypatch):
    in_turn, run = [], MarkQueue.run
    monkeypatch.setattr(MarkQueue, "run", lambda *words: in_turn.append(1) or run(*words))
    with Client(live().address) as session:
        session.set_image(draw_volume()[None], {"spacing": np.array(SPACING)})
        session.set_target_buffer(np.zeros((5, 70, 100), np.uint8))
        session._predict()
        assert not in_turn
        session.add_point_interaction((2, 30, 40), include_interaction=True)
        session.add_scribble_interaction(np.ones((5, 70, 100), np.uint8), False)
        assert session.undo()
    assert len(in_turn) == 3


def test_a_mark_without_a_prediction_comes_with_the_next_one(session, own):
    session._predict()
    before = session.target_buffer.copy()
    session.add_point_interaction((2, 30, 40), True, run_prediction=False)
    assert (session.target_buffer == before).all()
    session._predict()
    own.click((2.0, 30.0, 40.0), label="curve", radius=3.0)
    assert (session.target_buffer == own.labels).all()


def test_a_picture_is_one_slice(live, model):
    own = model.correct(draw_picture().astype(np.float32))
    with Client(live().address) as session:
        session.set_image(draw_picture().astype(np.float32)[None, None])
        session.set_target_buffer(np.zeros((1, 70, 100), np.uint8))
        session.add_point_interaction((0, 30, 40), include_interaction=True)
        own.click((30.0, 40.0), label="curve", radius=3.0)
        assert (session.target_buffer[0] == own.labels).all()


def test_what_the_model_cannot_do_is_refused_in_a_line(session):
    answer = session._http.post("/add_bbox_interaction", json={})
    assert answer.status_code == 400 and "Click or scribble" in answer.json()["detail"]
    answer = session._http.post(
        "/add_point_interaction",
        json={"coordinates": [2, 300, 4], "include_interaction": True},
    )
    assert answer.status_code == 400 and "outside" in answer.json()["detail"]
    answer = session._http.post("/set_image", content=b"NNIA\x01\x01\x04")
    assert answer.status_code == 400 and "cut off" in answer.json()["detail"]


def test_a_wrong_key_and_no_key_are_refused(live):
    address = live(token=(KEY,)).address
    for key in (None, "another"):
        with pytest.raises(client_module.httpx.HTTPStatusError, match="401"):
            Client(address, api_key=key)
    with Client(address, api_key=KEY) as session:
        assert session.ping() and session.lease_status()["remaining_seconds"] > 0


def test_a_lease_ends_when_it_is_released_and_when_it_expires(live, monkeypatch):
    session = Client(live().address)
    assert session.idle_timeout_seconds == Leases.idle_seconds
    session.heartbeat()
    monkeypatch.setattr(Leases, "idle_seconds", 0.0)
    with pytest.raises(client_module.SessionExpiredError, match="expired"):
        session.heartbeat()
    session.close()


def test_a_full_server_says_so(live):
    address = live(max_sessions=1).address
    with (
        Client(address),
        pytest.raises(client_module.ServerAtCapacityError, match="1 clients"),
    ):
        Client(address)
    Client(address).close()


def test_several_classes_need_a_name(live, models, offered):
    offered_two = OfferedModels([models["exclusive"]])
    server = live(offered=offered_two)
    with pytest.raises(client_module.httpx.HTTPStatusError, match="400"):
        Client(server.address)
    answer = client_module.httpx.post(f"{server.address}/claim")
    assert "curve, disc" in answer.json()["detail"]
    with Client(live(offered=offered_two, label="disc").address):
        pass


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", "float64"])
def test_packed_arrays_are_those_of_the_client(dtype):
    array = np.random.default_rng(0).integers(0, 2, (3, 5, 7)).astype(dtype)
    for given in (array, np.zeros_like(array)):
        assert (unpack(serialization.pack_array(given), 10**6) == given).all()
        assert (serialization.unpack_array(pack(given)) == given).all()


def test_every_damaged_array_is_refused():
    whole = pack(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="array"):
            unpack(whole[:length], 10**6)
    draws = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draws.integers(len(whole))] = draws.integers(256)
        try:
            unpack(bytes(damaged), 10**6)
        except Exception as error:
            assert type(error).__name__ in ("ValueError", "Refusal"), error
