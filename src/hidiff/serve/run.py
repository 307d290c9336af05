"""Run a server until it is told to end: its port, its address, its log.

The port is open and the browser starts before the web framework is imported, which takes as long as
a browser needs to ask for the page: its requests wait in the port's queue.
"""

import contextlib
import logging
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from hidiff.serve.offered import OfferedModels
from hidiff.serve.service import Service
from hidiff.serve.settings import ANY_HOST, ServeSettings

CONNECTIONS = 128  # at a time; others wait or get 503
KEEP_ALIVE_SECONDS = 20
END_SECONDS = 5  # for requests in progress when the server is told to end


class PortTaken(ValueError):
    """The port is in use, or may not be used."""


def run_server(
    settings: ServeSettings,
    models: Sequence[Path],
    places: Sequence[Path] = (),
    output: Path = Path("masks"),
    *,
    device: str = "cpu",
    browse: bool = False,
    say: Callable[[str], object] = print,
    verbose: bool = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ValueError for what the settings get wrong."""
    settings.check()
    service = Service(settings, OfferedModels(models, device), places, output)
    with contextlib.ExitStack() as ends:
        ends.callback(service.end)
        opened = ends.enter_context(contextlib.closing(open_port(settings)))
        address = address_of(settings, opened)
        set_up_log(verbose)
        say(f"HiDiff is at {address} (Ctrl-C ends it). For research, not a medical device.")
        if not settings.is_local:
            say("Other machines reach it: whoever has the token sees and changes its images.")
        if browse:
            threading.Thread(target=open_browser, args=(address, say), daemon=True).start()
        _answer_requests(service, opened)


def _answer_requests(service: Service, opened: socket.socket) -> None:
    """Run the web application until Ctrl-C or SIGTERM."""
    import uvicorn

    from hidiff.serve.connections import PatientProtocol
    from hidiff.serve.web import make_app

    config = uvicorn.Config(
        make_app(service),
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[opened])


def open_port(settings: ServeSettings) -> socket.socket:
    """Return a bound socket. Raises PortTaken, naming the port, if there is none."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two servers share a port
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.host, settings.port))
        opened.listen(CONNECTIONS)
    except OSError as error:
        opened.close()
        raise PortTaken(
            f"port {settings.port} of {settings.host} cannot be used ({error.strerror}). Another "
            "hidiff may be running there: use its window, or choose another port, as with "
            f"--port {settings.port + 1 if settings.port < 65535 else 0}."
        ) from error
    return opened


def address_of(settings: ServeSettings, opened: socket.socket) -> str:
    """Return the address to type into a browser; a token stands behind #, which is never sent."""
    host = settings.host
    if host in ANY_HOST:
        host = socket.gethostname()
    elif ":" in host:
        host = f"[{host}]"
    token = f"#token={settings.token[0]}" if settings.token else ""
    return f"http://{host}:{opened.getsockname()[1]}/{token}"


def open_browser(address: str, say: Callable[[str], object]) -> None:
    """Open the page; say so where there is no browser."""
    try:
        shown = webbrowser.open(address)
    except webbrowser.Error:
        shown = False
    if not shown:
        say(f"No browser opened. Open one at {address}")


def set_up_log(verbose: bool) -> None:
    """Log to stderr: errors, and every request if `verbose`; never a name or a session's id."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("hidiff.serve")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    # uvicorn's own log would repeat errors with their messages, which may name a patient
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
