"""The door of the server: who may ask, from where, and how much (an ASGI middleware)."""

import hashlib
import hmac
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from hidiff.serve.body import BODY_SECONDS, Body, Message, Receive, too_large
from hidiff.serve.settings import ANY_HOST, MAX_JSON, ServeSettings, is_loopback

Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger("hidiff.serve")

LOCAL_OWNER = "local"
"""the owner of all sessions of a server without tokens"""
OPEN_PATHS = ("/healthz",)
UPLOADS = (
    "/api/v1/sessions",
    "/api/v1/predict",
    "/set_image",
    "/add_initial_seg_interaction",
    "/add_scribble_interaction",
    "/add_lasso_interaction",
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
CORS_HEADERS = (
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, X-Tab"),
    (b"access-control-expose-headers", b"Content-Disposition, X-Shape"),
    (b"vary", b"Origin"),
)


class Guard:
    """Let a request through if its host, origin, token and size are allowed.

    Browsers name in `Host` the address that they were led to and in `Origin` the page that asks:
    checking both keeps other web pages out, also those whose name was bound anew to this machine.
    """

    def __init__(self, app: App, settings: ServeSettings, body_seconds: float = BODY_SECONDS):
        self.app = app
        self.settings = settings
        self.body_seconds = body_seconds
        self.names = _own_names(settings)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here: the server refuses the connection
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        guarded = _with_headers(send, self._allowed_origin(headers))
        refused = self._refusal(scope, headers)
        if refused is not None:
            await _answer(guarded, *refused)
        elif scope["method"] == "OPTIONS":
            await _answer(guarded, 204, None)
        else:
            scope.setdefault("state", {})["owner"] = self._owner(headers) or LOCAL_OWNER
            await self._serve(scope, receive, _logged(guarded, scope))

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = Body(receive, self._limit(scope["path"]), self.body_seconds)
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            if body.refused is not None and not started:
                return  # the refusal is sent below
            started = True
            await send(message)

        try:
            await self.app(scope, body.receive, watched_send)
        except Exception:
            # Answered and logged already (web.py), or it came of the refusal itself.
            if body.refused is None and not started:
                raise
        if body.refused is not None and not started:
            await _answer(send, *body.refused, close=True)

    def _refusal(
        self, scope: MutableMapping[str, Any], headers: dict[str, str]
    ) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return 403, (
                "this server does not go by the name in the Host header. Use the address that it "
                "printed, or name it: --allowed-host NAME."
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_same(origin, host):
            allowed = self._allowed_origin(headers)
            if allowed is None:
                return 403, (
                    "a page of another address may not use this server. Start it with "
                    "--allowed-origin ADDRESS if the page is yours."
                )
        elif headers.get("sec-fetch-site") == "cross-site" and scope["path"] != "/":
            return 403, "a page of another address may not use this server."
        if scope["method"] == "OPTIONS":
            return None if origin is not None else (405, "OPTIONS is for browsers.")
        if self.settings.token and self._needs_token(scope["path"]) and not self._owner(headers):
            return 401, "the token is missing or wrong. Send it: Authorization: Bearer TOKEN."
        length = headers.get("content-length", "0")
        limit = self._limit(scope["path"])
        if not length.isdecimal() or int(length) > limit:
            return too_large(limit)
        return None

    def _needs_token(self, path: str) -> bool:
        """Return whether a path is no part of the page, which holds nothing secret."""
        return path != "/" and path not in OPEN_PATHS and not path.startswith("/page/")

    def _limit(self, path: str) -> int:
        return self.settings.max_upload_bytes if path in UPLOADS else MAX_JSON

    def _owner(self, headers: dict[str, str]) -> str | None:
        """Return a name for the token that came, if it is one of ours; compared in equal time."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        came = token.strip().encode("latin-1", "replace")
        matches = [hmac.compare_digest(came, known.encode()) for known in self.settings.token]
        return hashlib.sha256(came).hexdigest() if any(matches) else None

    def _is_own(self, host: str) -> bool:
        name = _name_of(host)
        if name is None:
            return False
        if name in self.names or (self.settings.is_local and is_loopback(name)):
            return True
        # A number cannot be bound anew, as a name can.
        return self.settings.host in ANY_HOST and _is_address(name)

    @staticmethod
    def _is_same(origin: str, host: str) -> bool:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def _allowed_origin(self, headers: dict[str, str]) -> str | None:
        origin = headers.get("origin", "")
        known = [each.rstrip("/").lower() for each in self.settings.allowed_origin]
        return origin if origin.lower() in known else None


def _own_names(settings: ServeSettings) -> set[str]:
    names = {settings.host.lower(), *(name.lower() for name in settings.allowed_host)}
    if settings.is_local:
        names.add("localhost")
    elif settings.host in ANY_HOST:
        names |= {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
    return names


def _name_of(host: str) -> str | None:
    """Return the host without its port, or None for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        return None if parts.username or parts.path else parts.hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send, origin: str | None) -> Send:
    """Return a `send` that adds the headers which every answer carries."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = list(SAFE_HEADERS)
            if origin is not None:
                own = (b"cross-origin-resource-policy", b"cross-origin")
                extra = [own if key == own[0] else (key, value) for key, value in extra]
                extra += [(b"access-control-allow-origin", origin.encode("latin-1")), *CORS_HEADERS]
            message["headers"] = [*message.get("headers", ()), *extra]
        await send(message)

    return guarded


def _logged(send: Send, scope: MutableMapping[str, Any]) -> Send:
    """Return a `send` that logs the pattern of the path: the path itself holds a session's id."""
    start = time.perf_counter()

    async def logged(message: Message) -> None:
        if message["type"] == "http.response.start":
            pattern = getattr(scope.get("route"), "path", "no route")
            milliseconds = 1000 * (time.perf_counter() - start)
            line = (scope["method"], pattern, message["status"], milliseconds)
            log.info("%s %s %d %.0f ms", *line)
        await send(message)

    return logged


async def _answer(send: Send, status: int, detail: str | None, close: bool = False) -> None:
    body = b"" if detail is None else json.dumps({"detail": detail}).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if body:
        headers.append((b"content-type", b"application/json"))
    if close or status == 413:
        headers.append((b"connection", b"close"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
