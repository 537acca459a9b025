"""The page as people use it: a real server and a headless browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import pytest

from sgm_vfi.media.images import write_frame
from tests.fixtures.package import ROOT
from tests.fixtures.videos import encode_tone, moving_frames, write_clip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [name for name in ("gradio", "playwright") if find_spec(name) is None]
MISSING += [] if CHROMIUM else ["chromium"]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
SECONDS = 100  # that a busy machine may take
ANY_END = "text=/^(Done|Error|Cancelled)/"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for temporary files of the server."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(temporary: Path) -> Iterator[str]:
    """Start the command, and end it as a service manager does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sgm_vfi.cli", "app", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:")
        yield line.split()[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options: dict[str, Any] = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        yield playwright.chromium.launch(**options)


@pytest.fixture
def page(server: str, browser: Any) -> Iterator[Any]:
    """Open the page; whatever it loads must come from this computer."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(1000 * SECONDS)
    requested: list[str] = []
    opened.on("request", lambda request: requested.append(request.url))
    opened.goto(server)
    opened.get_by_label("Network").first.fill("dis")
    opened.get_by_role("option", name="dis", exact=True).click()
    yield opened
    opened.close()
    assert requested
    assert [url for url in requested if not url.startswith((server, "blob:", "data:"))] == []


def upload(page: Any, number: int, path: Path, shown: str) -> None:
    """Give a file to a field, and wait until what is `shown` of it appears."""
    page.locator("input[type=file]").nth(number).set_input_files(path)
    page.locator(shown).locator("visible=true").first.wait_for()


def press(page: Any, name: str) -> None:
    page.locator(f"button:visible:text-is('{name}')").click()


def wait_for_end(page: Any) -> str:
    """Return the sentence that a job ends with."""
    ended = page.locator(ANY_END).locator("visible=true").first
    ended.wait_for()
    return ended.locator("xpath=..").inner_text()


def test_a_clip_is_planned_made_shown_and_deleted(
    page: Any, tmp_path: Path, temporary: Path
) -> None:
    upload(page, 0, write_clip(tmp_path / "in.mp4", moving_frames(6)), "text=in.mp4")
    page.get_by_text("slow motion").click()
    page.get_by_label("Times as long").fill("3")
    page.get_by_label("End", exact=True).fill("4f")
    press(page, "Show the plan")
    plan = page.get_by_label("Plan", exact=True).locator("visible=true")
    plan.wait_for()
    assert "in_slow3x_dis.mp4: 12 frames, 25 fps" in plan.input_value()
    press(page, "Interpolate")
    assert wait_for_end(page).startswith("Done. 12 frames in ")
    page.locator("video:visible").wait_for()
    assert page.locator("video:visible").evaluate("video => video.error") is None
    page.get_by_text("Without and with the network").locator("visible=true").wait_for()
    with page.expect_download() as download:
        page.locator("a[download='in_slow3x_dis.mp4']").first.click()
    with av.open(download.value.path()) as container:
        assert len(list(container.decode(video=0))) == 12
    assert list(temporary.rglob("in*.mp4"))
    page.goto("about:blank")
    deadline = time.monotonic() + SECONDS
    while list(temporary.rglob("in*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(temporary.rglob("in*.mp4")) == []


def test_a_job_is_cancelled_and_continued(page: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", moving_frames(300, 144, 176))
    upload(page, 0, clip, "text=long.mp4")
    press(page, "Interpolate")
    page.get_by_text("/600 frames").wait_for()
    press(page, "Cancel")
    assert "of 600 frames are kept" in wait_for_end(page)


def test_errors_are_one_sentence(page: Any, tmp_path: Path) -> None:
    press(page, "Interpolate")
    assert wait_for_end(page) == "Error: No clip yet: drop a video into the field Clip."
    sound = tmp_path / "sound.mp4"
    with av.open(sound, "w") as container:
        container.mux(encode_tone(container.add_stream("aac", rate=48000), 0.2))
    upload(page, 0, sound, "text=sound.mp4")
    press(page, "Interpolate")
    page.get_by_text("Error: sound.mp4 holds no video").wait_for()
    page.get_by_label("Start").fill("soon")
    press(page, "Interpolate")
    page.get_by_text("got 'soon'").wait_for()


def test_a_pair_of_images(page: Any, tmp_path: Path) -> None:
    pair = [tmp_path / f"{number}.png" for number in range(2)]
    for path, frame in zip(pair, moving_frames(2), strict=True):
        write_frame(path, frame[0], 16)
    page.get_by_role("tab", name="Two images").click()
    upload(page, 1, pair[0], "[data-testid=image] img")
    press(page, "Interpolate")
    assert "Two images are needed" in wait_for_end(page)
    upload(page, 2, pair[1], "[data-testid=image] img >> nth=1")
    press(page, "Interpolate")
    page.locator("text=/^Done/").locator("visible=true").wait_for()
    assert page.locator("a[download='middle.png']").count()
    wrong = tmp_path / "2.png"
    wrong.write_bytes(b"no image")
    upload(page, 1, wrong, "[data-testid=image] img")
    press(page, "Interpolate")
    page.get_by_text("Error: 2.png (8 bytes) is no image").wait_for()
