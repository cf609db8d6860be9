"""The report of a run: complete, escaped, the same every time, and without anything from elsewhere."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reportable import BINARY, CLASSES, SEVERAL, make_results, make_run

from zoo.core.tasks import Task
from zoo.core.text import RESEARCH_ONLY
from zoo.evaluation import Interval, Predictions, ThresholdRule, choose_thresholds
from zoo.evaluation.subgroups import Gaps
from zoo.report import cases, sections
from zoo.report import images as images
from zoo.report.blocks import Intervals
from zoo.report.material import Material
from zoo.report.page import render, write_report
from zoo.runs.leaks import Leak
from zoo.runs.results import Results
from zoo.runs.run import Run

VOID = {"meta", "img", "br", "hr", "link", "input"}
ALL = ("summary", "flow", "data", "training", "results", "curves", "calibration", "operating", "utility", "fit")
ALL += (
    "uncertainty",
    "confusion",
    "subgroups",
    "fairness",
    "baselines",
    "mistakes",
    "explanations",
    "repeat",
    "checklists",
)


class Page(HTMLParser):
    """Elements of a page, with an error where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] not in ("style", "pre"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module", params=[BINARY, SEVERAL, CLASSES], ids=lambda task: task.kind)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Results, str]:
    run = make_run(tmp_path_factory.mktemp(request.param.kind), request.param)
    found = make_results(run)
    return run, found, render(Material.of(run, found))


def keys(page: Page) -> tuple[str, ...]:
    return tuple(str(each["id"]) for each in page.all("h2"))


def test_a_full_report_has_every_section_folded_but_the_summary(finished: tuple[Run, Results, str]) -> None:
    page = Page(finished[2])
    expected = [key for key in ALL if key != "operating" or finished[1].operating]
    assert list(keys(page)) == expected
    folded = [d for d in page.all("details") if d.get("class") == "section"]
    assert len(folded) == len(expected) - 1  # all but the summary
    assert page.all("nav") == []  # their headings are the contents
    assert page.text.count(RESEARCH_ONLY) == 2
    assert str(finished[1].evaluation.headline) in page.text


def test_a_report_asks_nothing_of_the_network(finished: tuple[Run, Results, str]) -> None:
    text = finished[2]
    page = Page(text)
    policy = next(m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert any(m.get("name") == "viewport" for m in page.all("meta"))
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/jpeg;base64,")), value
    assert all(each.startswith("#") for each in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text
    assert "<script" not in text
    assert "<link" not in text


def test_every_figure_has_a_description_and_every_id_is_there_once(finished: tuple[Run, Results, str]) -> None:
    page = Page(finished[2])
    images = [e for e in page.elements if e[1].get("role") == "img"]
    assert len(images) >= 6
    assert all(attributes.get("aria-label") for _, attributes in images)
    rows = sum(each.get("width") is None for each in page.all("svg"))  # of a chart that is a table, beside their values
    assert rows >= 4
    assert len(page.all("svg")) - rows == len(images)  # every other stands in an element that says what it shows
    assert all(each.get("aria-hidden") == "true" for each in page.all("svg"))
    assert page.all("img")
    assert all(each.get("alt") for each in page.all("img"))
    ids = re.findall(r'\bid="([^"]+)"', finished[2])
    assert len(ids) == len(set(ids))
    used = re.findall(r'href="#([^"]+)"', finished[2]) + re.findall(r"url\(#([^)]+)\)", finished[2])
    assert set(used) <= set(ids)


def test_tables_are_captioned_and_their_rows_are_whole(finished: tuple[Run, Results, str]) -> None:
    text = finished[2]
    tables = re.findall(r'<table aria-label="([^"]+)"[^>]*>(.*?)</table>', text, flags=re.DOTALL)
    assert len(tables) == text.count("<table") >= 8
    for _, body in tables:
        rows = [len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL)]
        assert len(set(rows)) == 1
        assert len(rows) > 1


def test_equal_runs_give_equal_pages(finished: tuple[Run, Results, str], tmp_path: Path) -> None:
    run, found, text = finished
    path = write_report(run, found, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    assert path.read_text(encoding="utf-8") == text
    assert len(text) < 1_500_000


def bare(run: Run, found: Results) -> Results:
    empty: dict[str, Any] = dict.fromkeys(("operating", "groups", "baselines", "leaks", "notes", "threshold_notes"), ())
    return dataclasses.replace(
        found, **empty, gaps=Gaps(), calibration=None, reference=None, validation=None, drop=None, flow=None
    )


def test_sections_without_content_are_gone(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False, pixels=False)
    found = make_results(run)
    for name in ("metrics.csv", "set_aside.csv", "images.csv"):
        (run.path / name).unlink()
    run.write_json("data.json", {})
    page = Page(render(Material.of(run, bare(run, found))))
    assert keys(page) == (
        "summary",
        "results",
        "curves",
        "utility",
        "fit",
        "uncertainty",
        "confusion",
        "fairness",
        *ALL[-4:],
    )
    assert "zoo explain" in " ".join(page.words) or "zoo explain" in render(Material.of(run, bare(run, found)))
    assert "pixels of these images are gone" in page.text


def test_what_decides_stands_at_the_top(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False, pixels=False)
    found = make_results(run)
    worse = dataclasses.replace(found.baselines[0], beaten=False, difference=Interval(-0.2, -0.3, -0.1))
    leak = Leak("patient", "test", 3, 150, "a.png")
    found = dataclasses.replace(found, leaks=(leak,), baselines=(worse,))
    text = render(Material.of(run, found))
    top = text[: text.index('id="data"')]
    assert re.search(r'<div class="lead alarm" role="alert">\s*<p>Leak: 3 of the 150', top)
    assert re.search(r'<li class="bad">[^<]*the network is worse, its difference is -\.200', top)
    assert text.index("Leak: 3") < text.index("the network is worse") < text.index(str(found.evaluation.headline))
    assert "None of these figures stands" in top
    good = render(Material.of(run, dataclasses.replace(found, leaks=())))
    assert 'role="alert"' not in good
    assert re.search(r'<div class="lead bad">\s*<p>[^<]*the network is worse', good)


def test_other_reference_labels_are_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, SEVERAL, explained=False, pixels=False)
    table = run.predictions("test").table
    second = tmp_path / "second.csv"
    second.write_text("image,Mass\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(table["image"])))
    found = make_results(run, labels=second)
    page = Page(render(Material.of(run, found)))
    assert "reference" in keys(page)
    assert "second.csv" in page.text
    assert str(found.reference.other.per_label["Mass"]["auroc"]) in page.text


def test_the_chart_on_top_compares_like_with_like(tmp_path: Path) -> None:
    run = make_run(tmp_path, SEVERAL, explained=False, pixels=False)
    found = make_results(run)
    assert found.drop is not None
    fewer = dataclasses.replace(found.drop, labels=("Mass", "Effusion"), left_out=("Pleural_Thickening",))
    chart = sections.headline(dataclasses.replace(found, drop=fewer))
    assert [name for name, _, _ in chart.rows[:3]] == [
        "macro AUROC, test",
        "macro AUROC, test (2 labels)",
        "macro AUROC, validation (2 labels)",
    ]
    assert [name for name, _, _ in chart.rows[-3:]] == list(SEVERAL.labels)
    same = sections.headline(found)
    assert [name for name, _, _ in same.rows[:2]] == ["macro AUROC, test", "macro AUROC, validation"]
    low, high = same.axis
    assert low <= min(0.5, *(value.low for _, value, _ in same.rows)) < high == 1.0


def test_a_chart_of_intervals_places_values_along_its_axis() -> None:
    nan = float("nan")
    chart = Intervals(
        "", (("a", Interval(0.1, 0.0, 0.2), ""), ("b", Interval(nan, nan, nan), "small")), 0.0, (-0.1, 0.3)
    )
    assert [chart.place(v) for v in (-0.1, 0.1, 0.3, 9.0)] == ["0.00%", "50.00%", "100.00%", "100.00%"]
    assert chart.ticks == pytest.approx((-0.1, 0.0, 0.1, 0.2, 0.3))
    low, high = dataclasses.replace(chart, limits=None).axis
    assert low < 0.0 < 0.2 < high
    empty = Intervals("", (("b", Interval(nan, nan, nan), ""),), nan)
    assert empty.axis[0] < empty.axis[1]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium is installed")
def test_a_printed_report_holds_what_is_folded(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False, pixels=False)
    path = write_report(run, make_results(run), tmp_path)
    pages = []
    for name, text in (
        ("whole", path.read_text()),
        ("top", re.sub(r"<details.*</details>", "", path.read_text(), flags=re.S)),
    ):
        file = tmp_path / f"{name}.html"
        file.write_text(text)
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += [f"--print-to-pdf={tmp_path / name}.pdf", file.as_uri()]
        subprocess.run(command, capture_output=True, timeout=600, check=True)
        pages.append(len(re.findall(rb"/Type\s*/Page\b", (tmp_path / f"{name}.pdf").read_bytes())))
    assert pages[0] >= pages[1] + 3


HOSTILE = '<script>alert("1")</script> & <img src=https://example.org/x.png onerror=x>'


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    task = Task("multilabel", ("Mass", HOSTILE))
    run = make_run(tmp_path, task, explained=False, pixels=False)
    found = make_results(run)
    listed = pd.read_csv(run.path / "images.csv").replace({"view": {"PA": "<b>PA</b>"}})
    predictions = run.predictions("test")
    hostile = {predictions.table["image"][0]: '"><script>x</script>'}
    table = predictions.table.replace({"image": hostile})
    run.save_predictions("test", Predictions(task, table, 1 - predictions.labels, predictions.logits))
    listed.replace({"image": hostile}).to_csv(run.path / "images.csv", index=False)
    found = dataclasses.replace(make_results(run), run="<i>run</i>", leaks=(Leak("name", "test", 1, 2, "<u>leak</u>"),))
    text = render(Material.of(run, found))
    tags = {tag for tag, _ in Page(text).elements}
    assert not tags & {"script", "b", "i", "u", "img"}
    assert "<title>&lt;i&gt;run&lt;/i&gt;" in text
    assert "&lt;script&gt;alert" in text


def test_images_are_shown_from_the_store_and_only_if_wanted(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY)
    found = make_results(run)
    names = list(run.predictions("test").table["image"][:3])
    shown = images.thumbnails(run, [*names, "not there"], size=16)
    assert list(shown) == names
    assert all(uri.startswith("data:image/jpeg;base64,/9j/") for uri in shown.values())
    page = Page(render(Material.of(run, found, pictures=False)))
    assert not page.all("img")
    assert "made without images" in page.text
    assert "holds images" not in page.text
    assert "holds images" in Page(render(Material.of(run, found))).text


def test_images_are_read_from_the_root_where_the_store_is_gone(tmp_path: Path) -> None:
    from PIL import Image

    run = make_run(tmp_path, BINARY, pixels=False)
    root = tmp_path / "published"
    (root / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(root / "images" / "image-300.png")
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(tmp_path / "outside.png")
    (root / "letter.png").write_text("a letter")
    data = json.loads((run.path / "data.json").read_text())
    run.write_json("data.json", {**data, "root": str(root)})
    assert list(images.thumbnails(run, ["image-300.png", "../outside.png", "letter.png"])) == ["image-300.png"]


def test_the_worst_mistakes_are_the_surest() -> None:
    import pandas as pd

    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [np.nan, 1]])
    logits = np.array([[-4.0, -9], [-1, -9], [3, 2], [1, -9], [9, -5]])
    table = pd.DataFrame({"image": list("abcde"), "patient": list("abcde")})
    predictions = Predictions(Task("multilabel", ("Mass", "Nodule")), table, labels, logits)
    found = cases.worst_mistakes(predictions, {"Mass": 0.5, "Nodule": 0.5})
    assert [(m.image, m.label, m.predicted) for m in found] == [
        ("e", "Nodule", "no Nodule"),
        ("a", "Mass", "no Mass"),
        ("b", "Mass", "no Mass"),
        ("c", "Mass", "Mass"),
        ("d", "Mass", "Mass"),
    ]
    assert found[1].probability == pytest.approx(1 / (1 + np.exp(4)))
    assert [m.image for m in cases.worst_mistakes(predictions, {"Mass": 0.5, "Nodule": 0.5}, most=2)] == ["e", "c"]


def test_the_worst_mistakes_of_rare_findings_are_of_both_kinds_label_by_label() -> None:
    rng = np.random.default_rng(0)
    task = Task("multilabel", tuple("ABCDEFGH"))
    rare = -np.linspace(0, 5, 8)  # the logits of a network that knows how rare each finding is
    labels = (rng.random((2000, 8)) < 1 / (1 + np.exp(-rare))).astype(float)
    logits = rare + labels + rng.normal(size=labels.shape)
    names = [str(i) for i in range(2000)]
    predictions = Predictions(task, pd.DataFrame({"image": names, "patient": names}), labels, logits)
    thresholds = choose_thresholds(predictions, ThresholdRule("youden"))
    found = cases.worst_mistakes(predictions, thresholds)
    assert [m.predicted == m.label for m in found] == [False] * 6 + [True] * 6
    # six labels find room, each with a missed image and a false alarm
    assert {m.label for m in found[:6]} == {m.label for m in found[6:]}
    assert len({m.label for m in found}) == 6
    for each in found:
        k, row = task.labels.index(each.label), int(each.image)
        threshold = thresholds[each.label]
        distance = abs(float(predictions.logits[row, k]) - np.log(threshold / (1 - threshold)))
        assert each.wrongness == pytest.approx(distance)
    extreme = cases.worst_mistakes(predictions, dict.fromkeys(task.labels, 0.5) | {"A": 41.5, "B": 0.0, "C": 1.0})
    assert all(np.isfinite(m.wrongness) for m in extreme)


def test_the_worst_mistakes_of_classes_are_the_surest_wrong_classes() -> None:
    import pandas as pd

    labels, logits = np.eye(3)[[0, 1, 2]], np.array([[0.0, 3, 0], [0, 1, 0], [2, 0, 0]])
    table = pd.DataFrame({"image": list("abc"), "patient": list("abc")})
    found = cases.worst_mistakes(Predictions(CLASSES, table, labels, logits), {})
    assert [(m.image, m.predicted, m.reference) for m in found] == [
        ("a", "pneumonia", "normal"),
        ("c", "normal", "effusion"),
    ]


def browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_a_browser_opens_the_page_without_a_complaint(tmp_path: Path) -> None:
    run = make_run(tmp_path, SEVERAL)
    path = write_report(run, make_results(run), tmp_path)
    command = [str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=390,800", "--enable-logging=stderr", "--v=0"]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=600, check=True
    )
    # the page's own policy forbids every request: one that was tried is reported as a console error
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg") >= 10
    assert "Pleural_Thickening" in done.stdout
