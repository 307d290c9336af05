"""Answers in the protocol's form."""

import json
from typing import Any

from fastapi import Response

from hidiff.serve.nninteractive.packing import pack
from hidiff.serve.nninteractive.volume import ClientVolume

META = "X-Meta"
"""the header with the facts about a body"""
ARRAY = "application/octet-stream"


def prediction(volume: ClientVolume, runs: bool) -> Response:
    """Return the box that changed, in the protocol's form; an empty body if nothing `runs`."""
    meta: dict[str, Any] = {"ran_prediction": runs, "bbox": None, "dtype": None, "shape": None}
    body = b""
    if runs:
        box, part = volume.predict()
        if part is not None:
            meta |= {"bbox": box, "dtype": part.dtype.name, "shape": list(part.shape)}
            body = pack(part)
    return Response(body, media_type=ARRAY, headers={META: json.dumps(meta)})


def facts(**values: Any) -> Response:
    """Return values as JSON."""
    return Response(json.dumps(values), media_type="application/json")
