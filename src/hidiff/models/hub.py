"""Models on the Hugging Face hub: USER/NAME, or USER/NAME@REVISION.

A repository is looked at before anything is fetched, and two files are fetched by their own names:
`config.json` and `model.safetensors`. huggingface_hub's mixins are not used: the one for PyTorch
falls back to a pickle where the safetensors file is missing, and the plain one would make every
`Model` import huggingface_hub.
"""

import json
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from hidiff.extras import import_extra

LIBRARY = "hidiff"
MODEL_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
MOST_BYTES = {MODEL_FILE: 4 * 2**30, CONFIG_FILE: 2**20}
PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
HUB_NAME = re.compile(rf"(?P<id>{PART}/{PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?")
# Files that run code when they are read, or that Python runs.
UNSAFE = {".bin", ".ckpt", ".dill", ".joblib", ".npy", ".pickle", ".pkl", ".pt", ".pth", ".py"}


class HubName(NamedTuple):
    """The name of a repository, with a branch, tag or commit."""

    id: str
    revision: str | None


def hub_name(text: str | Path) -> HubName | None:
    """Return the repository that a text names; None for a text of another form."""
    text = text.as_posix() if isinstance(text, Path) else text
    match = HUB_NAME.fullmatch(text)
    if match is None or ".." in text or "--" in text:
        return None
    return HubName(match["id"], match["revision"])


@lru_cache(maxsize=32)
def fetch(name: HubName) -> Path:
    """Return the model's file in huggingface_hub's cache, fetched if it is not there yet.

    huggingface_hub's own variables hold: HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT, HF_TOKEN. Raises
    ValueError for a repository that is not there, not HiDiff's, or not safe to take.
    """
    hub = import_extra("huggingface_hub", "hub")
    offline = import_extra("huggingface_hub.constants", "hub").is_offline_mode()
    try:
        seen = None if offline else _look(hub, name)
        config = _download(hub, name, CONFIG_FILE, seen)
        _check_config(name, config)
        return _download(hub, name, MODEL_FILE, seen)
    except ValueError as error:
        if type(error) is ValueError:
            raise
        raise ValueError(_explain(name, error, offline)) from error
    except Exception as error:  # huggingface_hub's own, its HTTP client's, the system's
        raise ValueError(_explain(name, error, offline)) from error


def push(folder: Path, name: HubName, *, private: bool = False, message: str = "") -> str:
    """Write a folder of `save_pretrained` to the hub, and return the address.

    The repository is made if it is not there. Raises ValueError if the hub refuses.
    """
    hub = import_extra("huggingface_hub", "hub")
    api = hub.HfApi()
    try:
        api.create_repo(name.id, private=private, exist_ok=True)
        made = api.upload_folder(
            repo_id=name.id,
            folder_path=folder,
            allow_patterns=[MODEL_FILE, CONFIG_FILE, CARD_FILE],
            revision=name.revision,
            commit_message=message or "Upload a HiDiff model",
        )
    except Exception as error:  # huggingface_hub's own, its HTTP client's, the system's
        raise ValueError(
            f"{name.id} could not be written to the hub: {_first_line(error)} Log in with "
            "`hf auth login`, or set HF_TOKEN to a token that may write."
        ) from error
    return str(made)


def _look(hub: Any, name: HubName) -> str:
    """Return the commit, once its list of files holds nothing that should not be there."""
    info = hub.HfApi().model_info(name.id, revision=name.revision, files_metadata=True)
    sizes = {each.rfilename: each.size for each in info.siblings or []}
    for file in sizes:
        _check_name(name, file)
    if MODEL_FILE not in sizes or CONFIG_FILE not in sizes:
        raise ValueError(
            f"{name.id} is no HiDiff model: it lacks {MODEL_FILE} or {CONFIG_FILE}. Other formats "
            "are not read, as some run code. `hidiff push MODEL USER/NAME` writes both."
        )
    for file, most in MOST_BYTES.items():
        size = sizes[file]
        if size is None or size > most:
            came = "says not how large it is" if size is None else f"has {size / 2**20:,.0f} MiB"
            raise ValueError(
                f"{name.id}: {file} {came}, but at most {most / 2**20:,.0f} MiB are fetched. "
                "Download it yourself if you trust it, and give its path."
            )
    return info.sha


def _check_name(name: HubName, file: str) -> None:
    parts = {*PurePosixPath(file).parts, *PureWindowsPath(file).parts}
    leads_out = file.startswith(("/", "\\")) or ".." in parts or PureWindowsPath(file).drive
    if leads_out or not file.isprintable():
        raise ValueError(
            f"{name.id} has a file called {file!r}, which leads out of its folder. Nothing was "
            "fetched: report the repository to the hub."
        )
    if PurePosixPath(file).suffix.lower() in UNSAFE:
        raise ValueError(
            f"{name.id} has {file!r}, which can run code when it is read. Nothing was fetched: "
            f"HiDiff takes repositories with {MODEL_FILE} and without such files."
        )


def _check_config(name: HubName, path: Path) -> None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name.id}: {CONFIG_FILE} is not JSON ({error}).") from error
    library = config.get("library_name") if isinstance(config, dict) else None
    if library != LIBRARY:
        raise ValueError(
            f"{name.id} is no HiDiff model: its {CONFIG_FILE} names the library "
            f"{library or 'nowhere'}. Give one that hidiff push wrote."
        )


def _download(hub: Any, name: HubName, file: str, commit: str | None) -> Path:
    """Fetch one file of the commit that was looked at; offline any that is in the cache."""
    # by the branch's name, which the cache then knows offline too
    path = Path(hub.hf_hub_download(name.id, file, revision=name.revision))
    if commit is not None and path.parent.name != commit:
        raise ValueError(f"{name.id} changed while it was fetched. Load it once more.")
    return path


def _explain(name: HubName, error: Exception, offline: bool) -> str:
    if offline:
        return (
            f"{name.id} is no file or folder here, nor in the hub's cache, and HF_HUB_OFFLINE "
            "keeps from fetching it. Unset it, or load the model once while online."
        )
    return (
        f"{name.id} is no file or folder here, and could not be fetched from the hub: "
        f"{_first_line(error)} If it is private, log in with `hf auth login`."
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."
