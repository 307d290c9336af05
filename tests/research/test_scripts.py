"""Every script of research/ runs, is in the index, and every link leads to a file."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESEARCH = ROOT / "research"
FOLDERS = ("method", "speed", "reliability", "pages")
MODULES = sorted(file for folder in FOLDERS for file in (RESEARCH / folder).glob("*.py"))
SCRIPTS = [file for file in MODULES if "argparse" in file.read_text(encoding="utf-8")]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"),
     *RESEARCH.glob("*.md"), *RESEARCH.glob("method/**/*.md")]
)  # fmt: skip
# Libraries of extras, and atheris, which only fuzzing needs.
OPTIONAL = {"atheris", "highdicom", "nrrd", "onnx", "onnxruntime", "openvino", "pydicom", "ray"}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_every_script_imports_and_says_what_it_is_for(file, monkeypatch):
    module = load(file, monkeypatch)
    assert module.__doc__ and len(module.__doc__.splitlines()[0]) > 20


@pytest.mark.parametrize("file", SCRIPTS, ids=name_of)
def test_every_script_answers_help(file, monkeypatch, capsys):
    module = load(file, monkeypatch)
    monkeypatch.setattr("sys.argv", [str(file), "--help"])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"usage: {file.name}")
    assert module.__doc__.split()[0] in shown


def load(file: Path, monkeypatch):
    """Import a script; skip the test if that needs a library of an extra."""
    monkeypatch.syspath_prepend(file.parent)  # as Python does when it runs the script
    try:
        return importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{file.name} needs {error.name}")


def test_a_script_runs_from_any_folder_and_finds_the_others(tmp_path):
    """compiled.py imports from another script and from timing.py."""
    words = [sys.executable, str(RESEARCH / "speed" / "compiled.py"), "--help"]
    answer = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "--batch" in answer.stdout


def test_the_index_lists_every_script_suite_and_result():
    index = (RESEARCH / "README.md").read_text(encoding="utf-8")
    listed = {link for link in re.findall(r"\]\(([^)#]+)\)", index)}
    files = {str(file.relative_to(RESEARCH)) for file in MODULES}
    files |= {f"suites/{file.name}" for file in (RESEARCH / "suites").glob("*.yaml")}
    files |= {
        str(file.relative_to(RESEARCH))
        for folder in FOLDERS
        for file in (RESEARCH / folder / "results").glob("*.json")
    }
    assert files - listed == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [link.split("#")[0] for link in links if "://" not in link and link[0] != "#"]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_no_number_of_the_readmes_results_is_typed_by_hand():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## When it pays")[1].split("\n## ")[0]
    by_hand = re.sub(r"<!-- evidence -->.*<!-- end of evidence -->", "", section, flags=re.DOTALL)
    assert re.findall(r"\d\.\d+", by_hand) == []
