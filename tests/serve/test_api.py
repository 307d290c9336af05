"""The JSON API says and does what the library's own session does."""

import base64
import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hidiff
from tests.serve.conftest import SIZE, draw_picture, open_image, wait_ready

API = "/api/v1"


def labels_of(client, session: dict, number: int = 0) -> np.ndarray:
    answer = client.get(f"{API}/sessions/{session['id']}/slices/{number}/labels?format=raw")
    shape = [int(side) for side in answer.headers["X-Shape"].split(",")]
    return np.frombuffer(answer.content, np.uint8).reshape(shape)


def test_the_status_and_the_models_are_told(client, model):
    assert client.get(f"{API}/status").json()["is_local"]
    models = client.get(f"{API}/models").json()["models"]
    assert [each["name"] for each in models] == [
        "one_class",
        "exclusive",
        "regions",
        "vessels",
        "nodules",
    ]
    assert models[0]["classes"] == [model.labels.class_names[0]]


def test_an_opened_image_has_the_mask_that_predict_gives(client, eye, model):
    session = open_image(client, eye)
    assert session["state"] == "ready"
    assert session["shape"] == [1, *SIZE]
    assert (labels_of(client, session) == model.predict(eye).labels).all()
    assert session["labels"][0]["pixels"] == int(model.predict(eye).labels.sum())


def test_the_image_comes_back_as_it_was(client, eye):
    session = open_image(client, eye)
    png = client.get(f"{API}/sessions/{session['id']}/slices/0/image.png").content
    assert (np.asarray(Image.open(io.BytesIO(png))) == draw_picture()).all()


def test_marks_change_what_the_librarys_session_changes_and_nothing_else(client, eye, model):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}"
    own = model.correct(eye)
    before = labels_of(client, session)
    click = {"point": [20, 40], "label": "curve", "radius": 3}
    stroke = {"points": [[50, 10], [50, 30], [60, 40]], "label": "curve", "add": False}
    for mark in (click, stroke):
        change = client.post(f"{path}/marks", json=mark).json()
        if "point" in mark:
            own.click((20.0, 40.0), label="curve", radius=3.0)
        else:
            own.stroke([(50.0, 10.0), (50.0, 30.0), (60.0, 40.0)], label="curve", add=False)
        now = labels_of(client, session)
        assert (now == own.labels).all()
        (_, _), rows, columns = change["box"]
        part = np.frombuffer(base64.b64decode(change["codes"]), np.uint8)
        box = slice(*rows), slice(*columns)
        assert (part.reshape(now[box].shape) == now[box]).all()
        outside = np.ones(now.shape, bool)
        outside[box] = False
        assert (now == before)[outside].all()
        before = now
    assert change["revision"] == own.revision


def test_undo_and_redo_restore_every_pixel(client, eye):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}"
    before = labels_of(client, session).copy()
    client.post(f"{path}/marks", json={"point": [20, 40], "label": "curve", "radius": 6})
    marked = labels_of(client, session).copy()
    assert (marked != before).any()
    undone = client.post(f"{path}/undo").json()
    assert (labels_of(client, session) == before).all()
    assert not undone["can_undo"] and undone["can_redo"]
    client.post(f"{path}/redo")
    assert (labels_of(client, session) == marked).all()


def test_locked_pixels_and_classes_stay_as_they_are(client, eye):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}"
    before = labels_of(client, session).copy()
    locked = client.post(f"{path}/locks", json={"points": [[20, 40]], "radius": 5}).json()
    assert locked["locks_pixels"]
    png = client.get(f"{path}/slices/0/locked").content
    area = np.asarray(Image.open(io.BytesIO(png))) > 0
    assert area[20, 40] and not area[60, 60]
    client.post(f"{path}/marks", json={"point": [22, 42], "label": "curve", "radius": 8})
    now = labels_of(client, session)
    assert (now == before)[area].all() and (now != before).any()
    named = client.post(f"{path}/locks", json={"label": "curve"}).json()
    assert named["labels"][0]["locked"]
    assert not client.post(f"{path}/unlock").json()["labels"][0]["locked"]


