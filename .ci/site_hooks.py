"""Fit the pages of docs/ to the site: links to files outside docs/ become names of files.

Pages link to research/, recipes/ and src/ for those who read them in the repository. The site has
no such files, so there such a link is a name in the repository. Model cards are pages of the site.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
CARDS = "src/hidiff/models"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the cards of the models that come with HiDiff."""
    for card in sorted((ROOT / CARDS).glob("*.md")):
        files.append(File.generated(config, f"cards/{card.name}", abs_src_path=str(card)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files outside docs/ into names, and links to cards into links of the site."""
    return LINK.sub(lambda link: _inside(link, page.file.src_uri), markdown)


def _inside(link: re.Match[str], page: str) -> str:
    text, ups, path, anchor = link.groups()
    if ups.count("../") <= page.count("/"):
        return link[0]  # stays in docs/
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"docs/{page} links to {path}, which does not exist")
    if path.startswith(CARDS) and path.endswith(".md"):
        return f"[{text}]({'../' * page.count('/')}cards/{Path(path).name}{anchor or ''})"
    name = path.rstrip("/")
    return f"`{name}`" if text.strip("`") in (name, Path(name).name) else f"{text} (`{name}`)"
