"""The session of a route: by the id in its path, of the owner of the request's token."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Header, Request

from hidiff.serve.opened import Opened
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.service import Service
from hidiff.serve.store import Entry

Tab = Annotated[str | None, Header(alias="X-Tab", max_length=64, description="a browser tab")]


def owner_of(request: Request) -> str:
    """Return the owner that the guard found for the request's token."""
    return request.scope["state"]["owner"]


def find_entry(request: Request, id: str) -> Entry:
    """Return the session of a path."""
    service: Service = request.app.state.service
    service.last_request = time.monotonic()
    return service.store.get(owner_of(request), id)


Found = Annotated[Entry, Depends(find_entry)]


@contextmanager
def held(entry: Entry) -> Iterator[Opened]:
    """Give the session to one request at a time; errors of a user become refusals."""
    with entry.turn():
        opened = entry.ready()
        try:
            yield opened
        except (ValueError, OSError) as error:
            raise Refusal(422, one_line(error, entry.folder)) from error
