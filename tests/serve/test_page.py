"""The page in a real browser: what a person does is what the library's session does.

Skipped where there is no Chromium; HIDIFF_REQUIRE_BROWSER=1, as in .ci/run, makes that a failure.
"""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.dicom_series import make_slices
from tests.serve.conftest import SIZE, draw_picture
from tests.volumes import make_grid

REQUIRED = "HIDIFF_REQUIRE_BROWSER"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 300_000  # milliseconds; a busy machine is slow


def skip(reason: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A browser for all tests."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip("playwright is not installed: pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        skip("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, live) -> Iterator:
    """Return pages of a server; the test fails if one asks elsewhere or has an error."""
    troubles: list[str] = []
    contexts = []

    def open_page(address: str, **options):
        context = chromium.new_context(
            viewport={"width": 1280, "height": 800}, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else 0)
        page.on("pageerror", lambda error: troubles.append(str(error)))

        def check(request):
            if not request.url.startswith((address.rsplit("/", 1)[0], "blob:", "data:")):
                troubles.append(f"asked {request.url}")

        page.on("request", check)
        page.goto(address)
        return page

    open_page.troubles = troubles
    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


def open_files(page, *paths: Path, model: str = "one_class") -> str:
    """Open files by the page's own button and return the id of the session."""
    page.check(f"input[value={model}]")
    page.set_input_files("#files", list(paths))
    page.wait_for_selector("#viewer[data-shown]")
    return page.url.split("session=")[1]


def wait_revision(page, number: int) -> None:
    page.wait_for_selector(f"#viewer[data-shown*=' {number} ']")


def at(page, row: float, column: float) -> tuple[float, float]:
    """Return where a pixel lies on the screen: the image is fitted into the viewer."""
    box = page.locator("#viewer").bounding_box()
    height, width = SIZE
    scale = 0.96 * min(box["width"] / width, box["height"] / height)
    left = box["x"] + (box["width"] - width * scale) / 2
    top = box["y"] + (box["height"] - height * scale) / 2
    return left + (column + 0.5) * scale, top + (row + 0.5) * scale


def session_of(server, key: str):
    """Return the server's session behind the page."""
    return server.service.store._entries[key].opened.session


def test_clicks_brush_lock_undo_and_candidates_are_the_librarys(visit, live, eye, model):
    server = live()
    page = visit(server.address)
    theirs = session_of(server, open_files(page, eye))
    own = model.correct(eye)
    assert (theirs.labels == own.labels).all()

    page.keyboard.press("p")
    page.mouse.click(*at(page, 20, 40))
    wait_revision(page, 1)
    own.click((20.0, 40.0), label="curve", radius=4.0)
    changed = own.changed
    assert (theirs.labels == own.labels).all()
    assert (theirs.probability == own.probability).all()
    assert changed.mask.any() and theirs.changed.box == changed.box

    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 50, 60))
    page.keyboard.up("Shift")
    wait_revision(page, 2)
    own.click((50.0, 60.0), label="curve", radius=4.0, add=False)
    assert (theirs.labels == own.labels).all()

    page.click("[data-tool=brush]")
    page.mouse.move(*at(page, 10, 10))
    page.mouse.down()
    page.mouse.move(*at(page, 12, 40), steps=8)
    page.mouse.up()
    wait_revision(page, 3)
    stroke = theirs.marks[-1]
    assert stroke["action"] == "stroke" and stroke["add"] and len(stroke["points"]) > 3
    own.stroke([tuple(map(float, point)) for point in stroke["points"]], label="curve")
    assert (theirs.labels == own.labels).all()

    page.keyboard.press("l")
    page.mouse.click(*at(page, 40, 80))
    wait_revision(page, 4)
    assert theirs.locked_area(0)[40, 80]
    page.click("button[aria-label='Lock curve']")
    wait_revision(page, 5)
    assert page.get_attribute("button[aria-label='Lock curve']", "aria-pressed") == "true"

    page.click("#unlock")
    wait_revision(page, 6)
    assert not theirs.locked_area(0).any() and page.is_hidden("#unlock")

    for revision in range(7, 13):
        page.keyboard.press("Control+z")
        wait_revision(page, revision)
    assert (theirs.labels == model.predict(eye).labels).all()
    assert page.is_disabled("#undo")

    page.keyboard.press("c")
    page.wait_for_selector("#candidates-list button")
    assert page.text_content("#candidates-list button >> nth=0") == "as it is"
    page.click("#candidates-list button >> nth=1")
    wait_revision(page, 13)
    assert theirs.marks[-1]["action"] == "choose"


def test_masks_and_sessions_are_saved_and_opened_again(visit, live, eye, tmp_path):
    server = live()
    page = visit(server.address)
    theirs = session_of(server, open_files(page, eye))
    page.mouse.click(*at(page, 20, 40))
    wait_revision(page, 1)
    labels = theirs.labels
    with page.expect_download() as masks:
        page.keyboard.press("Control+s")
    with zipfile.ZipFile(masks.value.path()) as archive:
        saved = np.asarray(Image.open(archive.open("eye_labels.png")))
    assert (saved == labels * 255).all()

    with page.expect_download() as kept:
        page.click("#keep")
    copy = tmp_path / kept.value.suggested_filename
    kept.value.save_as(copy)
    page.click("#open")
    again = session_of(server, open_files(page, copy))
    assert (again.labels == labels).all() and len(again.marks) == 1


