"""Time `hidiff app` from its start to the page, and to the model.

    python research/speed/app_startup.py [--runs 5] [--out FILE]

Each run starts the command in a fresh process, with a browser that does nothing, then asks for the
page and all its files as a browser does. The page is there when the last of them and the list of
models have come; the model, when the server says so. Gives seconds by the clock and by the
processor (user and system time of the server), and the bytes of the page. On a busy machine the
clock is wrong and the processor seconds are right.
"""

import argparse
import compileall
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import psutil

import hidiff
from hidiff.suites.hardware import processor

RESULT = Path(__file__).parent / "results" / "app_startup.json"
PATIENCE = 1800  # seconds for an answer
LINK = re.compile(r'(?:href|src|from|import)\s*=?\s*"(?:\.|/page)/([\w.]+)')
API = "api/v1"


def get(address: str) -> bytes:
    with urlopen(address, timeout=PATIENCE) as answer:
        return answer.read()


def fetch_page(address: str) -> int:
    """Ask for the page and every file that it names; return the bytes that came."""
    index = get(address)
    total, names, seen = len(index), LINK.findall(index.decode()), set()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        content = get(f"{address}page/{name}")
        total += len(content)
        names += LINK.findall(content.decode())
    get(f"{address}{API}/status")
    get(f"{address}{API}/models")
    return total


def measure(folder: str) -> dict:
    """Start the command once."""
    environment = {**os.environ, "BROWSER": "true", "TMPDIR": folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hidiff", "app", "--port", "0"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    facts = psutil.Process(process.pid)

    def seconds() -> dict:
        times = facts.cpu_times()
        return {"clock": time.perf_counter() - start, "processor": times.user + times.system}

    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[3]
        row = {"address": seconds(), "bytes": fetch_page(address), "page": seconds()}
        while not json.loads(get(f"{address}{API}/status"))["ready"]:
            # on a slow machine seldom: each answer costs the server a few milliseconds
            time.sleep(max(0.05, 0.03 * seconds()["clock"]))
        return {**row, "model": seconds()}
    finally:
        process.terminate()
        process.wait(PATIENCE)


def main() -> None:
    """Run it several times, after once that fills the system's file cache."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    compileall.compile_dir(Path(hidiff.__file__).parent, quiet=1)  # as pip does at install
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(folder) for _ in range(options.runs + 1)][1:]
    result = {
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "load_average_before": round(load, 1),
        "runs": options.runs,
        "page_bytes": rows[0]["bytes"],
    }
    for moment in ("address", "page", "model"):
        for unit in ("clock", "processor"):
            values = [row[moment][unit] for row in rows]
            result[f"{moment}_{unit}_seconds"] = round(statistics.median(values), 2)
            result[f"{moment}_{unit}_range"] = [round(min(values), 2), round(max(values), 2)]
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
