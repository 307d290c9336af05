"""Slices are predicted ahead in another thread, while a person goes on with those at hand."""

import threading

import pytest

from tests.correction.models import make_kind, make_volume, read_maps, same, start

pytestmark = pytest.mark.filterwarnings("ignore:this m")
DEPTH = 11  # more than are predicted together


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return make_kind(tmp_path_factory.mktemp("models"))


def begin(predictor):
    """Start a session of a volume; none of its slices is known."""
    return start(predictor, make_volume(DEPTH), spacing_mm=(4, 1, 1))


class Held:
    """A prediction that waits until it may go on."""

    def __init__(self, monkeypatch, predictor, name: str):
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        former = getattr(predictor, name)

        def wait_first(*args, **options):
            if threading.current_thread() is not threading.main_thread():
                self.begun.set()
                assert self.may_go_on.wait(60)
            return former(*args, **options)

        monkeypatch.setattr(predictor, name, wait_first)


@pytest.mark.parametrize("ahead, held", [("segment", "predict_batch"), ("prepare", "see_ahead")])
def test_marks_do_not_wait_for_what_is_done_ahead(predictor, monkeypatch, ahead, held):
    session, alone = (begin(predictor) for _ in range(2))
    for each in (session, alone):
        each.slice_maps(0)
    waiting = Held(monkeypatch, predictor, held)
    thread = threading.Thread(target=getattr(session, ahead), args=(DEPTH - 1,))
    thread.start()
    assert waiting.begun.wait(60)
    for each in (session, alone):
        each.click((1, 20, 30), each.label_names[0])  # a slice that is there
    assert thread.is_alive()
    waiting.may_go_on.set()
    thread.join()
    assert session._maps.is_known[DEPTH - 1]
    assert same(read_maps(session), read_maps(alone))


def test_a_slice_that_was_corrected_meanwhile_stays_as_it_is(predictor, monkeypatch):
    session, alone = (begin(predictor) for _ in range(2))
    waiting = Held(monkeypatch, predictor, "predict_batch")
    thread = threading.Thread(target=session.segment, args=(DEPTH - 1,))
    thread.start()
    assert waiting.begun.wait(60)
    for each in (session, alone):
        each.click((DEPTH - 1, 20, 30), each.label_names[0])  # of those that are being predicted
    waiting.may_go_on.set()
    thread.join()
    assert same(read_maps(session), read_maps(alone))


def test_a_slice_that_there_is_not_is_refused(predictor):
    with pytest.raises(ValueError, match="slice 11 is asked for, but the image has slices 0 to 10"):
        begin(predictor).segment(DEPTH)
