"""The worst habits of English stay out of docstrings, help texts and docs.

Few rules, each without false alarms: the rest is for readers to judge.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from hidiff.cli import app

ROOT = Path(__file__).parents[1]
# A docstring that begins so is a clause without a sentence: "Of the draws", "Whether it fits".
CLAUSES = re.compile(r"(of|as|what|which|whether|where|who|whose|how)\b", re.IGNORECASE)
NO_LEADING_ZERO = re.compile(r"(?<![\w.)\]/*])\.\d{2,}(?![\w.]*[a-z])")
# Words that make a sentence of a long help text.
VERBS = re.compile(
    r"\b(is|are|was|were|be|been|has|have|had|do|does|can|must|may|will|need|needs|take|takes|"
    r"give|gives|give[sn]|show|shows|write|writes|read|reads|keep|keeps|leave|left|make|makes|"
    r"use|uses|used|add|adds|find|finds|found|say|says|go|goes|come|comes|lie|lies|add up|"
    r"list|lists|replace|refine|compare|train|trained|predict|change|changes|chang\w+|work|works|"
    r"draw|draws|drawn|choose|chosen|compute|computed|computes|see|sees|know|named|means|averaged?|"
    r"cut|call|calls|ignore|ignores|name|names|get|gets|start|starts|stay|stays|stand|stands|"
    r"evaluate|calibrate|store|load|check|segment|run|skip|continue|connect|opens?|sav\w+|copies|"
    r"correct|serve|print|export|push|upload|adapt|turns?|becomes?|count|counts|move|moves)\b",
    re.IGNORECASE,
)


def docstrings(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each docstring, also those of fields."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield place, text
            if isinstance(node, ast.ClassDef):
                for field, below in pairwise(node.body):
                    if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                        yield f"{place} {ast.unparse(field.target)}", str(text_of(below.value))


def text_of(node: ast.expr) -> str:
    """Return the text that a piece of code begins with; empty if it is none."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def descriptions() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each description of a setting and help of an option."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("description", "help"):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", text_of(node.value)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("folder", ["src", "tests", "research"])
def test_docstrings_begin_with_a_verb_or_a_subject(folder):
    if not (ROOT / folder).is_dir():
        pytest.skip(f"{folder}/ is no part of this copy")
    found = list(docstrings(folder))
    assert found, f"no docstring in {folder}/"
    # a script of research/ may begin with the question that it answers
    clauses = [
        f"{place}: {text.splitlines()[0]}"
        for place, text in found
        if CLAUSES.match(text) and not (folder == "research" and "?" in text)
    ]
    assert not clauses, "\n".join(clauses)


def test_descriptions_of_settings_and_options_do_too():
    found = list(descriptions())
    assert len(found) > 100
    clauses = [f"{place}: {text}" for place, text in found if CLAUSES.match(text)]
    assert not clauses, "\n".join(clauses)


def test_numbers_in_docs_have_a_leading_zero():
    found = [
        f"{page.relative_to(ROOT)}:{number}: {match[0]}"
        for page in pages()
        if page.is_file()
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        for match in NO_LEADING_ZERO.finditer(line)
    ]
    assert not found, "\n".join(found)


def help_texts(command, path: str = "hidiff") -> Iterator[tuple[str, str]]:
    """Yield the help of a command, of its options and of all commands below it."""
    yield path, (command.help or "").split("\n\n")[0].replace("\n", " ")
    for parameter in command.params:
        yield f"{path} {parameter.name}", getattr(parameter, "help", None) or ""
    for name, below in getattr(command, "commands", {}).items():
        yield from help_texts(below, f"{path} {name}")


def test_long_help_texts_have_a_verb():
    found = list(help_texts(get_command(app)))
    assert len(found) > 50
    bare = [
        f"{place}: {text}" for place, text in found if len(text) > 80 and not VERBS.search(text)
    ]
    assert not bare, "\n".join(bare)


def test_every_command_and_option_has_a_help_text():
    silent = [place for place, text in help_texts(get_command(app)) if not text.strip()]
    assert not silent, ", ".join(silent)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("scored .839 there", True), ("scored 0.839", False), ("files.py .safetensors", False),
     ("version 1.26.4", False), ("a .25 share", True)],
)  # fmt: skip
def test_the_rule_of_zeros_has_no_false_alarm(text, wrong):
    assert bool(NO_LEADING_ZERO.search(text)) is wrong
