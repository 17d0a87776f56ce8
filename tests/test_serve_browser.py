"""The page of `advisor serve` in headless Chromium: a picture is dropped, and the answer read."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from serving import served

from advisor.serving.limits import Limits

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")

HOSTILE = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'
DROP = """([name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type }));
    for (const event of ["dragover", "drop"]) {
        document.getElementById("drop").dispatchEvent(
            new DragEvent(event, { dataTransfer: carried, bubbles: true, cancelable: true }));
    }
}"""


@pytest.fixture(scope="module")
def browser():
    """Chromium of the system, or the one that `playwright install chromium` has brought."""
    with playwright.sync_playwright() as started:
        of_system = (
            shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        )
        flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        flags += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        try:
            running = started.chromium.launch(executable_path=of_system, args=flags)
        except playwright.Error as error:
            pytest.skip(f"no Chromium that runs: {str(error).strip().splitlines()[0]}")
        yield running
        running.close()


@pytest.fixture(scope="module")
def hostile_run(finished_run, tmp_path_factory) -> Path:
    """The finished run, with a class whose name would be a script to a careless page."""
    run = shutil.copytree(finished_run, tmp_path_factory.mktemp("hostile") / "run <b>bold</b>")
    for name in ("labels.json", "metrics.json"):
        text = (run / name).read_text(encoding="utf-8")
        (run / name).write_text(text.replace('"red"', json.dumps(HOSTILE)), encoding="utf-8")
    return run


@pytest.fixture
def page(browser, hostile_run):
    """The page, whose every error and every request elsewhere is noted."""
    with served(hostile_run, Limits(most_bytes=100_000), coverage=0.9) as server:
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        noted: list[str] = []
        opened.on("pageerror", lambda error: noted.append(str(error)))
        opened.on(
            "console", lambda said: noted.append(said.text) if "Content Security" in said.text else None
        )
        opened.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((server.address, "blob:")) else noted.append(asked.url)
            ),
        )
        opened.goto(server.address)
        opened.get_by_text("Tells 3 classes apart").wait_for()
        yield opened
        opened.close()
        assert noted == []


def drop(page, path: Path, name: str = "") -> None:
    content = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(DROP, [name or path.name, "image/png", content])


def answer(page):
    """The newest answer, once it is there."""
    item = page.locator("#answers > li:first-child")
    page.locator("#answers > li:first-child[data-done]").wait_for()
    return item


def test_a_picture_is_dropped_and_the_answer_read(page, finished_run, hostile_run):
    assert page.locator("h1").inner_text() == hostile_run.name
    drop(page, finished_run.parent / "images" / "red" / "0.png", name=f"{HOSTILE}.png")
    item = answer(page)
    assert item.locator(".best").inner_text().startswith(f"{HOSTILE} ")
    assert item.locator(".best").inner_text().endswith("%")
    assert item.locator(".file").inner_text() == f"{HOSTILE}.png"
    assert item.locator(".set").inner_text().startswith(("Set that holds the truth in 90% of cases: ", "No"))
    assert item.locator(".bars meter").count() == 3
    assert not item.locator(".strange").is_visible()
    assert page.evaluate("[window.ran, document.querySelectorAll('#answers script, b').length]") == [None, 0]
    picture = item.locator("figure img")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 48
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # of a phone


def test_where_the_model_looked_takes_the_place_of_the_picture(page, finished_run):
    drop(page, finished_run.parent / "images" / "red" / "0.png")
    item = answer(page)
    item.get_by_text("Where did it look?").click()
    page.locator("#answers > li:first-child[data-looked]").wait_for(timeout=60_000)
    for _ in range(200):
        if item.locator("figure img").evaluate("image => image.complete && image.naturalWidth") == 224:
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("the heat map is not there")
    assert not item.locator(".look").is_visible()


def test_what_is_no_picture_or_too_large_is_told(page, tmp_path):
    (tmp_path / "a.png").write_text("<script>window.ran=1</script>")
    drop(page, tmp_path / "a.png")
    assert answer(page).locator(".best").inner_text() == "not an image, or of an unknown format"
    (tmp_path / "b.png").write_bytes(bytes(100_001))
    drop(page, tmp_path / "b.png")
    assert answer(page).locator(".best").inner_text().startswith("more than 0 MB")


def test_many_are_chosen_at_once_and_all_answered(page, finished_run):
    page.set_input_files("#files", sorted((finished_run.parent / "images" / "blue").iterdir())[:12])
    page.locator("#answers > li[data-done=yes]").nth(11).wait_for()
    found = page.locator(".best").all_inner_texts()
    assert sum(text.startswith("blue ") for text in found) >= 10


def test_the_camera_takes_a_picture_which_is_strange(page):
    page.click("#camera")
    for _ in range(200):  # the policy of the page forbids what playwright would wait by
        if page.evaluate("document.getElementById('video').videoWidth"):
            break
        page.wait_for_timeout(50)
    page.click("#shoot")
    item = answer(page)
    assert item.locator(".file").inner_text() == "from the camera"
    assert item.locator(".strange").is_visible()  # a green disc with a clock is none of three stripes
    page.click("#stop")
    assert page.evaluate("document.getElementById('video').srcObject") is None
