"""The load that a server bears: several people at once, and many sessions one after another.

    python research/reliability/serve_load.py --seconds 120 --sessions 1000 --out FILE

Eight sessions of `vessels` on made-up pictures of 256x256, one mark a second in each, a third of
them taken back; then sessions that are opened and closed. Gives milliseconds of a mark by the
clock, processor seconds of a mark and of a session, errors, memory through the time, and
the files that are left. On a busy machine the clock is wrong and the processor seconds are right.
`--sessions 0` measures people alone, and keeps what FILE says of sessions.
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from hidiff.suites.hardware import processor

API = "/api/v1"
PEOPLE = 8
PARTS = 4  # of the time, at whose ends memory is read
PATIENCE = 1800  # seconds for an answer
RESULT = Path(__file__).parent / "results" / "serve_load.json"


def draw_picture(size: int, seed: int) -> bytes:
    """Draw dark lines on noise."""
    draws = np.random.default_rng(seed)
    values = draws.integers(60, 120, (size, size, 3), dtype=np.uint8)
    values[:: size // 8] = 30
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


class Server:
    """A server in a process of its own, with a folder for its temporary files."""

    def __init__(self, folder: Path):
        self.folder = folder
        command = [sys.executable, "-m", "hidiff", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)}
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[3].rstrip("/")
        self.facts = psutil.Process(self.process.pid)

    def connect(self) -> httpx.Client:
        """Return a client of its own for each person."""
        return httpx.Client(base_url=self.address, timeout=PATIENCE)

    def memory_mib(self) -> int:
        """Return the memory that is resident now."""
        return round(self.facts.memory_info().rss / 2**20)

    def processor_seconds(self) -> float:
        """Return user and system time since its start."""
        times = self.facts.cpu_times()
        return times.user + times.system

    def files_of_sessions(self) -> int:
        """Return the number of files that sessions have left."""
        places = self.folder.glob("hidiff-serve-*/sessions")
        return sum(path.is_file() for place in places for path in place.rglob("*"))

    def end(self) -> int:
        """End it by SIGTERM; return the number of files and folders that it leaves."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        return len(list(self.folder.iterdir()))


def open_session(client: httpx.Client, content: bytes) -> str:
    """Open a picture and wait until it is ready."""
    files = [("files", ("a.png", content))]
    session = client.post(f"{API}/sessions", data={"model": "vessels"}, files=files).json()
    while session["state"] == "opening":
        session = client.get(f"{API}/sessions/{session['id']}?wait=20").json()
    assert session["state"] == "ready", session
    return session["id"]


class Person:
    """Someone who marks a place each second, and takes some marks back."""

    def __init__(self, server: Server, seed: int, seconds: float, all_open: threading.Barrier):
        self.times: list[float] = []
        self.errors: list[str] = []
        self._server, self._seed, self._seconds = server, seed, seconds
        self._all_open = all_open
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        with self._server.connect() as client:
            try:
                key = open_session(client, draw_picture(256, self._seed))
            except BaseException:
                self._all_open.abort()
                raise
            self._all_open.wait(PATIENCE)
            self._mark(client, f"{API}/sessions/{key}")
            self._all_open.wait(PATIENCE)  # memory is read before the sessions are closed
            client.delete(f"{API}/sessions/{key}")

    def _mark(self, client: httpx.Client, path: str) -> None:
        draws = random.Random(self._seed)
        until = time.time() + self._seconds
        while time.time() < until:
            start = time.perf_counter()
            point = [draws.uniform(0, 255), draws.uniform(0, 255)]
            mark = {"point": point, "label": "vessel", "add": draws.random() < 0.5}
            takes_back = draws.random() < 0.3
            answer = (
                client.post(f"{path}/undo")
                if takes_back
                else client.post(f"{path}/marks", json=mark)
            )
            self.times.append(time.perf_counter() - start)
            if answer.status_code != 200:
                self.errors.append(answer.text[:200])
            time.sleep(max(0.0, 1 - (time.perf_counter() - start)))


def measure_people(server: Server, seconds: float) -> dict:
    """Let eight people work, and watch memory and processor time."""
    all_open = threading.Barrier(PEOPLE + 1)
    people = [Person(server, seed, seconds, all_open) for seed in range(PEOPLE)]
    all_open.wait(PATIENCE)
    before = server.processor_seconds()
    memory = [server.memory_mib()]
    for _ in range(PARTS):
        time.sleep(seconds / PARTS)
        memory.append(server.memory_mib())
        print("memory", memory, file=sys.stderr, flush=True)
    all_open.wait(PATIENCE)
    spent = server.processor_seconds() - before
    for person in people:
        person.thread.join()
    times = [each for person in people for each in person.times]
    errors = [line for person in people for line in person.errors]
    return {
        "marks": len(times),
        "num_errors": len(errors),
        "errors": errors[:5],
        "median_ms": round(1000 * float(np.median(times))),
        "p95_ms": round(1000 * float(np.percentile(times, 95))),
        "processor_ms_a_mark": round(1000 * spent / len(times)),
        "memory_mib_at_start_and_by_quarter": memory,
        "memory_half_to_end": round(memory[-1] / memory[PARTS // 2], 3),
    }


def measure_sessions(server: Server, count: int) -> dict:
    """Open and close sessions one after another."""
    memory = []
    before = server.processor_seconds()
    with server.connect() as client:
        for number in range(count):
            key = open_session(client, draw_picture(64, number))
            client.delete(f"{API}/sessions/{key}")
            if (number + 1) % max(1, count // 10) == 0:
                memory.append(server.memory_mib())
                print("sessions", number + 1, "memory", memory[-1], file=sys.stderr, flush=True)
    return {
        "sessions": count,
        "processor_ms_a_session": round(1000 * (server.processor_seconds() - before) / count),
        "memory_mib_by_tenth": memory,
        "memory_first_tenth_to_end": round(memory[-1] / memory[0], 3),
    }


def main() -> None:
    """Run both and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        load = psutil.getloadavg()[0]
        former = json.loads(options.out.read_text()) if not options.sessions else {}
        result = {
            "processor": processor(),
            "cores": psutil.cpu_count(),
            "load_average_before": round(load, 1),
            "seconds": options.seconds,
            "people": measure_people(server, options.seconds),
            "one_after_another": former.get("one_after_another")
            or measure_sessions(server, options.sessions),
            "files_of_sessions_left": server.files_of_sessions(),
            "files_left_after_sigterm": server.end(),
        }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
