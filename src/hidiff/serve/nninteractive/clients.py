"""Shared by all routes of the protocol: the server's model and class, leases, work in threads."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from hidiff.models import read_head
from hidiff.serve.api.access import owner_of
from hidiff.serve.nninteractive.answers import META
from hidiff.serve.nninteractive.leases import Lease, Leases
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.remarks import caught_warnings
from hidiff.serve.service import Service

M = TypeVar("M", bound=BaseModel)

Token = Annotated[str | None, Header(alias="X-Lease-Token", max_length=200)]


class Clients:
    """The clients of a server; each works on the server's default model."""

    def __init__(self, service: Service):
        self.service = service
        self.leases = Leases(service.settings.max_sessions)
        self.most_bytes = service.settings.max_unpacked_bytes
        service.sweepers.append(self.leases.sweep)

    def find(self, request: Request, token: str | None, acts: bool = True) -> Lease:
        """Return the lease of a request; `acts`: a person does something, which keeps it alive."""
        return self.leases.get(token, owner_of(request), acts)

    async def act(
        self, request: Request, token: str | None, task: Callable[[Lease], Response]
    ) -> Response:
        """Run a task in a thread, one at a time for each lease; a user's error becomes a 400."""
        lease = self.find(request, token)

        def run() -> Response:
            with lease.lock, caught_warnings():
                try:
                    return task(lease)
                except (ValueError, OSError) as error:
                    raise Refusal(400, one_line(error)) from error

        return await run_in_threadpool(run)

    def label(self) -> str:
        """Return the class that marks mean. Raises Refusal with the names if nobody chose one."""
        offered = self.service.offered
        classes = read_head(offered.path_of(offered.default)).class_names
        label = self.service.settings.label
        if label is None and len(classes) == 1:
            return classes[0]
        if label is None or label not in classes:
            names = ", ".join(classes)
            raise Refusal(
                400,
                f"the model has the classes {names}. Start the server with --label and one of "
                "them.",
            )
        return label


def meta_of(request: Request, model: type[M]) -> M:
    """Return the contents of the X-Meta header."""
    try:
        return model.model_validate_json(request.headers.get(META, "{}"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refusal(422, f"{META}: {place} {first['msg']}") from error
