"""The command: its port, its address, its end, and how soon it answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from hidiff.serve.run import PortTaken, address_of, open_browser, open_port
from hidiff.serve.settings import ServeSettings

COMMAND = [sys.executable, "-m", "hidiff"]


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
    with urllib.request.urlopen(address + path, timeout=60) as answer:
        return answer.read()


def test_it_answers_before_torch_is_imported_and_sigterm_ends_it_without_a_trace(tmp_path):
    process, address = start("serve", "--port", "0", TMPDIR=str(tmp_path))
    try:
        assert b"<title>HiDiff</title>" in get(address, "")
        assert not json.loads(get(address, "api/v1/status"))["ready"]
        assert list(tmp_path.glob("hidiff-serve-*"))
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
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
    result = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)
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


def test_a_killed_server_loses_no_mask_that_was_saved(tmp_path, eye, models):
    place = (str(eye), "--output", str(tmp_path / "masks"), "--port", "0")
    own = ("--models", str(models["one_class"]))
    process, address = start("serve", *place, *own, TMPDIR=str(tmp_path))
    try:
        body = b'--x\r\nContent-Disposition: form-data; name="case"\r\n\r\n0\r\n--x--\r\n'
        request = urllib.request.Request(
            f"{address}api/v1/sessions",
            data=body,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            key = json.load(answer)["id"]
        for _ in range(10):
            state = json.loads(get(address, f"api/v1/sessions/{key}?wait=20"))["state"]
            if state == "ready":
                break
        post = urllib.request.Request(f"{address}api/v1/sessions/{key}/save", data=b"")
        urllib.request.urlopen(post, timeout=60).close()
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert (tmp_path / "masks" / "eye_labels.png").is_file()
    time.sleep(0.1)
    process, address = start("serve", *place, TMPDIR=str(tmp_path))
    try:
        assert json.loads(get(address, "api/v1/cases"))["cases"][0]["done"]
    finally:
        process.terminate()
        process.communicate(timeout=60)
