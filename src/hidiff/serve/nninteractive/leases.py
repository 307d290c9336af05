"""Leases: one for each client of nnInteractive's protocol, with the image it has sent."""

import secrets
import threading
import time
from dataclasses import dataclass, field

from hidiff.serve.nninteractive.volume import ClientVolume
from hidiff.serve.refusal import Refusal


@dataclass(eq=False)
class Lease:
    """A client's lease and its two clocks."""

    token: str
    owner: str
    acted: float = field(default_factory=time.monotonic)
    beat: float = field(default_factory=time.monotonic)
    volume: ClientVolume | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def image(self) -> ClientVolume:
        """Return what the client has sent."""
        if self.volume is None:
            raise Refusal(400, "no image was set. Send one first: set_image.")
        return self.volume


class Leases:
    """All leases of the server."""

    idle_seconds = 600.0
    """without an action of the person"""
    liveness_seconds = 60.0
    """without a heartbeat of the client"""

    def __init__(self, most: int):
        self.most = most
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()

    def claim(self, owner: str) -> Lease:
        """Return a new lease. Raises Refusal if there are too many."""
        self.sweep()
        with self._lock:
            if len(self._leases) >= self.most:
                raise Refusal(503, f"{self.most} clients hold a session, which is the most.")
            lease = Lease(secrets.token_urlsafe(24), owner)
            self._leases[lease.token] = lease
        return lease

    def get(self, token: str | None, owner: str, acts: bool = True) -> Lease:
        """Return a lease; `acts`: it is a person's action, which resets the idle clock."""
        self.sweep()
        with self._lock:
            lease = self._leases.get(token or "")
        if lease is None or lease.owner != owner:
            raise Refusal(410, "the lease is unknown or expired. Claim a new one.")
        lease.beat = time.monotonic()
        if acts:
            lease.acted = lease.beat
        return lease

    def remaining(self, lease: Lease) -> float:
        """Return the seconds until a lease expires without an action."""
        return max(0.0, self.idle_seconds - (time.monotonic() - lease.acted))

    def release(self, token: str | None, owner: str) -> None:
        """End a lease; one that is gone already is no error."""
        with self._lock:
            lease = self._leases.get(token or "")
            if lease is not None and lease.owner == owner:
                del self._leases[lease.token]

    def sweep(self) -> None:
        """End the leases of clients that are gone, or that nobody has used for too long."""
        now = time.monotonic()
        with self._lock:
            for token, lease in list(self._leases.items()):
                idle = now - lease.acted > self.idle_seconds
                if idle or now - lease.beat > self.liveness_seconds:
                    del self._leases[token]
