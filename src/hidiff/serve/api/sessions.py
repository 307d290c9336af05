"""Routes of sessions: open, list, take over, save, close; and masks of uploads at once."""

# Annotations made from the service at hand: FastAPI reads them as values, not as types.
# pyright: reportInvalidTypeForm=false

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from hidiff.serve.api.access import Found, Tab, held, owner_of
from hidiff.serve.api.answers import download
from hidiff.serve.api.schema import Opening, Ready, Saved
from hidiff.serve.api.uploading import Form, describe_form, read_form
from hidiff.serve.batch import predict_files
from hidiff.serve.refusal import Refusal
from hidiff.serve.service import Service
from hidiff.serve.store import READY, Entry
from hidiff.serve.uploads import keep_uploads, safe_name

SessionState = Ready | Opening
Seconds = Annotated[float, Query(ge=0, le=30, description="wait so long for it to be ready")]


def session_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["sessions"])

    @router.post(
        "/sessions",
        status_code=201,
        response_model=SessionState,
        openapi_extra=describe_form("model", "case"),
    )
    async def open_session(request: Request) -> dict:
        """Open an image: `files` of one picture, volume, DICOM series or saved session, or the id
        of a `case` of the server's folder. It is ready a little later: ask with `wait`.
        """
        form = await read_form(request, service.settings)
        try:
            return await run_in_threadpool(_open, service, owner_of(request), form)
        finally:
            await form.data.close()

    @router.get("/sessions", response_model=list[SessionState])
    def list_sessions(request: Request) -> list[dict]:
        """Return the sessions of this token."""
        return [describe(entry) for entry in service.store.of(owner_of(request))]

    @router.get("/sessions/{id}", response_model=SessionState)
    def get_session(entry: Found, wait: Seconds = 0.0) -> dict:
        """Return a session."""
        entry.wait(wait)
        return describe(entry)

    @router.delete("/sessions/{id}", status_code=204)
    def close_session(entry: Found) -> Response:
        """Close a session and delete its files."""
        service.store.close(entry)
        return Response(status_code=204)

    @router.post("/sessions/{id}/take-over", response_model=SessionState)
    def take_over(entry: Found, tab: Tab = None) -> dict:
        """Go on in this browser tab with a session that another one holds."""
        entry.tab = tab
        return describe(entry)

    @router.get("/sessions/{id}/masks")
    def get_masks(entry: Found) -> Response:
        """Return the masks in the format of the image: a file, or a zip of several."""
        with held(entry) as opened:
            return download(*opened.masks(entry.folder))

    @router.get("/sessions/{id}/file")
    def get_file(entry: Found) -> Response:
        """Return the session as a file, which can be uploaded again with its image."""
        with held(entry) as opened:
            return download(*opened.save(entry.folder))

    @router.post("/sessions/{id}/save", response_model=Saved)
    def save_masks(entry: Found, tab: Tab = None) -> dict:
        """Write the masks of an image of the server's folder into its output folder."""
        folder = service.folder
        if folder is None or entry.case is None:
            raise Refusal(
                409, "this image was uploaded, so the server has no folder for it: get its masks."
            )
        entry.check_tab(tab)
        with held(entry) as opened:
            written = opened.write(folder.output)
        folder.look_for_masks()
        return {"files": [path.name for path in written]}

    @router.post("/predict", openapi_extra=describe_form("model", required=["files"]))
    async def predict(request: Request) -> Response:
        """Predict uploads without a session: every picture, volume or DICOM series of `files`;
        return a zip of their masks. An image that fails is named in errors.txt.
        """
        form = await read_form(request, service.settings)
        try:
            content = await run_in_threadpool(predict_files, service, owner_of(request), form)
        finally:
            await form.data.close()
        return download(content, "masks.zip")

    return router


def describe(entry: Entry) -> dict:
    """Return a session as the API describes it."""
    head = {name: getattr(entry, name) for name in ("id", "name", "model", "case", "state")}
    opened = entry.opened
    if entry.state == READY and opened is not None:
        return {**head, **opened.describe()}
    step = {name: getattr(entry, name) for name in ("step", "progress", "error")}
    return {**head, **step}


def _open(service: Service, owner: str, form: Form) -> dict:
    model = service.offered.check(form.model)
    if form.case is not None:
        if service.folder is None or form.files:
            raise Refusal(422, "a case is an image of the server's own folder, without files.")
        case = service.folder.get(form.case)
        entry = service.store.add(owner, model)
        service.open_case(entry, case)
        return describe(entry)
    if not form.files:
        raise Refusal(422, "no file came. Send the image's files as `files`.")
    entry = service.store.add(owner, model)
    try:
        files = keep_uploads(form.files, entry.folder / "series", service.settings)
    except Exception:  # whatever it was, nothing of the upload may stay
        service.store.close(entry)
        raise
    entry.name = safe_name(form.files[0].filename, 0) if len(files) == 1 else f"{len(files)} files"
    service.open_upload(entry, files)
    return describe(entry)
