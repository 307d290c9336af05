"""Bytes as answers: packed if the client unpacks, never kept by a cache, named for download."""

import gzip
from urllib.parse import quote

from fastapi import Request, Response

NO_STORE = {"Cache-Control": "no-store"}
RAW = "application/octet-stream"
SMALL = 500  # bytes: not worth packing
FAST = 1


def raw(request: Request, content: bytes, shape: tuple[int, ...]) -> Response:
    """Return a byte a pixel, with the shape in a header."""
    headers = {**NO_STORE, "X-Shape": ",".join(map(str, shape))}
    if "gzip" in request.headers.get("accept-encoding", "") and len(content) > SMALL:
        content = gzip.compress(content, FAST)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(content, media_type=RAW, headers=headers)


def png(content: bytes) -> Response:
    """Return a picture."""
    return Response(content, media_type="image/png", headers=NO_STORE)


def download(content: bytes, name: str) -> Response:
    """Return a file to keep, under its name."""
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(
        content, media_type=RAW, headers={**NO_STORE, "Content-Disposition": disposition}
    )
