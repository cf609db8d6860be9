"""The page in a real browser, on a real server: images of all kinds, errors, keyboard, phone, both colour schemes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from images_to_send import dicom, huge, image

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
ZOO = [sys.executable, "-c", "from zoo.cli.main import main; main()"]
TRAIN = ["--model", "tiny-cnn", "--task", "multilabel", "--data", "phantom", "--set", "data.patients=60"]
TRAIN += ["--image-size", "64", "--epochs", "1"]
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of two runs, from `zoo train` to `zoo serve`; gives its address."""
    folder = tmp_path_factory.mktemp("served")
    environment = os.environ | {"ZOO_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name, seed in (("first", "1"), ("second", "2")):
        command = [*ZOO, "train", *TRAIN, "--seed", seed, "--run", name]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=600)
    log = (folder / "log").open("w")
    command = [*ZOO, "serve", "first", "second", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, (folder / "log").read_text()
    yield found[0]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    log.close()
    assert process.returncode == 0
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Open]:
    """Open the page; at the end no other host was asked, nothing stood on the console, and no cookie was set."""
    contexts, urls, said = [], [], []

    def make(width: int = 1280, height: int = 900, expected: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        context.on("request", lambda request: urls.append(request.url))
        page.on("console", lambda line: said.append(line.text) if not expected or expected not in line.text else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "filechooser", lambda chooser: None
        )  # Chromium is told at once to hand choosers over, not amid a key press
        page.goto(address)
        page.get_by_text("cxr-zoo ").wait_for()
        return page

    yield make
    assert [context.cookies() for context in contexts] == [[]] * len(contexts)
    for context in contexts:
        context.close()
    assert urls
    assert [each for each in urls if not each.startswith((address, "data:", f"blob:{address}"))] == []
    assert said == []


def send(page: Any, name: str, data: bytes, kind: str = "image/png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def read(page: Any, name: str = "image.png", data: bytes | None = None) -> None:
    """Send an image and wait for its results and heat maps."""
    send(page, name, data or image())
    page.locator("#results").wait_for()
    settle(page)


def settle(page: Any) -> None:
    end = time.monotonic() + WAIT_MS / 1000
    computing = "[...document.querySelectorAll('figcaption')].some((each) => each.textContent.startsWith('Computing'))"
    while page.evaluate(computing):
        assert time.monotonic() < end
        time.sleep(0.05)


def error_of(page: Any) -> str:
    alert = page.locator("#problem .alarm")
    alert.wait_for()
    assert not page.locator("#results").is_visible()
    return str(alert.text_content())


def test_a_png_is_read_by_both_runs_side_by_side(opened: Open) -> None:
    page = opened()
    assert "not for clinical use" in page.locator("#research").text_content()
    assert page.locator("#model-list li").count() == 2
    read(page, "my image.png")
    assert "my image.png · 120 × 90 pixels" in page.locator("#image-facts").text_content()
    articles = page.locator("article.run")
    boxes = [articles.nth(i).bounding_box() for i in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    for i, name in enumerate(("first", "second")):
        article = articles.nth(i)
        assert article.get_by_role("heading").text_content() == name
        assert article.locator("tbody tr").count() == 6
        assert article.locator(".point").count() == 6
        shown = "(each) => [each.naturalWidth, each.naturalHeight, each.clientWidth > 100]"
        assert article.locator("img.image").evaluate(shown) == [120, 90, True]
        assert "distribution" in article.locator(".ood").text_content()
    assert re.match(r"first: positive for .*\nsecond: positive for ", page.locator("#status").text_content())


def test_the_bars_are_as_long_as_the_probabilities_and_marked_at_the_operating_point(opened: Open) -> None:
    page = opened()
    read(page)
    top = float(page.locator(".axis span:last-child").first.text_content())
    for row in page.locator("article").first.locator("tbody tr").all():
        probability, threshold = (float(row.locator("td").nth(i).text_content()) for i in range(2))
        bar, fill, point = (row.locator(part).bounding_box() for part in (".bar", ".fill", ".point"))
        assert fill["width"] / bar["width"] == pytest.approx(probability / top, abs=0.02)
        at = (point["x"] + point["width"] / 2 - bar["x"]) / bar["width"]
        assert at == pytest.approx(threshold / top, abs=0.02)
        decision = row.locator(".decision").text_content()
        assert (decision == "positive") == (probability >= threshold)


def test_the_heat_map_follows_the_label_and_the_slider(opened: Open) -> None:
    page = opened()
    read(page)
    seen = []
    for label in ("Effusion", "Nodule", "Effusion"):
        page.locator("#label").select_option(label)
        settle(page)
        caption = page.locator("figcaption").first.text_content()
        assert label in caption
        heat = page.locator("img.heat").first
        if "zero everywhere" not in caption:
            assert heat.is_visible()
            assert label in heat.get_attribute("alt")
            assert heat.evaluate("(each) => each.naturalWidth / each.naturalHeight") == pytest.approx(4 / 3, abs=0.01)
            assert heat.bounding_box() == page.locator("img.image").first.bounding_box()
        seen.append(heat.get_attribute("src"))
    assert seen[0] == seen[2] != seen[1]
    for percent in (0, 35, 100):
        page.locator("#opacity").fill(str(percent))
        assert page.locator("#opacity-value").text_content() == f"{percent}%"
        opacity = page.locator("img.heat").first.evaluate("(each) => getComputedStyle(each).opacity")
        assert float(opacity) == pytest.approx(percent / 100)
    page.locator("#label").select_option("")
    assert not page.locator("img.heat").first.is_visible()


def test_a_dicom_is_shown_as_it_was_decoded(opened: Open) -> None:
    page = opened()
    read(page, "IM0001", dicom("PA"))
    assert "20 × 30 pixels" in page.locator("#image-facts").text_content()
    shown = page.locator("img.image").first.evaluate("(each) => [each.naturalWidth, each.naturalHeight]")
    assert shown == [20, 30]
    assert page.locator("tbody tr").count() == 12
    assert "Secret" not in page.content()


def test_what_is_no_image_is_refused_in_plain_words_and_the_next_image_is_read(opened: Open) -> None:
    page = opened(expected="Failed to load resource")
    send(page, "notes.txt", b"not an image\n", "text/plain")
    assert error_of(page) == "The image cannot be used: not an image."
    bomb = huge()
    assert len(bomb) < 1_000_000
    send(page, "huge.png", bomb)
    assert "14,143 × 14,143 pixels: the limit is 50 megapixels" in error_of(page)
    send(page, "empty.png", b"")
    assert "zero bytes" in error_of(page)
    send(page, "half.png", image()[:900])
    assert "truncated" in error_of(page)
    read(page)
    assert page.locator("#problem").text_content() == ""


def test_a_file_over_the_limit_is_not_even_sent(opened: Open) -> None:
    page = opened()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    transfer = page.evaluate_handle(
        "() => { const all = new DataTransfer(); all.items.add(new File([new Uint8Array(64000001)], 'big')); return all; }"
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    assert "64 MB" in error_of(page)
    assert sent == []


def test_an_image_can_be_dropped_and_several_cannot(opened: Open) -> None:
    page = opened()
    data = list(image())
    make = "([data, count]) => { const all = new DataTransfer(); for (let i = 0; i < count; i += 1) all.items.add("
    make += "new File([new Uint8Array(data)], `image-${i}.png`)); return all; }"
    page.dispatch_event("main", "drop", {"dataTransfer": page.evaluate_handle(make, [data, 2])})
    assert "One image at a time" in error_of(page)
    page.dispatch_event("main", "drop", {"dataTransfer": page.evaluate_handle(make, [data, 1])})
    page.locator("#results").wait_for()
    assert "image-0.png" in page.locator("#image-facts").text_content()
    settle(page)


def test_a_busy_server_is_tried_again_and_a_missing_one_reported(opened: Open) -> None:
    page = opened(expected="Failed to load resource")
    answers = iter([503, 503])

    def answer(route: Any) -> None:
        if next(answers, None):
            body = '{"detail": "16 images are waiting already."}'
            route.fulfill(status=503, headers={"Retry-After": "1", "Content-Type": "application/json"}, body=body)
        else:
            route.continue_()

    page.route("**/api/images*", answer)
    send(page, "image.png", image())
    page.get_by_text("The server is busy").wait_for()
    page.locator("#results").wait_for()
    settle(page)
    page.unroute("**/api/images*")
    page.route("**/api/images*", lambda route: route.abort())
    send(page, "image.png", image())
    assert error_of(page) == "The server cannot be reached. Is zoo serve still running?"


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_everything_can_be_done_with_the_keyboard(opened: Open, tmp_path: Path) -> None:
    page = opened()
    file = tmp_path / "image.png"
    file.write_bytes(image())
    page.keyboard.press("Tab")
    assert focused(page) == "choose"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file)
    page.locator("#results").wait_for()
    settle(page)
    order = []
    page.locator("#choose").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(focused(page))
    assert order[:2] == ["label", "opacity"]
    assert all("Model card of" in each for each in order[2:])
    page.locator("#label").focus()
    page.keyboard.press("n")  # as a select takes letters
    settle(page)
    assert page.locator("#label").input_value() in ("", "Nodule")
    page.locator("#opacity").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#opacity-value").text_content() == "65%"
    assert page.locator("#opacity").get_attribute("aria-valuetext") == "65 percent"
    page.keyboard.press("Home")
    assert page.locator("#opacity-value").text_content() == "0%"


def test_a_screen_reader_gets_names_roles_and_news(opened: Open) -> None:
    page = opened()
    assert page.locator("#status").get_attribute("role") == "status"
    assert page.locator("#problem").get_attribute("role") == "alert"
    read(page)
    assert page.evaluate("document.documentElement.lang") == "en"
    for role, name in [
        ("button", "Choose an image…"),
        ("combobox", "Heat map of"),
        ("slider", "Opacity of the heat map"),
    ]:
        assert page.get_by_role(role, name=name).count() == 1
    for name in ("first", "second"):
        table = page.get_by_role("table", name=f"Predictions of {name} for the image")
        assert table.get_by_role("columnheader").all_text_contents()[2:] == ["Operating point", "Decision"]
        assert table.get_by_role("rowheader").count() == 6
        assert page.get_by_role("link", name=f"Model card of {name}, opens in a new tab").count() == 1
    assert page.get_by_role("main").count() == page.get_by_role("heading", level=1).count() == 1
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].filter((h) => h.offsetParent).map((h) => +h.tagName[1])"
    )
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.images].filter((each) => !each.hasAttribute('alt')).length") == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => rgb.slice(0, 3).reduce((sum, c, i) => sum + linear(c / 255) * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (each) => {
    const [r, g, b, a = 1] = parse(getComputedStyle(each).backgroundColor);
    if (a > 0) return [r, g, b];
    return each.parentElement ? ground(each.parentElement) : [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const each = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !each.checkVisibility() || each.closest('noscript, .hidden')) continue;
    const [a, b] = [light(parse(getComputedStyle(each).color)), light(ground(each))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.trim().slice(0, 30)]);
  }
  return found.sort((one, other) => one[0] - other[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_can_be_read(opened: Open, scheme: str, width: int) -> None:
    page = opened(width, 844, color_scheme=scheme, has_touch=width < 500)
    for stage in ("start", "results"):
        if stage == "results":
            read(page)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 8
        assert contrasts[0][0] >= 4.5, contrasts[0]  # WCAG 2.2, 1.4.3 AA
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    for control in ("#choose", "#label"):
        assert page.locator(control).bounding_box()["height"] >= 44
    for cell in page.locator("tbody th .name, tbody td").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_those_who_asked_for_that(opened: Open, motion: str, moves: bool) -> None:
    page = opened(reduced_motion=motion)
    page.evaluate("document.getElementById('status').classList.add('busy')")
    name = page.evaluate("getComputedStyle(document.getElementById('status'), '::before').animationName")
    assert (name != "none") == moves


def test_the_model_card_opens_in_its_own_tab(opened: Open) -> None:
    page = opened()
    read(page)
    with page.context.expect_page() as tab:
        page.get_by_role("link", name="Model card of first").click()
    tab.value.set_default_timeout(WAIT_MS)
    assert "Model card: first" in tab.value.get_by_role("heading", level=1).text_content()
    assert tab.value.get_by_role("heading", name="Limitations").count() == 1
    assert tab.value.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#results").is_visible()


def test_an_image_that_takes_the_place_of_another_is_the_one_shown(opened: Open) -> None:
    page = opened()
    send(page, "one.png", image(300, 200))
    send(page, "two.png", image(200, 300))
    page.get_by_text("two.png").wait_for()
    settle(page)
    shown = page.locator("img.image").first.evaluate("(each) => [each.naturalWidth, each.naturalHeight]")
    assert shown == [200, 300]


def test_no_request_that_the_document_allows_makes_the_server_fail(address: str, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    tool = Path(sys.executable).with_name("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [tool, "run", f"{address}api/openapi.json", "--checks", f"{checks},response_headers_conformance"]
    command += ["--max-examples", "60", "--seed", "1", "--no-color"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "Tested: 7" in ran.stdout
