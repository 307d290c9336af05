"""A stand-in for the Hugging Face hub on loopback: what huggingface_hub asks of it, and no more."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlparse

import pytest

from hidiff.models import hub


@contextmanager
def stand_in(patch: pytest.MonkeyPatch, cache: Path) -> Iterator["HubServer"]:
    """Let huggingface_hub, with a cache of its own, speak to a server on loopback."""
    constants = pytest.importorskip(
        "huggingface_hub.constants", reason="it comes with the extra hub"
    )
    made = HubServer()
    for name, value in {
        "ENDPOINT": made.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": made.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }.items():
        patch.setattr(constants, name, value)
    patch.setenv("HF_TOKEN", "hf_test")
    hub.fetch.cache_clear()
    try:
        yield made
    finally:
        hub.fetch.cache_clear()
        made.close()


class HubServer:
    """Repositories in memory: {USER/NAME: {file name: content}}."""

    def __init__(self):
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, dict[str, dict[str, bytes]]] = {}
        self.claimed: dict[tuple[str, str], int | None] = {}
        """sizes that the list of files states, where they are not the true ones"""
        self.fetched: list[str] = []
        """every file whose content was asked for"""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        branches = self.branches.get(repository, {})
        if revision in branches:
            return branches[revision]
        files = self.repositories.get(repository)
        known = files is not None and revision in ("main", self.commit(files))
        return files if known else None

    @staticmethod
    def commit(files: dict[str, bytes]) -> str:
        digest = hashlib.sha1()
        for name in sorted(files):
            digest.update(name.encode() + b"\0" + files[name])
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlparse(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._list("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main")
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._answer(404, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlparse(self.path).path.strip("/").split("/")
        if self.headers.get("Authorization") != "Bearer hf_test":
            self._answer(401, b'{"error": "Invalid username or password."}')
        elif parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.repositories.setdefault(name, {})
            self._json({"url": f"{self.hub.endpoint}/{name}", "name": name})
        elif parts[4:5] == ["preupload"]:
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            self._json({"files": modes})
        elif parts[4:5] == ["commit"]:
            self._commit("/".join(parts[2:4]), body)
        elif parts == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        else:
            self._answer(404, b"{}")

    def _commit(self, repository: str, body: bytes) -> None:
        files = self.hub.repositories[repository]
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        commit = self.hub.commit(files)
        url = f"{self.hub.endpoint}/{repository}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def _list(self, repository: str, revision: str) -> None:
        files = self.hub.files(repository, revision)
        if files is None:
            self._missing(
                "RepoNotFound" if repository not in self.hub.repositories else "RevisionNotFound"
            )
            return
        claimed = self.hub.claimed
        siblings = [
            {"rfilename": name, "size": claimed.get((repository, name), len(content))}
            for name, content in files.items()
        ]
        sha = self.hub.commit(files)
        self._json({"id": repository, "modelId": repository, "sha": sha, "siblings": siblings})

    def _file(self, repository: str, revision: str, name: str) -> None:
        files = self.hub.files(repository, revision)
        if files is None or name not in files:
            self._missing("RepoNotFound" if files is None else "EntryNotFound")
            return
        if self.command == "GET":
            self.hub.fetched.append(name)
        content = files[name]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._answer(200, content, {"ETag": etag, "X-Repo-Commit": self.hub.commit(files)})

    def _missing(self, code: str) -> None:
        self._answer(404, b"{}", {"X-Error-Code": code, "X-Error-Message": f"{code} here"})

    def _json(self, content: dict) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
