"""The parts of a page that needs no other file: style, sections, tables, pictures."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from PIL import Image

from hidiff.report.pictures import Rgb

FEW_PIXELS = 128  # a picture up to this side is shown pixel by pixel


class Html(str):
    """Text that is markup already; every other text is escaped where it enters the page."""


def safe(text: object) -> Html:
    return text if isinstance(text, Html) else Html(escape(str(text)))


def whole_page(title: str, sections: Iterable[str]) -> str:
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(filter(None, sections))
        + "\n</body></html>\n"
    )


def section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>"


def fact_list(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    items = "".join(
        f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in facts.items()
    )
    return f"<dl class=facts>{items}</dl>"


def table(head: Sequence[str], rows: Iterable[Html]) -> Html:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return Html(f"<div class=scroll><table><tr>{names}</tr>{''.join(rows)}</table></div>")


def table_row(name: str, *cells: str, total: bool = False) -> Html:
    start = "<tr class=total>" if total else "<tr>"
    return Html(start + "".join(f"<td>{safe(cell)}</td>" for cell in (name, *cells)) + "</tr>")


def inline_figure(picture: Rgb, caption: str, alternative: str, longest_side: int) -> str:
    kind, content = compact(picture, longest_side)
    data = base64.b64encode(content).decode()
    small = " class=pixels" if kind == "png" else ""
    return (
        f'<figure><img{small} src="data:image/{kind};base64,{data}" alt="{safe(alternative)}">'
        f"<figcaption>{safe(caption)}</figcaption></figure>"
    )


def compact(picture: Rgb, longest_side: int) -> tuple[str, bytes]:
    """The picture at most `longest_side` pixels long, as "png" (exact) if small, else "jpeg".

    Two dozen photographs and noisy masks as PNG would make a page of 10 MB.
    """
    image = Image.fromarray(picture)
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(picture.shape[:2]) <= FEW_PIXELS:
        image.save(buffer, "PNG", optimize=True)
        return "png", buffer.getvalue()
    # No subsampling of colours: it would wash out lines of one pixel.
    image.save(buffer, "JPEG", quality=88, subsampling=0, optimize=True)
    return "jpeg", buffer.getvalue()


STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #59636e; --line: #d5dae0;
  --page: #fff; --card: #f5f7f9; --accent: #0b63a5; --good: #00694c; --bad: #a84300; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ed; --soft: #9aa4af; --line: #343b44;
  --page: #14171b; --card: #1c2026; --accent: #6cb6f0; --good: #4cc79c; --bad: #f29a5c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 2.5rem 1.5rem 4rem; background: var(--page);
  color: var(--text); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; padding-top: .9rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; overflow-wrap: anywhere; }
h3 small { color: var(--soft); font-weight: 400; margin-left: .5rem; }
.verdict { font-size: 1.08rem; margin: 0; max-width: 62rem; }
.hint, figcaption, .legend { color: var(--soft); font-size: .86rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr));
  gap: .5rem; margin: 1.5rem 0 0; }
.facts div { background: var(--card); padding: .5rem .75rem; border-radius: 6px;
  border: 1px solid var(--line); }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-weight: 550; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .86rem; }
th, td { padding: .42rem .8rem .42rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: middle; }
tr.total td { font-weight: 650; }
.tag { display: inline-block; font-size: .76rem; font-weight: 550; padding: 0 .5em;
  border: 1px solid currentColor; border-radius: 999px; color: var(--soft); }
.tag.better { color: var(--good); } .tag.worse { color: var(--bad); }
.split { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.split > div { flex: 1 1 34rem; min-width: 0; }
figure { margin: 0; }
.scatter { flex: 0 1 15.5rem; }
.scatter svg { width: 100%; font-size: 11px; overflow: visible; }
svg text { fill: var(--soft); } .frame { fill: var(--card); stroke: var(--line); }
.zero { stroke: var(--soft); stroke-dasharray: 3 3; }
.case { fill: var(--accent); fill-opacity: .65; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.curve polyline { fill: none; stroke-width: 1.5; } .curve { fill-opacity: .75; }
.c0 { fill: var(--soft); stroke: var(--soft); } .c1 { fill: var(--bad); stroke: var(--bad); }
.c2 { fill: var(--accent); stroke: var(--accent); } svg text.c0, svg text.c1, svg text.c2 {
  stroke: none; } svg text.c1 { fill: var(--bad); } svg text.c2 { fill: var(--accent); }
.forest { display: block; } .bar { stroke: var(--soft); stroke-width: 2; }
.dot { fill: var(--soft); } .dot.better { fill: var(--good); } .dot.worse { fill: var(--bad); }
.bar.better { stroke: var(--good); } .bar.worse { stroke: var(--bad); }
.panels { display: grid; grid-template-columns: repeat(4, 1fr); gap: .7rem .6rem; }
@media (max-width: 640px) { .panels { grid-template-columns: repeat(2, 1fr); } }
.steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.4rem, 1fr));
  gap: 1rem .6rem; }
.step { display: grid; gap: .4rem; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: #16181d; }
img.pixels { image-rendering: pixelated; }
figcaption { margin-top: .25rem; line-height: 1.3; }
.legend { margin: .2rem 0; } .legend span { margin-right: 1rem; white-space: nowrap; }
.legend b { color: var(--text); margin-right: .6rem; font-weight: 550; }
.legend i { display: inline-block; width: .85em; height: .85em; border-radius: 2px;
  margin-right: .4em; vertical-align: -.08em; border: 1px solid var(--line); }
summary { cursor: pointer; } details .scroll { max-height: 32rem; margin-top: .6rem; }
@media print { body { max-width: none; padding: 0; } h3, figure { break-inside: avoid; } }
"""
