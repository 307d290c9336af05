"""The answers of a server to hostile requests: a table of attempts, answers, tracebacks and files.

    python research/reliability/hostile_requests.py --examples 20 --out FILE

Starts `hidiff serve` as anybody does, with a token and small limits, sends attempts by hand, then
lets schemathesis (a package of its own) invent requests from the OpenAPI description. Every answer
must be below 500, without a traceback, and no file may appear outside the private folder.
"""

import argparse
import io
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

TOKEN, ANOTHER = secrets.token_urlsafe(), secrets.token_urlsafe()
BEARER = {"Authorization": f"Bearer {TOKEN}"}
API = "/api/v1"
SLOWEST = 300  # seconds until a slow client is not ended any more
RESULT = Path(__file__).parent / "results" / "hostile_requests.json"


def picture() -> bytes:
    """A small picture that reads."""
    buffer = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    """A zip of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


class Attempts:
    """Requests by hand, and what came back."""

    def __init__(self, address: str):
        self.client = httpx.Client(base_url=address, headers=BEARER, timeout=120)
        self.rows: list[dict] = []

    def note(self, attempt: str, status: int, line: str) -> None:
        self.rows.append({"attempt": attempt, "status": status, "line": line[:120]})

    def send(self, attempt: str, method: str, path: str, **options) -> None:
        answer = self.client.request(method, path, **options)
        try:
            line = answer.json().get("detail", "")
        except (ValueError, AttributeError):
            line = answer.text[:80]
        self.note(attempt, answer.status_code, line)

    def upload(self, attempt: str, *files: tuple[str, bytes]) -> None:
        """Open an image; one that is refused later, when it is read, counts as 422."""
        parts = [("files", each) for each in files]
        answer = self.client.post(f"{API}/sessions", data={"model": "nodules"}, files=parts)
        body = answer.json()
        if answer.status_code != 201:
            self.note(attempt, answer.status_code, body["detail"])
            return
        while body["state"] == "opening":
            body = self.client.get(f"{API}/sessions/{body['id']}?wait=20").json()
        self.note(attempt, 422 if body["state"] == "failed" else 201, body.get("error") or "opened")
        self.client.delete(f"{API}/sessions/{body['id']}")

    def session_of_another(self, attempt: str) -> None:
        """Open an image with one token, and ask for it with the other."""
        files = [("files", ("a.png", picture()))]
        opened = self.client.post(f"{API}/sessions", data={"model": "nodules"}, files=files).json()
        path = f"{API}/sessions/{opened['id']}"
        self.send(attempt, "GET", path, headers={"Authorization": f"Bearer {ANOTHER}"})
        self.client.delete(path)


def run_attempts(address: str) -> list[dict]:
    """Send every attempt by hand."""
    tries = Attempts(address)
    send, upload = tries.send, tries.upload
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        send(f"Host: {host or 'none'}", "GET", f"{API}/status", headers={"Host": host})
    for origin in ("http://evil.example", "null"):
        send(f"Origin: {origin}", "POST", "/claim", headers={"Origin": origin})
    send(
        "cross-site, no Origin", "GET", f"{API}/sessions", headers={"Sec-Fetch-Site": "cross-site"}
    )
    for number in range(3):
        wrong = {"Authorization": f"Bearer {secrets.token_urlsafe()}"}
        send(f"guessed token {number + 1}", "GET", f"{API}/sessions", headers=wrong)
    send("guessed session", "GET", f"{API}/sessions/{secrets.token_urlsafe(18)}")
    tries.session_of_another("session of another token")
    send("guessed lease", "GET", "/lease_status", headers={"X-Lease-Token": "a" * 32})
    for path in ("/page/../guard.py", "/page/%2e%2e%2fguard.py", "/%2e%2e/%2e%2e/etc/passwd"):
        send(f"path {path}", "GET", path)
    for name, count in (("JSON of 5 MiB", 5 * 2**20), ("JSON 100,000 deep", 100_000)):
        send(
            name, "POST", f"{API}/sessions/x/marks", content=b"[" * count,
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
    send(
        "upload of 12 MiB",
        "POST",
        f"{API}/sessions",
        files=[("files", ("a.png", b"0" * 12 * 2**20))],
    )
    send(
        "10,000 files",
        "POST",
        f"{API}/sessions",
        files=[("files", (f"{n}.png", b"")) for n in range(10_000)],
    )
    send(
        "10,000 fields",
        "POST",
        f"{API}/sessions",
        files=[(f"f{n}", (None, b"")) for n in range(10_000)],
    )
    send("no multipart", "POST", f"{API}/sessions", content=b"hello")
    send("packed array of zeros", "POST", "/set_image", content=b"NNIA" + b"\xff" * 64,
         headers={"X-Lease-Token": tries.client.post("/claim").json()["lease_token"]})  # fmt: skip
    upload("no picture", ("a.png", b"hello"))
    upload("cut picture", ("a.png", picture()[:200]))
    upload("program", ("a.exe", b"MZ" * 100))
    upload("HDF5", ("a.h5", b"\x89HDF\r\n\x1a\n"))
    upload("pickle", ("a.npy", b"\x93NUMPY\x01\0v\0" + b"{'descr': '|O'}".ljust(118)))
    upload("zip bomb (1 GiB)", ("a.zip", zipped("a.npy", bytes(2**30))))
    upload("zip with ../", ("a.zip", zipped("../../../../tmp/hidiff_evil.png", picture())))
    upload("name with ../", ("../../../../tmp/hidiff_evil.png", picture()))
    upload("session without its image", ("a.session", zipped("header.json", b"{}")))
    upload("two images", ("a.png", picture()), ("b.png", picture()))
    tries.rows += slow_clients(address)
    return tries.rows


def slow_clients(address: str) -> list[dict]:
    """Send heads and bodies that never end; the server answers, or closes the connection."""
    host, port = address.removeprefix("http://").split(":")
    ask = f"POST /set_image HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    body = f"{ask}Content-Length: 10000\r\n\r\n"
    attempts = {
        "head that never ends": (ask, b""),
        "head, a byte a second": (f"{ask}X-Slow: ", b"a"),
        "body that never comes": (body, b""),
        "body, a byte a second": (body, b"a"),
    }
    return [
        {"attempt": name, **drip((host, int(port)), start.encode(), each)}
        for name, (start, each) in attempts.items()
    ]


def drip(place: tuple[str, int], start: bytes, each: bytes) -> dict:
    """Send a start, then a piece a second, until the server has had enough."""
    begun = time.monotonic()
    came = b""
    with socket.create_connection(place, timeout=1) as opened:
        opened.sendall(start)
        while time.monotonic() - begun < SLOWEST:
            try:
                came = opened.recv(4096)
                break
            except TimeoutError:
                opened.sendall(each)
            except OSError:
                break
    seconds = round(time.monotonic() - begun)
    if seconds >= SLOWEST:
        return {"status": 0, "line": f"still open after {seconds} s"}
    if not came:
        return {"status": 0, "line": f"closed after {seconds} s"}
    line = json.loads(came.decode().partition("\r\n\r\n")[2])["detail"]
    return {"status": int(came.split()[1]), "line": f"after {seconds} s: {line}"[:120]}


def run_schemathesis(address: str, examples: int) -> dict:
    """Let schemathesis invent requests; count them and what it finds of server errors."""
    command = [
        "schemathesis", "run", f"{address}{API}/openapi.json", "--header",
        f"Authorization: Bearer {TOKEN}", "--checks", "not_a_server_error", "--max-examples",
        str(examples), "--no-color", "--phases", "examples,coverage,fuzzing",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # for its cache
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    tail = [
        line.strip() for line in done.stdout.splitlines() if "generated" in line or "cases" in line
    ]
    return {
        "returncode": done.returncode,
        "server_errors": done.stdout.count("Server error"),
        "summary": tail[-3:],
    }


def main() -> None:
    """Run all and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=20, help="of schemathesis, a route")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hidiff", "serve", "--port", "0", "--token", TOKEN]
        command += ["--token", ANOTHER]
        command += ["--max-upload", "10", "--max-unpacked", "64", "--verbose"]
        # a file: a pipe that nobody reads would stop the server when it is full
        written = Path(folder) / "log.txt"
        with written.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, cwd=folder, env={**os.environ, "TMPDIR": folder}
            )
        while "/#" not in written.read_text():
            time.sleep(0.1)
        address = written.read_text().split()[3].partition("/#")[0]
        rows = run_attempts(address)
        print(json.dumps(rows, indent=1), flush=True)
        found = run_schemathesis(address, options.examples)
        process.terminate()
        process.wait(60)
        log = written.read_text()
        left = sorted(path.name for path in Path(folder).iterdir() if path != written)
    result = {
        "attempts": rows,
        "schemathesis": found,
        "tracebacks": log.count("Traceback"),
        "errors_logged": [
            line.partition(" ERROR ")[2] for line in log.splitlines() if " ERROR " in line
        ],
        # the first line is the address with the token, for the person who started it
        "secrets_logged": sum(each in log.partition("\n")[2] for each in (TOKEN, ANOTHER, "evil")),
        "files_left": left
        + [str(path) for path in [Path("/tmp/hidiff_evil.png")] if path.exists()],
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
