"""Does the command line still do what it did? A guard for refactorings.

    python research/reliability/same_behaviour.py                     # against the stored results
    python research/reliability/same_behaviour.py --against 2fce81a   # against a commit, run here
    python research/reliability/same_behaviour.py record FOLDER       # FOLDER/results.json
    python research/reliability/same_behaviour.py compare A.json B.json

Checks masks and probabilities of the shipped models, twenty training steps of every arm, written
NIfTI, DICOM SEG and pictures, the CSV and JSON of `hidiff evaluate`, the options and defaults of
all commands, and that a run which the old tree began, and which was killed, goes on. Only the
command line and the files that it writes are used, so the guard runs on any commit. It takes two
minutes on one quiet core; `--against` takes twice that.

The last digits of floating-point arithmetic differ between processors. Where the stored results
come from another one, bits cannot be compared: numbers are compared within tolerances, everything
else exactly. `--against` runs both trees on this machine and compares all bits.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STORED = HERE / "same_behaviour_2fce81a.json"

# Largest relative difference of a number on another processor, by the beginning of a check's name.
# With AVX2 in place of AVX-512 hardly a bit of a probability stays the same; means of the shipped
# models' maps change by up to 0.003 %, and their labels not at all; norms of weights change by up
# to 2.1 % in twenty steps. Predictions of the trained models follow their weights.
TOLERANCES = {"": 0.1, "shipped": 0.0005, "evaluate": 0.25, "evaluate/nodules": 0.005}
GROUPS = ("options", "shipped", "training", "files", "evaluate", "resume")
SMALL = 0.01  # differences of numbers around 0 are divided by this
MOST_SHOWN = 5  # lines a check


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="COMMIT", help="compare with this commit, run here")
    parser.add_argument(
        "--kernels", type=Path, nargs="+", default=[], help="compiled kernels of COMMIT"
    )
    parser.add_argument("--stored", type=Path, default=STORED, help="results to compare with")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--keep", type=Path, help="a new folder for all that is written")
    modes = parser.add_subparsers(dest="mode")
    recording = modes.add_parser("record", help="write FOLDER/results.json")
    recording.add_argument("folder", type=Path, help="a new folder")
    recording.add_argument(
        "--source", type=Path, help="src folder to run, in place of the installed"
    )
    recording.add_argument("--killed", type=Path, help="a killed run of another tree to go on with")
    recording.add_argument("--only", nargs="+", metavar="GROUP", help="some groups of checks")
    comparing = modes.add_parser(
        "compare", help="compare two results.json; exit code 1 if they differ"
    )
    comparing.add_argument("files", type=Path, nargs=2, metavar="JSON")
    args = parser.parse_args()
    if args.mode == "record":
        from same_behaviour_record import record

        print(record(args.folder, args.source, args.killed, args.only))
    elif args.mode == "compare":
        sys.exit(not compare(*map(read_results, args.files)))
    else:
        with folder_of(args.keep) as folder:
            groups = args.only or list(GROUPS)
            sys.exit(not guard(folder, args.against, args.stored, groups, args.kernels))


def guard(
    folder: Path,
    against: str | None,
    stored: Path,
    groups: list[str],
    kernels: Sequence[Path] = (),
) -> bool:
    """Record the present tree, compare it with a commit or with stored results; True if equal."""
    check_imported()
    before = {} if against else read_results(stored)
    commit = against or before["tree"]["commit"]
    old, new = folder / "old", folder / "new"
    words: list[str | Path] = ["--only", *groups]
    old_groups = groups if against else [name for name in groups if name == "resume"]
    if against and not has_commit(against):
        sys.exit(f"{against} is no commit of this clone. Fetch the whole history, or give another.")
    if old_groups and has_commit(commit):
        with worktree_of(commit, folder / "tree", kernels) as tree:
            print(f"running {commit[:10]}", flush=True)
            run_record(old, "--source", tree / "src", "--only", *old_groups)
    elif old_groups:
        print(
            f"Commit {commit} is not in this clone, so the killed run that goes on is this tree's "
            "own. Fetch the whole history to check one that the old tree began."
        )
    if "resume" in old_groups and has_commit(commit):
        words += ["--killed", old / "work" / "killed_run"]
    print("running the present tree", flush=True)
    run_record(new, *words)
    if against:
        before = read_results(old / "results.json")
    checks = before["checks"].items()
    before["checks"] = {name: check for name, check in checks if name.split("/")[0] in groups}
    return compare(before, read_results(new / "results.json"))


def compare(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Print which checks differ, and by how much; True if none does."""
    same_machine = before["machine"] == after["machine"]
    if not same_machine:
        say_machines(before["machine"], after["machine"])
    print(f"before: {before['tree']}, after: {after['tree']}")
    old, new = before["checks"], after["checks"]
    differing, equal_bits = 0, 0
    for name in sorted(old.keys() | new.keys()):
        if name not in new or name not in old:
            lines = ["removed"] if name not in new else ["added"]
        else:
            lines = differences(name, old[name], new[name], bits=same_machine)
            equal_bits += old[name].get("bits") == new[name].get("bits")
        if lines:
            differing += 1
            print(f"{name}: {'; '.join(lines[:MOST_SHOWN])}", end="")
            print(f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else "")
    total = len(old.keys() | new.keys())
    how = "bit for bit" if same_machine else "within the tolerances of another processor"
    print(f"{total - differing} of {total} checks are equal ({how}), {differing} differ.")
    if not same_machine:
        print(f"{equal_bits} of them are equal bit for bit all the same.")
    return not differing


