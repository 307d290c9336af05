"""The command: its port, its address, its end, and how soon it answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import httpx
import numpy as np
import pytest
from PIL import Image

from hidiff.serve.run import PortTaken, address_of, open_browser, open_port
from hidiff.serve.settings import ServeSettings

COMMAND = [sys.executable, "-m", "hidiff"]
PATIENCE = 300  # seconds; a busy machine is slow


def start(*arguments: str, **environment: str) -> tuple[subprocess.Popen, str]:
    """Start a server and return it with the address that it printed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    line = process.stdout.readline()
    assert "HiDiff is at http://127.0.0.1:" in line, line + process.stdout.read()
    return process, line.split()[3]


def get(address: str, path: str) -> bytes:
    with urllib.request.urlopen(address + path, timeout=PATIENCE) as answer:
        return answer.read()


def test_it_answers_before_torch_is_imported_and_sigterm_ends_it_without_a_trace(tmp_path):
    process, address = start("serve", "--port", "0", TMPDIR=str(tmp_path))
    try:
        assert b"<title>HiDiff</title>" in get(address, "")
        assert not json.loads(get(address, "api/v1/status"))["ready"]
        assert list(tmp_path.glob("hidiff-serve-*"))
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, -signal.SIGTERM), output
    assert "Traceback" not in output
    assert not list(tmp_path.glob("hidiff-serve-*"))


def test_nothing_heavy_is_imported_by_the_application_itself():
    code = (
        "import sys\n"
        "from hidiff.serve.web import make_app\n"
        "from hidiff.serve.service import Service\n"
        "from hidiff.serve.offered import OfferedModels\n"
        "from hidiff.serve.settings import ServeSettings\n"
        "make_app(Service(ServeSettings(), OfferedModels()))\n"
        "print({'torch', 'monai', 'matplotlib', 'nibabel'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stdout + result.stderr


def fails(*arguments: str) -> str:
    result = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 2 and "Traceback" not in result.stderr
    return result.stderr


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} .* cannot be used"):
            open_port(ServeSettings(port=port))
        assert f"--port {port + 1}" in fails("app", "--port", str(port))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--host", "0.0.0.0"), "a token is needed"),
        (("serve", "--port", "70000"), "--port 70000"),
        (("serve", "--token", "short"), "16 or more"),
        (("app", "vesels"), "Did you mean vessels"),
        (("serve", "nowhere"), "nothing lies at nowhere"),
        (("app", "vessels", "nowhere"), "nothing lies at nowhere"),
    ],
)
def test_a_wrong_option_is_one_line(arguments, words):
    assert words in " ".join(fails(*arguments).split())


def test_no_browser_is_said_with_the_address(monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    said = []
    open_browser("http://127.0.0.1:5/", said.append)
    assert said == ["No browser opened. Open one at http://127.0.0.1:5/"]


def test_the_token_stands_where_no_server_sees_it():
    settings = ServeSettings(port=0, token=("a token of sixteen characters",))
    with open_port(settings) as opened:
        port = opened.getsockname()[1]
        address = address_of(settings, opened)
    assert address == f"http://127.0.0.1:{port}/#token=a token of sixteen characters"


def wait_ready(client: httpx.Client, opened: httpx.Response) -> dict:
    """Return a session once its image is open."""
    session = opened.raise_for_status().json()
    for _ in range(10):
        if session["state"] != "opening":
            break
        session = client.get(f"sessions/{session['id']}?wait=20").json()
    assert session["state"] == "ready", session
    return session


def labels_of(client: httpx.Client, session: dict) -> bytes:
    return client.get(f"sessions/{session['id']}/slices/0/labels?format=raw").content


def test_a_killed_server_loses_no_saved_mask_and_no_saved_session(tmp_path, eye, models):
    places = (str(eye), "--output", str(tmp_path / "masks"), "--port", "0")
    options = (*places, "--models", str(models["one_class"]))
    process, address = start("serve", *options, TMPDIR=str(tmp_path))
    try:
        with httpx.Client(base_url=f"{address}api/v1/", timeout=PATIENCE) as client:
            session = wait_ready(client, client.post("sessions", files={"case": (None, "0")}))
            path = f"sessions/{session['id']}"
            mark = {"point": [20, 40], "label": "curve", "radius": 6}
            client.post(f"{path}/marks", json=mark).raise_for_status()
            corrected = labels_of(client, session)
            client.post(f"{path}/save").raise_for_status()
            kept = client.get(f"{path}/file").content
            client.post(f"{path}/marks", json={**mark, "point": [50, 60], "add": False})
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)
    (left,) = tmp_path.glob("hidiff-serve-*")
    os.utime(left, (0, 0))  # as if it had been killed long ago
    saved = np.asarray(Image.open(tmp_path / "masks" / "eye_labels.png"))
    assert saved.tobytes() == bytes(255 * code for code in corrected)

    process, address = start("serve", *options, TMPDIR=str(tmp_path))
    try:
        with httpx.Client(base_url=f"{address}api/v1/", timeout=PATIENCE) as client:
            assert client.get("cases").json()["cases"][0]["done"]
            files = {"files": ("eye_session.zip", kept)}
            data = {"model": "one_class"}
            again = wait_ready(client, client.post("sessions", data=data, files=files))
            assert labels_of(client, again) == corrected
            undone = client.post(f"sessions/{again['id']}/undo").json()
            assert undone["box"] is not None and not undone["can_undo"]
            assert labels_of(client, again) != corrected
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, -signal.SIGTERM) and "Traceback" not in output, output
    assert not list(tmp_path.glob("hidiff-serve-*"))
