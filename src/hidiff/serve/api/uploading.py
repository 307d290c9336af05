"""The files of a multipart request."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from hidiff.serve.refusal import Refusal
from hidiff.serve.settings import ServeSettings

FIELDS = {"model", "case"}
MAX_FIELD = 64 * 1024  # bytes of a field that is no file


@dataclass
class Form:
    """The files and the two fields that an upload may have."""

    files: list[UploadFile]
    model: str | None
    case: str | None
    data: FormData


def describe_form(*fields: str, required: list[str] | None = None) -> dict[str, Any]:
    """Return the OpenAPI description of an upload."""
    files = {
        "type": "array",
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
    }
    properties: dict[str, Any] = {"files": files, **{name: {"type": "string"} for name in fields}}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


async def read_form(request: Request, settings: ServeSettings) -> Form:
    """Read an upload; raise Refusal for more than is allowed and for fields that nobody knows."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(415, "multipart/form-data with `files` is wanted.")
    data = await request.form(
        max_files=settings.max_files, max_fields=len(FIELDS), max_part_size=MAX_FIELD
    )
    files, fields = [], {}
    for name, value in data.multi_items():
        if name == "files" and isinstance(value, UploadFile):
            files.append(value)
        elif name in FIELDS and isinstance(value, str):
            fields[name] = value or None
        else:
            raise Refusal(422, "the form has a field that is none of files, model and case.")
    return Form(files, fields.get("model"), fields.get("case"), data)