def differences(name: str, old: dict[str, Any], new: dict[str, Any], bits: bool) -> list[str]:
    """Return a line a difference between two checks of one name."""
    lines = list(exact_differences(old.get("exact"), new.get("exact")))
    numbers = number_differences(old.get("numbers", {}), new.get("numbers", {}))
    if bits and old.get("bits") != new.get("bits"):
        size = f"largest change of a number: {numbers[0][1]}" if numbers else "no number changed"
        lines.append(f"bits differ ({size})")
    elif bits:
        lines += [line for _, line in numbers]
    else:
        prefix = max((p for p in TOLERANCES if name.startswith(p)), key=len)
        lines += [line for size, line in numbers if size > TOLERANCES[prefix]]
    return lines


def exact_differences(old: Any, new: Any, above: str = "") -> Iterator[str]:
    """Yield what was added, removed and changed in nested values."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            place = f"{above}.{key}" if above else key
            if key not in new:
                yield f"removed {place} (was {json.dumps(old[key])})"
            elif key not in old:
                yield f"added {place} ({json.dumps(new[key])})"
            else:
                yield from exact_differences(old[key], new[key], place)
    else:
        yield f"changed {above} from {json.dumps(old)} to {json.dumps(new)}".replace("  ", " ")


def number_differences(old: dict[str, float], new: dict[str, float]) -> list[tuple[float, str]]:
    """Return (relative size, line) of every number that differs, the largest first."""
    sizes = []
    for key in sorted(old.keys() | new.keys()):
        if key not in old or key not in new:
            sizes.append((float("inf"), f"{key} {'removed' if key in old else 'added'}"))
        elif old[key] != new[key]:
            size = abs(old[key] - new[key]) / max(abs(old[key]), abs(new[key]), SMALL)
            sizes.append((size, f"{key} {old[key]:g} -> {new[key]:g} ({100 * size:.2g} %)"))
    return sorted(sizes, reverse=True)


def say_machines(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Print that bits cannot be compared, and why."""
    print("The two results come from different machines, so bits of arithmetic are not compared:")
    for line in exact_differences(old, new):
        print(f"  {line}")
    print(
        "Shapes, names, options and files are compared exactly, numbers within tolerances. For a "
        "comparison of all bits on this machine, use --against COMMIT."
    )


def read_results(path: Path) -> dict[str, Any]:
    """Return the content of a results.json."""
    return json.loads(path.read_text())


def run_record(folder: Path, *words: str | Path) -> None:
    """Record in a process of its own, since a tree can be imported only once in each."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), "record", str(folder)]
    subprocess.run([*command, *map(str, words)], check=True)


def has_commit(commit: str) -> bool:
    """Return whether git holds the commit."""
    git = ["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(git, capture_output=True).returncode == 0


@contextmanager
def worktree_of(commit: str, folder: Path, kernels: Sequence[Path] = ()) -> Iterator[Path]:
    """Check a commit out into `folder`, with compiled kernels: those given, or its own."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", str(folder), commit], check=True, capture_output=True)
    try:
        for kernel in kernels or kernels_of(commit, folder):
            shutil.copy(kernel, folder / "src" / "hidiff" / "packed")
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True, capture_output=True)


def kernels_of(commit: str, tree: Path) -> list[Path]:
    """Return kernels for a commit: this tree's where csrc/ has not changed, else built anew."""
    changed = subprocess.run(["git", "-C", str(ROOT), "diff", "--quiet", commit, "--", "csrc"])
    if not changed.returncode:
        return find_kernels()
    print(
        f"csrc/ has changed since {commit}: building its kernels, which takes minutes", flush=True
    )
    target = tree.parent / "kernels"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    constraints = ["-c", str(tree / "constraints.txt")]
    subprocess.run([*pip, *constraints, "--target", str(target), str(tree)], check=True)
    return list(target.glob("hidiff/packed/_kernels*"))


def check_imported() -> None:
    """Stop unless the hidiff that Python imports is the one of this tree."""
    code = "import hidiff; print(hidiff.__file__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    place = result.stdout.strip() or "nowhere"
    if not Path(place).is_relative_to(ROOT):
        sys.exit(
            f"hidiff is imported from {place}, but {ROOT / 'src'} is to be checked. Set "
            "PYTHONPATH=src, or install it with pip install -e ."
        )


def find_kernels() -> list[Path]:
    """Return the compiled kernels of the hidiff that Python imports."""
    code = "import hidiff.packed._kernels as kernels; print(kernels.__file__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if result.returncode:
        print("The present tree has no compiled kernels: both trees run without.")
        return []
    return [Path(result.stdout.strip().splitlines()[-1])]


@contextmanager
def folder_of(keep: Path | None) -> Iterator[Path]:
    """Give the folder to keep, or one that is removed in the end."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="same_behaviour_") as folder:
            yield Path(folder)


if __name__ == "__main__":
    main()
