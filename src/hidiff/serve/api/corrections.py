"""Routes that change a session's masks; each answers with the box that changed."""

# Annotations made from the service at hand: FastAPI reads them as values, not as types.
# pyright: reportInvalidTypeForm=false

from collections.abc import Callable

from fastapi import APIRouter

from hidiff.serve import correct
from hidiff.serve.api.access import Found, Tab, held
from hidiff.serve.api.schema import (
    CandidateList,
    Candidates,
    Change,
    Choice,
    Lock,
    Mark,
)
from hidiff.serve.opened import Opened
from hidiff.serve.service import Service
from hidiff.serve.store import Entry


def correction_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sessions/{id}", tags=["corrections"])

    def change(entry: Entry, tab: str | None, act: Callable[[Opened], object]) -> dict:
        entry.check_tab(tab)
        with held(entry) as opened:
            return service.marks.run(lambda: correct.change(opened, act))

    @router.post("/marks", response_model=Change)
    def add_mark(entry: Found, mark: Mark, tab: Tab = None) -> dict:
        """Mark a place as a class or as not that class: a click or a stroke."""
        return change(entry, tab, lambda opened: correct.add_mark(opened, mark))

    @router.post("/locks", response_model=Change)
    def add_lock(entry: Found, lock: Lock, tab: Tab = None) -> dict:
        """Lock a class, or the pixels along a stroke: no correction changes them."""
        return change(entry, tab, lambda opened: correct.add_lock(opened, lock))

    @router.post("/unlock", response_model=Change)
    def unlock(entry: Found, tab: Tab = None) -> dict:
        """Take every lock away."""
        return change(entry, tab, lambda opened: opened.session.unlock())

    @router.post("/undo", response_model=Change)
    def undo(entry: Found, tab: Tab = None) -> dict:
        """Take the last correction back."""
        return change(entry, tab, lambda opened: opened.session.undo())

    @router.post("/redo", response_model=Change)
    def redo(entry: Found, tab: Tab = None) -> dict:
        """Make a correction again that was taken back."""
        return change(entry, tab, lambda opened: opened.session.redo())

    @router.post("/carry-on", response_model=Change)
    def carry_on(entry: Found, tab: Tab = None) -> dict:
        """Take the corrected slices of a volume as evidence for their neighbours."""
        entry.check_tab(tab)
        with held(entry) as opened:  # it takes long: nobody else's marks wait for it
            return correct.change(opened, lambda opened: opened.session.carry_on())

    @router.post("/candidates", response_model=CandidateList)
    def find_candidates(entry: Found, body: Candidates, tab: Tab = None) -> dict:
        """Return other masks that fit the image and the marks as well."""
        entry.check_tab(tab)
        with held(entry) as opened:
            return {"candidates": correct.find_candidates(opened, body.count, body.slice)}

    @router.post("/choose", response_model=Change)
    def choose(entry: Found, choice: Choice, tab: Tab = None) -> dict:
        """Take a candidate as the mask."""
        return change(entry, tab, lambda opened: correct.choose(opened, choice.number))

    return router
