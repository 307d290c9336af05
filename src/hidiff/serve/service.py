"""Shared by the API and nnInteractive's protocol: models, sessions, folder, work in threads."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidiff.models import read_head
from hidiff.serve.archive import SESSION
from hidiff.serve.folder import Case, Folder, Ranking
from hidiff.serve.marking import MarkQueue
from hidiff.serve.offered import OfferedModels
from hidiff.serve.opened import Opened, open_files, open_saved
from hidiff.serve.refusal import Refusal
from hidiff.serve.remarks import caught_warnings
from hidiff.serve.settings import ServeSettings
from hidiff.serve.store import Entry, Store
from hidiff.serve.uploads import find_image

if TYPE_CHECKING:
    from hidiff.correction import Session

AT_ONCE = 2  # images that are opened at a time; the others wait
IMPORT_AFTER = 1.5  # seconds after which torch is imported even if nobody has asked for the page
QUIET_SECONDS = 3.0  # without a request, before the images of the folder are ranked
SWEEP_SECONDS = 15.0


class Service:
    """The server without HTTP."""

    def __init__(
        self,
        settings: ServeSettings,
        offered: OfferedModels,
        places: Sequence[Path] = (),
        output: Path = Path("masks"),
    ):
        self.settings = settings
        self.offered = offered
        self.folder: Folder | None = None
        if places:  # before anything that is to be ended, as it can be refused
            head = read_head(offered.path_of(offered.default))
            self.folder = Folder(places, head.channels or 1, output, head.source)
        self.store = Store(settings.max_sessions, settings.idle_minutes)
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="opening")
        self.marks = MarkQueue()
        self.libraries_ready = False
        self.page_was_sent = threading.Event()
        self.last_request = time.monotonic()
        self.sweepers: list[Callable[[], None]] = []
        """called now and then, to remove more that has expired"""
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin the work in the background: the import of torch, expiry, ranking."""
        threading.Thread(target=self._prepare, name="prepare", daemon=True).start()
        threading.Thread(target=self._sweep, name="sweep", daemon=True).start()

    def end(self) -> None:
        """Stop the work in the background, and delete every private file."""
        self._ended.set()
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.marks.end()
        self.store.end()

    def open_upload(self, entry: Entry, files: Sequence[Path]) -> None:
        """Open uploaded files in the background."""
        saved = [file for file in files if file.suffix == SESSION]
        cache_mb = self.settings.cache_mb_each

        def make(entry: Entry) -> Opened:
            model = self._model(entry)
            entry.put(step="Reading the image")
            if saved:
                others = [file for file in files if file not in saved]
                if not others:
                    raise Refusal(422, "a session came without its image. Send both together.")
                image = find_image(others, model.channels, self.settings, model.recipe.data.source)
                return open_saved(entry, model, saved[0], image, cache_mb)
            image = find_image(files, model.channels, self.settings, model.recipe.data.source)
            return open_files(entry, model, image, cache_mb)

        self.pool.submit(self._fill, entry, make)

    def open_case(self, entry: Entry, case: Case) -> None:
        """Open an image of the folder in the background."""
        entry.put(case=case.id, name=case.name)
        cache_mb = self.settings.cache_mb_each
        self.pool.submit(
            self._fill,
            entry,
            lambda entry: open_files(entry, self._model(entry), case.files, cache_mb),
        )

    def _fill(self, entry: Entry, make: Callable[[Entry], Opened]) -> None:
        """Open an image; what marks and other slices will need is done while it is looked at."""
        self.store.fill(entry, make)
        opened = entry.opened
        if opened is None:
            return
        self.prepare_marks(opened.session, entry.near)
        if opened.geometry.shape[0] > 1:
            threading.Thread(target=self._segment_rest, args=(entry,), daemon=True).start()

    def prepare_marks(self, session: "Session", number: int) -> None:
        """Do the work that the first mark on a slice would wait for, in the background."""

        def prepare() -> None:
            # a mark that comes first meets what is wrong, and says so
            with caught_warnings(), suppress(ValueError, OSError, MemoryError):
                session.prepare(number)

        with suppress(RuntimeError):  # the server ends
            self.pool.submit(prepare)

    def _segment_rest(self, entry: Entry) -> None:
        while not self._ended.is_set():
            with entry.idle_turn():
                opened = entry.opened
                number = None if opened is None else opened.next_unknown(entry.near)
            if opened is None or number is None:
                return
            try:
                with caught_warnings():
                    opened.session.segment(number)  # marks do not wait for it
                    with entry.idle_turn():
                        opened.codes(number)
            except (ValueError, OSError, MemoryError):
                return  # whoever asks for the slice is told why

    def _model(self, entry: Entry) -> Any:
        entry.put(step="Loading the model", progress=None)
        return self.offered.get(entry.model)

    def is_idle(self) -> bool:
        """Return whether nobody has asked for anything in the last seconds."""
        return time.monotonic() - self.last_request > QUIET_SECONDS

    def _prepare(self) -> None:
        # Loading torch's libraries holds Python's lock for seconds: the page goes out first.
        self.page_was_sent.wait(IMPORT_AFTER)
        time.sleep(0.25)
        try:
            self.offered.get(self.offered.default)
        except (ValueError, OSError):
            return  # whoever opens an image with it is told why
        self.libraries_ready = True
        if self.folder is not None:
            ranking = Ranking(self.folder, self._doubt, self.is_idle)
            ranking.ended = self._ended
            ranking.start()

    def _doubt(self, case: Case) -> float:
        model = self.offered.get(self.offered.default)
        with caught_warnings():
            return model.predict(case.files, keep_probability=False).doubt

    def _sweep(self) -> None:
        self.store.private.remove_left_behind()
        while not self._ended.wait(SWEEP_SECONDS):
            self.store.sweep()
            for sweep in self.sweepers:
                sweep()