def test_a_volume_is_looked_at_slice_by_slice(visit, live, volume, model):
    server = live()
    page = visit(server.address)
    theirs = session_of(server, open_files(page, volume))
    assert page.text_content("#slice-number") == "3 / 5"
    page.keyboard.press("PageUp")
    page.wait_for_selector("#viewer[data-shown$=' 3']")
    box = page.locator("#viewer").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_revision(page, 1)
    assert theirs.changed.slices == (3,)
    own = model.correct(volume)
    mark = theirs.marks[0]
    own.stroke([(3.0, *point) for point in mark.get("points", [mark.get("point")])], label="curve")
    assert (theirs.labels == own.labels).all()
    page.mouse.wheel(0, 100)
    page.wait_for_selector("#viewer[data-shown$=' 2']")
    assert " ml" in page.text_content("#classes")


def test_a_dicom_series_is_one_volume(visit, live, tmp_path):
    values = np.stack([draw_picture(seed) for seed in range(3)]).transpose(2, 1, 0)
    files = []
    for number, head in enumerate(make_slices(values.astype(np.int16), make_grid(100, 70, 3))):
        files.append(tmp_path / f"slice{number}.dcm")
        head.save_as(files[-1], enforce_file_format=True)
    server = live()
    page = visit(server.address)
    theirs = session_of(server, open_files(page, *files))
    assert theirs.num_slices == 3
    with page.expect_download() as masks:
        page.keyboard.press("Control+s")
    assert masks.value.suggested_filename.endswith(".dcm")


def test_a_file_that_does_not_read_is_one_line(visit, live, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page = visit(live().address)
    page.set_input_files("#files", tmp_path / "broken.png")
    page.wait_for_selector("#failure")
    assert "broken.png cannot be read" in page.text_content("#failure")
    assert page.is_visible("#choose")


def test_an_image_that_is_still_open_is_found_again_after_the_browser_was_closed(visit, live, eye):
    server = live()
    first = visit(server.address)
    key = open_files(first, eye)
    first.mouse.click(*at(first, 20, 40))
    wait_revision(first, 1)
    first.context.close()
    page = visit(server.address)
    page.click("#unfinished-list button:has-text('eye')")
    page.wait_for_selector("#viewer[data-shown]")
    assert page.url.endswith(key) and page.is_enabled("#undo")
    page = visit(server.address)
    page.click("button[aria-label='Close eye']")
    page.click("#ask-yes")
    page.wait_for_selector("#unfinished", state="hidden")
    assert not list(server.service.store.root.iterdir())


def test_everything_is_done_by_keyboard_alone(visit, live, eye):
    server = live(places=[eye])
    page = visit(server.address)  # the only image is opened at once
    page.wait_for_selector("#viewer[data-shown]")
    theirs = session_of(server, page.url.split("session=")[1])
    before = theirs.labels
    for key in ("ArrowDown", "ArrowDown", "Shift+ArrowRight", "]", "Enter"):
        page.keyboard.press(key)
    wait_revision(page, 1)
    mark = theirs.marks[0]
    assert mark["point"] == [36, 60] and mark["radius"] == 5
    page.keyboard.press("Shift+Enter")
    wait_revision(page, 2)
    assert not theirs.marks[1]["add"]
    page.keyboard.press("z")
    page.keyboard.press("z")
    wait_revision(page, 4)
    assert (theirs.labels == before).all()
    page.keyboard.press("?")
    assert page.is_visible("#help-dialog")
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    assert page.get_attribute("[data-draw=fill]", "aria-checked") == "true"
    page.keyboard.press("Control+s")
    page.wait_for_selector("#toast p:has-text('eye_labels.png')")
    page.wait_for_selector("#cases-list svg")  # its mark that it is done


def test_a_second_tab_asks_before_it_goes_on(visit, live, eye):
    server = live()
    first = visit(server.address)
    key = open_files(first, eye)
    first.mouse.click(*at(first, 20, 40))
    wait_revision(first, 1)
    second = visit(f"{server.address}/?session={key}")
    second.wait_for_selector("#viewer[data-shown]")
    second.mouse.click(*at(second, 50, 60))
    second.wait_for_selector("#ask-dialog[open]")
    assert "another tab" in second.text_content("#ask-text")
    visit.troubles.clear()  # the browser reports the answer 409
    second.click("#ask-yes")
    wait_revision(second, 2)


def test_a_token_is_asked_for_or_comes_with_the_address(visit, live, eye):
    server = live(token=("the token of the first",))
    page = visit(f"{server.address}/#token=the token of the first")
    page.wait_for_selector("#models label")
    assert "token" not in page.url
    other = visit(server.address)
    other.fill("#ask-input", "the token of the first")
    other.keyboard.press("Enter")
    other.wait_for_selector("#models label")
    visit.troubles.clear()  # the browser reports the answer 401


@pytest.mark.parametrize("size", [(1280, 800), (1024, 768), (820, 1180)])
def test_nothing_is_cut_off_on_a_screen_or_a_tablet(visit, live, eye, size):
    page = visit(live().address, has_touch=size[0] < 1280)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_files(page, eye)
    for part in ("#save", "#undo", "[data-tool=brush]", "#radius", "#viewer"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0], part
        assert box["y"] + box["height"] <= size[1] or part == "#radius", part
