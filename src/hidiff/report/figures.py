"""Pictures and charts as parts of a page that needs no other file."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from hidiff.report.pictures import Rgb

FEW_PIXELS = 128  # a picture up to this side is shown pixel by pixel


@dataclass(frozen=True)
class PageFigure:
    """A picture within a page."""

    source: str
    """data: URI"""
    caption: str
    alternative: str
    """description for those who cannot see it"""
    exact: bool = False
    """small, so that each pixel is shown as a square"""


def picture_figure(picture: Rgb, caption: str, alternative: str, longest_side: int) -> PageFigure:
    """Return a picture, shrunk to at most `longest_side` pixels."""
    kind, content = compact(picture, longest_side)
    return PageFigure(_data_uri(f"image/{kind}", content), caption, alternative, kind == "png")


def chart_figure(svg: bytes, caption: str, alternative: str) -> PageFigure:
    """Return a chart; as an image, so that no script of a name in it could run."""
    return PageFigure(_data_uri("image/svg+xml", svg), caption, alternative)


def compact(picture: Rgb, longest_side: int) -> tuple[str, bytes]:
    """Return the picture at most `longest_side` pixels long: "png" (exact) if small, else "jpeg".

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


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
