"""Masks of uploads without a session, as a zip."""

from pathlib import Path
from typing import Any

from hidiff.images import ImageFiles, first_file
from hidiff.serve.archive import zip_of
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.remarks import caught_warnings
from hidiff.serve.service import Service
from hidiff.serve.uploads import find_images, keep_uploads


def predict_files(service: Service, owner: str, form: Any) -> bytes:
    """Return a zip of the masks of every image of an upload; it may be one of several."""
    name = service.offered.check(form.model)
    if form.case is not None:
        raise Refusal(422, "a case is opened as a session, not predicted here.")
    if not form.files:
        raise Refusal(422, "no file came. Send images as `files`.")
    entry = service.store.add(owner, name)  # for its room and its private folder
    try:
        with entry.lock:
            files = keep_uploads(form.files, entry.folder / "series", service.settings)
            model = service.offered.get(name)
            images = find_images(files, model.channels, service.settings, model.recipe.data.source)
            return _predict(model, images, entry.folder)
    except (ValueError, OSError) as error:
        raise Refusal(422, one_line(error, entry.folder)) from error
    finally:
        service.store.close(entry)


def _predict(model: Any, images: list[ImageFiles], folder: Path) -> bytes:
    from hidiff.prediction.writers import write_prediction

    failures = []
    for image in images:
        try:
            with caught_warnings():
                write_prediction(model.predict(image), folder / "masks")
        except (ValueError, OSError) as error:
            failures.append(f"{first_file(image).name}: {one_line(error, folder)}")
    if failures and len(failures) == len(images):
        raise Refusal(422, failures[0])
    return zip_of(sorted((folder / "masks").iterdir()), "\n".join(failures))
