"""Only who has the token may ask, within limits, and nothing leads out of the folders."""

import io
import logging
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from hidiff.serve.settings import ServeSettings
from hidiff.serve.uploads import safe_name
from tests.serve.conftest import open_image

API = "/api/v1"
TOKENS = ("the token of the first", "the token of another")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:1527", "127.0.0.1.evil.example", "", "user@localhost", "["],
)
def test_another_host_name_is_refused(client, host):
    answer = client.get(f"{API}/status", headers={"Host": host})
    assert answer.status_code == 403 and "Host" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1:1527", "localhost:9", "[::1]:1527", "LOCALHOST"])
def test_this_machines_names_are_taken(client, host):
    assert client.get(f"{API}/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:80", "file://"]
)
def test_another_origin_is_refused(client, origin):
    for method, path in (("GET", f"{API}/status"), ("POST", f"{API}/sessions"), ("POST", "/claim")):
        answer = client.request(method, path, headers={"Origin": origin})
        assert answer.status_code == 403 and "another address" in answer.json()["detail"]
        assert "access-control-allow-origin" not in answer.headers


def test_the_pages_own_origin_is_taken_and_others_by_name(make_client):
    client = make_client(allowed_origin=("http://localhost:5173",))
    own = client.get(f"{API}/status", headers={"Origin": "http://127.0.0.1:1527"})
    assert own.status_code == 200
    named = {"Origin": "http://localhost:5173"}
    answer = client.get(f"{API}/status", headers={**named, "Sec-Fetch-Site": "cross-site"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert client.options(f"{API}/sessions", headers=named).status_code == 204


def test_a_cross_site_request_without_an_origin_is_refused(client):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.get(f"{API}/sessions", headers=headers).status_code == 403
    assert client.get("/", headers=headers).status_code == 200  # a link leads here


def test_every_route_but_the_page_wants_the_token(make_client):
    client = make_client(token=TOKENS)
    for path, each in (
        client.get(f"{API}/openapi.json", headers=bearer(TOKENS[0])).json()["paths"].items()
    ):
        for method in each:
            for headers in (
                {},
                bearer("wrong"),
                bearer(TOKENS[0] + "x"),
                {"Authorization": TOKENS[0]},
            ):
                answer = client.request(
                    method, path.replace("{", "").replace("}", ""), headers=headers
                )
                expected = 200 if path == "/healthz" else 401
                assert answer.status_code == expected, (method, path)
    assert client.get("/").status_code == 200


def test_nobody_reaches_the_session_of_another_token(make_client, eye):
    client = make_client(token=TOKENS)
    session = open_image(client, eye, **bearer(TOKENS[0]))
    path = f"{API}/sessions/{session['id']}"
    for method, what in (("GET", ""), ("DELETE", ""), ("POST", "/undo"), ("GET", "/masks")):
        assert client.request(method, path + what, headers=bearer(TOKENS[1])).status_code == 404
    assert client.get(f"{API}/sessions", headers=bearer(TOKENS[1])).json() == []
    assert client.get(path, headers=bearer(TOKENS[0])).status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0"}, "a token is needed"),
        ({"host": "192.168.1.5"}, "a token is needed"),
        ({"token": ("short",)}, "16 or more"),
    ],
)
def test_settings_that_are_not_safe_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        ServeSettings(**changes).check()


def test_too_large_requests_are_refused_before_they_are_read(make_client, eye):
    client = make_client(max_upload=1)
    large = client.post(f"{API}/sessions", files=[("files", ("a.png", b"0" * 2**21))])
    assert large.status_code == 413 and "1 MiB" in large.json()["detail"]
    json = client.post(f"{API}/sessions/x/marks", content=b"[" * 2**21)
    assert json.status_code == 413

    def drip():
        for _ in range(40):
            yield b"0" * 2**16

    # without a length in its head
    answer = client.post("/set_image", content=drip(), headers={"X-Lease-Token": "x"})
    assert answer.status_code == 413, answer.text


def upload(client, *files, model="one_class"):
    return client.post(
        f"{API}/sessions", data={"model": model}, files=[("files", each) for each in files]
    )


