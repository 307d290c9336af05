"""The body of a request, read within limits of size and time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

BODY_SECONDS = 30.0  # the longest silence in the middle of a body
SLOWEST = 10 * 2**10  # bytes a second that a body must bring, after those seconds
GONE = "http.disconnect"


class Body:
    """An ASGI `receive` that ends a request whose body is too large or comes too slowly."""

    def __init__(self, receive: Receive, most_bytes: int, seconds: float = BODY_SECONDS):
        self.most_bytes, self.seconds = most_bytes, seconds
        self.refused: tuple[int, str] | None = None
        """status and line of the refusal, once the body has broken a limit"""
        self._receive = receive
        self._count, self._waited, self._ended = 0, 0.0, False

    async def receive(self) -> Message:
        """Return the next message; the application hears that the client is gone if refused."""
        if self.refused is not None:
            return {"type": GONE}
        if self._ended:
            return await self._receive()
        start = time.monotonic()
        left = self.seconds + self._count / SLOWEST - self._waited
        try:
            message = await asyncio.wait_for(self._receive(), min(self.seconds, left))
        except TimeoutError:
            self.refused = too_slow(self.seconds)
            return {"type": GONE}
        self._waited += time.monotonic() - start
        self._count += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._count > self.most_bytes:
            self.refused = too_large(self.most_bytes)
            return {"type": GONE}
        return message


def too_large(most_bytes: int) -> tuple[int, str]:
    """Return the refusal of a request that is larger than is allowed."""
    return 413, f"the request is larger than {most_bytes / 2**20:g} MiB, which is the most."


def too_slow(seconds: float) -> tuple[int, str]:
    """Return the refusal of a request that does not come, or a byte at a time."""
    return 408, (
        f"nothing came for {seconds:g} s, or less than {SLOWEST // 2**10} KiB a second. Send it "
        "again."
    )
