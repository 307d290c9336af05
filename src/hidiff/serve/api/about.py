"""Routes about the server itself: status, models, and the images of its folder."""

from fastapi import APIRouter

from hidiff._version import __version__
from hidiff.serve.api.schema import Cases, Models, Status
from hidiff.serve.service import Service


def about_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["server"])

    @router.get("/status", response_model=Status)
    def status() -> dict:
        """Return what the server is and what it allows."""
        settings, folder = service.settings, service.folder
        only = list(folder.cases) if folder is not None else []
        return {
            "version": __version__,
            "is_local": settings.is_local,
            "ready": service.libraries_ready,
            "max_upload_mib": settings.max_upload,
            "max_files": settings.max_files,
            "max_sessions": settings.max_sessions,
            "first_case": only[0] if len(only) == 1 else None,
        }

    @router.get("/models", response_model=Models)
    def models() -> dict:
        """Return the models that images can be opened with, the default first."""
        return {"models": service.offered.describe()}

    @router.get("/cases", response_model=Cases)
    def cases() -> dict:
        """Return the images of the folder that the server was started with."""
        folder = service.folder
        if folder is None:
            return {"cases": [], "ranking": False}
        folder.look_for_masks()
        return {"cases": folder.describe(), "ranking": folder.unranked() is not None}

    return router
