"""Promises about the package as a whole: quick to import, free to use, safe to load."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import hidiff

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# Quick to import


def modules_after(code: str) -> set[str]:
    """Names of all modules that a fresh interpreter holds once it has run `code`."""
    program = f"{code}\nimport sys\nprint('MODULES', *sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rsplit("MODULES ", 1)[1].split())


HELP = """
import sys
from hidiff.cli import main
sys.argv = ["hidiff", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("code", ["import hidiff", HELP], ids=["import hidiff", "hidiff --help"])
def test_nothing_heavy_is_imported_before_it_is_used(code):
    heavy = {"torch", "monai", "accelerate", "scipy", "matplotlib", "nibabel", "h5py"}
    assert not heavy & modules_after(code)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> Path:
    """A folder with two small images and their masks."""
    folder = tmp_path_factory.mktemp("eyes")
    for kind, values in (("images", (128, 160, 3)), ("masks", (128, 160))):
        (folder / kind).mkdir()
        for name in ("a", "b"):
            pixels = np.zeros(values, np.uint8)
            pixels[40:60, 20:120] = 255
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    return folder


def command(*words: object) -> str:
    """Code that runs `hidiff` with these words."""
    return HELP.replace('["hidiff", "--help"]', repr(["hidiff", *map(str, words)]))


NOT_FOR_PICTURES = {"monai", "accelerate", "matplotlib", "h5py", "nibabel", "pydicom", "jinja2"}


def test_a_prediction_imports_only_what_it_needs(eyes, tmp_path):
    image = eyes / "images" / "a.png"
    modules = modules_after(command("predict", "vessels", image, "--output", tmp_path))
    assert (tmp_path / "a_labels.png").is_file()
    # but for SciPy's ndimage, which finds the lit view of a photograph
    assert not modules & {*NOT_FOR_PICTURES, "beartype"}


def test_an_evaluation_without_a_report_imports_only_what_it_needs(eyes, tmp_path):
    words = ("--data", eyes, "--output", tmp_path, "--overwrite", "--no-report")
    modules = modules_after(command("evaluate", "vessels", *words))
    assert (tmp_path / "summary.json").is_file()
    assert not modules & NOT_FOR_PICTURES


def test_torch_would_be_seen():
    assert "torch" in modules_after("import torch")


@pytest.mark.parametrize("name", hidiff.__all__)
def test_every_public_name_is_found_and_listed(name):
    assert getattr(hidiff, name) is not None
    assert name in dir(hidiff)


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(AttributeError, match=r"'lode'.*\bload\b"):
        hidiff.lode  # noqa: B018 (reading it is the whole test)


# Free to use


def test_the_license_is_apache_2_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {re.escape(hidiff.__version__)}$", citation, re.MULTILINE)


def installed_requirements() -> dict[str, metadata.Distribution]:
    """All that users get with hidiff: its requirements and extras but `dev`, and theirs in turn."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(r for e in extras if e != "dev" for r in extras[e])]
    found: dict[str, metadata.Distribution] = {}
    while lines:
        requirement = Requirement(lines.pop())
        marker = requirement.marker
        if requirement.name in found or (marker and not marker.evaluate({"extra": ""})):
            continue
        try:
            found[requirement.name] = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        lines += found[requirement.name].requires or []
    return found


def license_of(distribution: metadata.Distribution) -> str:
    """The licence as a package states it: an SPDX expression, else classifiers, else a word."""
    about = distribution.metadata
    classifiers = [c for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    if expression := about.get("License-Expression"):
        return expression
    return "; ".join(classifiers) or about.get("License", "").splitlines()[0]


# A library may stand on the LGPL, and wheels may carry GCC's runtime under its exception.
GPL = re.compile(r"(?<!L)GPL(?!\S*GCC-exception)|(?<!Lesser )General Public License")


def test_nothing_that_users_install_is_under_the_gpl():
    licenses = {name: license_of(found) for name, found in installed_requirements().items()}
    assert {"torch", "monai", "numpy"} <= licenses.keys()
    assert not {name: text for name, text in licenses.items() if GPL.search(text)}


@pytest.mark.parametrize(
    ("text", "is_gpl"),
    [
        ("GPL-3.0-or-later", True),
        ("MIT AND AGPL-3.0", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("LGPL-2.1-only", False),
        ("BSD-3-Clause AND GPL-3.0-with-GCC-exception", False),
        ("Apache-2.0", False),
    ],
)
def test_the_gpl_would_be_seen(text, is_gpl):
    assert bool(GPL.search(text)) == is_gpl


# Safe to load: a file that someone was sent can never run code


PICKLE_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
PICKLE_CALLS = {
    "accelerator.load_state",
    "pd.read_pickle",
    "pandas.read_pickle",
    "yaml.unsafe_load",
}


def is_unsafe(node: ast.AST) -> bool:
    """Return True if this piece of code could run code that hides in a file."""
    match node:
        case ast.Import(names=names):
            return any(alias.name.split(".")[0] in PICKLE_MODULES for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            # `from torch import load` would hide the calls from the lines below.
            hides = module in {"torch", "numpy", "yaml"} and "load" in {n.name for n in names}
            return hides or module.split(".")[0] in PICKLE_MODULES
        case ast.Call(func=ast.Attribute(), args=args, keywords=keywords):
            name = ast.unparse(node.func).removeprefix("self.")
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
            return (
                name in PICKLE_CALLS
                or given.get("allow_pickle", "False") != "False"
                or (name in {"np.load", "numpy.load"} and len(args) > 2)
                or (name == "torch.load" and given.get("weights_only") != "True")
                or (name == "yaml.load" and not given.get("Loader", "").endswith("SafeLoader"))
            )
    return False


def unsafe_loads(source: str) -> list[str]:
    """Every unsafe place in Python source, as 'line: code'."""
    nodes = [node for node in ast.walk(ast.parse(source)) if is_unsafe(node)]
    return [f"{node.lineno}: {ast.unparse(node)}" for node in nodes]


@pytest.mark.parametrize(
    "path", SOURCES, ids=[str(path.relative_to(ROOT / "src")) for path in SOURCES]
)
def test_nothing_is_ever_unpickled(path):
    assert unsafe_loads(path.read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "from torch import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, None, True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "self.accelerator.load_state(folder)",
    ],
)
def test_unpickling_would_be_seen(code):
    assert len(unsafe_loads(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "model.load_state_dict(tensors)",
    ],
)
def test_safe_loading_is_left_alone(code):
    assert unsafe_loads(code) == []