def test_the_share_goes_from_the_prior_to_the_refined_mask(client, eye, model):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}/slices/0/labels?format=raw"
    prior = np.frombuffer(client.get(f"{path}&share=0").content, np.uint8).reshape(SIZE)
    assert (prior == model.predict(eye).prior_labels).all()


def test_uncertainty_and_probability_are_those_of_the_prediction(client, eye, model):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}/slices/0"
    predicted = model.predict(eye)
    for name in ("uncertainty", "probability"):
        raw = client.get(f"{path}/{name}?format=raw").content
        expected = np.rint(getattr(predicted, name).reshape(SIZE) * 255)
        assert np.abs(np.frombuffer(raw, np.uint8).reshape(SIZE) - expected).max() <= 1


def test_masks_come_in_the_images_own_format(client, eye):
    session = open_image(client, eye)
    answer = client.get(f"{API}/sessions/{session['id']}/masks")
    assert "eye_masks.zip" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        mask = np.asarray(Image.open(archive.open("eye_labels.png")))
    assert (mask == labels_of(client, session) * 255).all()


def test_a_closed_session_leaves_no_file(client, eye):
    session = open_image(client, eye)
    root = client.service.store.root
    assert list(root.iterdir())
    assert client.delete(f"{API}/sessions/{session['id']}").status_code == 204
    assert not list(root.iterdir())
    assert client.get(f"{API}/sessions/{session['id']}").status_code == 404


def test_the_first_mark_of_a_reopened_session_does_not_wait_for_the_segmentor(
    client, eye, model, tmp_path, monkeypatch
):
    own = model.correct(eye)
    own.click((50.0, 80.0), label="curve", radius=3.0)
    saved = tmp_path / "eye.session"
    own.save(saved)
    own.click((20.0, 40.0), label="curve", radius=3.0)
    session = open_image(client, saved, eye)
    client.service.pool.shutdown(wait=True)  # what is done in the background is done
    segmentor = model.predictor.hybrid.segmentor
    monkeypatch.setattr(segmentor, "forward", lambda image: pytest.fail("the segmentor ran"))
    mark = {"point": [20, 40], "label": "curve", "radius": 3}
    answer = client.post(f"{API}/sessions/{session['id']}/marks", json=mark)
    assert answer.status_code == 200
    assert (labels_of(client, session) == own.labels).all()


def test_an_unused_session_expires(make_client, eye):
    client = make_client(idle_minutes=0.001)
    session = open_image(client, eye)
    time.sleep(0.1)
    client.service.store.sweep()
    answer = client.get(f"{API}/sessions/{session['id']}")
    assert answer.status_code == 404 and "expired" in answer.json()["detail"]


def test_open_images_share_the_memory_for_windows(make_client, eye):
    client = make_client(max_sessions=4, cache_mb=8)
    key = open_image(client, eye)["id"]
    keep = client.service.store._entries[key].opened.session._maps.keep
    assert keep.most_bytes == 2 * 2**20
    mark = {"label": "curve", "radius": 3}
    for row in (10, 30, 50):
        point = [row, row]
        client.post(f"{API}/sessions/{key}/marks", json={**mark, "point": point})
    assert keep.num_bytes <= 2 * 2**20 or len(keep._kept) == 1


def test_only_so_many_sessions_are_open(make_client, eye):
    client = make_client(max_sessions=1)
    session = open_image(client, eye)
    answer = client.post(f"{API}/sessions", files=[("files", ("a.png", eye.read_bytes()))])
    assert answer.status_code == 503 and "1 images are open" in answer.json()["detail"]
    client.delete(f"{API}/sessions/{session['id']}")
    open_image(client, eye)


def test_a_second_tab_is_told_and_can_take_over(client, eye):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}"
    mark = {"point": [20, 40], "label": "curve"}
    assert client.post(f"{path}/marks", json=mark, headers={"X-Tab": "one"}).status_code == 200
    refused = client.post(f"{path}/marks", json=mark, headers={"X-Tab": "two"})
    assert refused.status_code == 409 and "another tab" in refused.json()["detail"]
    client.post(f"{path}/take-over", headers={"X-Tab": "two"})
    assert client.post(f"{path}/undo", headers={"X-Tab": "two"}).status_code == 200
    assert client.post(f"{path}/undo", headers={"X-Tab": "one"}).status_code == 409