def outcome(client, answer) -> tuple[int, str]:
    """Return the status and the line of an upload that is refused, at once or when it is opened."""
    if answer.status_code != 201:
        return answer.status_code, answer.json()["detail"]
    session = client.get(f"{API}/sessions/{answer.json()['id']}?wait=20").json()
    return 422, session["error"] or session["state"]


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A few kilobytes that claim 400 million pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = (20000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def nifti_head(side: int) -> bytes:
    import nibabel as nib

    head = nib.Nifti1Header()
    head.set_data_shape((side, side, 100))
    head.set_data_dtype(np.int16)
    head["magic"], head["vox_offset"] = b"n+1", 352
    return head.binaryblock + b"\0" * 64


HOSTILE = [
    ("text", ("a.png", b"no picture"), 422, "cannot be read"),
    ("program", ("a.exe", b"MZ"), 415, "no kind of image"),
    ("HDF5", ("a.h5", b"\x89HDF"), 415, "HDF5"),
    ("pixels", ("a.png", huge_png()), 422, "89478485 pixels"),
    ("voxels", ("a.nii", nifti_head(8000)), 413, "unpacks to more"),
    ("cut off", ("a.nii.gz", b"\x1f\x8b\x08\0"), 422, ""),
    ("pickle", ("a.npy", b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, "
     b"'shape': (1,), }".ljust(128) + b"\n"), 422, ""),
    ("zip bomb", ("a.zip", zipped(**{"a.png": b"\0" * 2**23})), 413, "holds more than"),
    ("no zip", ("a.zip", b"PK"), 422, "does not read as a zip"),
    ("session alone", ("a.session", zipped(header=b"{}")), 422, "without its image"),
    ("session bomb", ("a.session", zipped(header=b"\0" * 2**23)), 413, "holds more than"),
    ("empty", ("a.png", b""), 422, "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "status", "words"), HOSTILE, ids=[h[0] for h in HOSTILE])
def test_a_hostile_upload_is_one_line(make_client, name, file, status, words):
    client = make_client(max_unpacked=4)
    came, line = outcome(client, upload(client, file))
    assert words in line and "\n" not in line, line
    assert came in (status, 422)
    assert str(client.service.store.root) not in line


def test_too_many_files_are_refused(make_client):
    client = make_client(max_files=50)
    answer = upload(client, *[(f"{number}.png", b"") for number in range(60)])
    assert answer.status_code == 400 and "50" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "a/../../evil.png", ".evil.png"]
)
def test_no_name_leads_out_of_the_private_folder(client, eye, tmp_path, name):
    before = set(tmp_path.rglob("*"))
    answer = upload(client, (name, eye.read_bytes()))
    assert answer.status_code == 201
    (folder,) = client.service.store.root.iterdir()
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in written] == ["evil.png"]
    assert set(tmp_path.rglob("*")) == before
    zip_answer = upload(client, ("a.zip", zipped(**{name: eye.read_bytes()})))
    assert (
        client.get(f"{API}/sessions/{zip_answer.json()['id']}?wait=20").json()["state"] == "ready"
    )


def test_every_name_becomes_harmless():
    for name in ("", ".", "..", "/", "a\0b.png", "x" * 500 + ".nii.gz", "con.png", "€ ü.png", None):
        safe = safe_name(name, 3)
        assert safe and len(safe) <= 100 and not set(safe) & set("/\\\0") and safe[0] != "."
    assert safe_name("x" * 500 + ".nii.gz", 0).endswith(".nii.gz")


@pytest.mark.parametrize(
    "path",
    [
        "/page/../settings.py",
        "/page/%2e%2e/settings.py",
        "/page/..%2fguard.py",
        "/page//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code in (403, 404) and "import" not in answer.text


def test_an_error_of_the_server_tells_nothing_of_its_inside(client, eye, monkeypatch, caplog):
    session = open_image(client, eye)
    entry = next(iter(client.service.store._entries.values()))

    def fail(*args):
        raise RuntimeError("patient Jane Doe")

    monkeypatch.setattr(entry.opened.view.__class__, "png", fail)
    with caplog.at_level(logging.INFO, "hidiff.serve"):
        answer = client.get(f"{API}/sessions/{session['id']}/slices/0/image.png")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "an error of the server (RuntimeError). Nothing is lost."
    assert "RuntimeError at" in caplog.text
    for secret in ("Jane", session["id"], eye.name):
        assert secret not in caplog.text


def test_every_answer_carries_the_safe_headers(client):
    for path in ("/", f"{API}/status", f"{API}/nothing", "/page/main.js"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
