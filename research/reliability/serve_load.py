"""The load that a server bears: several people at once, and many sessions one after another.

    python research/reliability/serve_load.py --seconds 120 --sessions 1000 --out FILE

Eight sessions of `vessels` on made-up pictures of 256x256, one mark a second in each; then sessions
that are opened and closed. Gives milliseconds of a mark, errors, memory after each minute, and the
files that are left.
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

API = "/api/v1"
PEOPLE = 8
RESULT = Path(__file__).parent / "results" / "serve_load.json"


def picture(size: int, seed: int) -> bytes:
    """Draw bright lines on noise."""
    draws = np.random.default_rng(seed)
    values = draws.integers(60, 120, (size, size, 3), dtype=np.uint8)
    values[:: size // 8] = 30
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def open_session(client: httpx.Client, content: bytes) -> str:
    """Open a picture and wait until it is ready."""
    files = [("files", ("a.png", content))]
    session = client.post(f"{API}/sessions", data={"model": "vessels"}, files=files).json()
    while session["state"] == "opening":
        session = client.get(f"{API}/sessions/{session['id']}?wait=20").json()
    assert session["state"] == "ready", session
    return session["id"]


def work(
    address: str,
    seed: int,
    seconds: float,
    all_open: threading.Barrier,
    times: list[float],
    errors: list[str],
) -> None:
    """Mark a place each second once all sessions are open, and take some marks back."""
    draws = random.Random(seed)
    with httpx.Client(base_url=address, timeout=120) as client:
        path = f"{API}/sessions/{open_session(client, picture(256, seed))}"
        all_open.wait()
        until = time.time() + seconds
        while time.time() < until:
            start = time.perf_counter()
            point = [draws.uniform(0, 255), draws.uniform(0, 255)]
            mark = {"point": point, "label": "vessel", "add": draws.random() < 0.5}
            undo = draws.random() < 0.3
            answer = (
                client.post(f"{path}/undo") if undo else client.post(f"{path}/marks", json=mark)
            )
            times.append(time.perf_counter() - start)
            if answer.status_code != 200:
                errors.append(answer.text[:200])
            time.sleep(max(0.0, 1 - (time.perf_counter() - start)))
        client.delete(path)


def measure_people(address: str, seconds: float, process: psutil.Process) -> dict:
    """Let eight people work, and watch the memory."""
    times: list[float] = []
    errors: list[str] = []
    all_open = threading.Barrier(PEOPLE + 1)
    threads = [
        threading.Thread(target=work, args=(address, seed, seconds, all_open, times, errors))
        for seed in range(PEOPLE)
    ]
    for thread in threads:
        thread.start()
    all_open.wait()
    until = time.time() + seconds
    memory = []
    while time.time() < until:
        time.sleep(seconds / 4)
        memory.append(round(process.memory_info().rss / 2**20))
    for thread in threads:
        thread.join()
    return {
        "marks": len(times),
        "errors": errors[:5],
        "median_ms": round(1000 * float(np.median(times))),
        "p95_ms": round(1000 * float(np.percentile(times, 95))),
        "memory_mib_by_quarter": memory,
    }


def measure_sessions(address: str, count: int, process: psutil.Process) -> dict:
    """Open and close sessions one after another."""
    memory = []
    with httpx.Client(base_url=address, timeout=120) as client:
        for number in range(count):
            client.delete(f"{API}/sessions/{open_session(client, picture(64, number))}")
            if number % max(1, count // 10) == 0:
                memory.append(round(process.memory_info().rss / 2**20))
    return {"sessions": count, "memory_mib_by_tenth": memory}


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
        process = subprocess.Popen(
            [sys.executable, "-m", "hidiff", "serve", "--port", "0"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": folder},
        )  # fmt: skip
        address = process.stdout.readline().split()[3].rstrip("/")
        watched = psutil.Process(process.pid)
        result = {
            "load_average": round(psutil.getloadavg()[0], 1),
            "cores": psutil.cpu_count(),
            "seconds": options.seconds,
            "people": measure_people(address, options.seconds, watched),
            "one_after_another": measure_sessions(address, options.sessions, watched),
            "files_of_sessions_left": sum(path.is_file() for path in Path(folder).rglob("*")),
        }
        process.terminate()
        process.wait(60)
        result["files_left"] = len(list(Path(folder).iterdir()))
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