def test_images_of_the_folder_are_saved_where_the_server_was_told(make_client, eye, tmp_path):
    client = make_client(places=[eye.parent])
    (case,) = client.get(f"{API}/cases").json()["cases"]
    assert case["name"] == "eye" and not case["done"]
    opened = client.post(f"{API}/sessions", files={"case": (None, case["id"])}).json()
    session = wait_ready(client, opened["id"])
    saved = client.post(f"{API}/sessions/{session['id']}/save").json()
    assert "eye_labels.png" in saved["files"]
    assert (tmp_path / "masks" / "eye_labels.png").is_file()
    assert client.get(f"{API}/cases").json()["cases"][0]["done"]


def test_a_batch_comes_back_as_a_zip_with_its_failures(client, eye):
    files = [("files", ("a.png", eye.read_bytes())), ("files", ("b.png", b"no picture"))]
    answer = client.post(f"{API}/predict", files=files)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "a_labels.png" in archive.namelist()
        errors = archive.read("errors.txt").decode()
    assert errors.startswith("b.png: ") and str(client.service.store.root) not in errors


WRONG = [
    ("marks", {"point": [20, 400], "label": "curve"}, 422, "outside"),
    ("marks", {"point": [20, 40], "label": "liver"}, 422, "curve, background"),
    ("marks", {"label": "curve"}, 422, "either a point"),
    ("marks", {"point": [20, 40, 3], "label": "curve"}, 422, "2 numbers"),
    ("marks", {"point": [20, 40], "label": "curve", "colour": 3}, 422, "Extra inputs"),
    ("marks", {"point": [20, 40], "label": "curve", "radius": -1}, 422, "radius"),
    ("locks", {}, 422, "either a label or points"),
    ("locks", {"label": "liver"}, 422, "curve, background"),
    ("choose", {"number": 3}, 404, "no such candidate"),
    ("save", {}, 409, "was uploaded"),
]


@pytest.mark.parametrize(("what", "body", "status", "words"), WRONG)
def test_a_wrong_correction_is_one_line_and_changes_nothing(client, eye, what, body, status, words):
    session = open_image(client, eye)
    path = f"{API}/sessions/{session['id']}"
    before = labels_of(client, session).copy()
    answer = client.post(f"{path}/{what}", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert (labels_of(client, session) == before).all()
    assert client.get(path).json()["revision"] == 0


def test_slices_and_classes_that_there_are_not_are_named(client, eye):
    path = f"{API}/sessions/{open_image(client, eye)['id']}/slices"
    assert "slices 0 to 0" in client.get(f"{path}/1/labels").json()["detail"]
    assert "only curve" in client.get(f"{path}/0/probability?label=x").json()["detail"]
    low = client.get(f"{path}/0/image.png?low=5&high=2")
    assert low.status_code == 422 and "below" in low.json()["detail"]


def test_an_image_that_does_not_fit_the_model_says_so(client, tmp_path):
    path = tmp_path / "deep.npy"
    np.save(path, np.zeros((7, 32, 32), np.float32))
    session = open_image(client, path)
    assert session["state"] == "failed" and "channels" in session["error"]
    assert str(tmp_path) not in session["error"]


def test_the_description_names_every_route(client):
    paths = client.get(f"{API}/openapi.json").json()["paths"]
    assert f"{API}/sessions/{{id}}/marks" in paths and "/add_point_interaction" in paths


def test_nothing_of_the_page_is_taken_from_elsewhere(client):
    page = Path(hidiff.__file__).parent / "serve" / "page"
    for file in page.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in text and "https://" not in text, file
        assert client.get("/" if file.name == "index.html" else f"/page/{file.name}").is_success
    assert sum(file.stat().st_size for file in page.iterdir()) < 300_000
