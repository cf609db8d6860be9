"""The REST interface: what it answers, and what it refuses, each with a sentence."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import ASIDE, READ, files
from images_to_send import dicom
from prometheus_client.parser import text_string_to_metric_families
from stub_server import Served, Stub, flat, pixels, png

from zoo.core.errors import UsageError
from zoo.core.tasks import Task
from zoo.core.text import RESEARCH_ONLY
from zoo.serve.security import HEADERS

Serve = Callable[..., Served]


def test_an_image_gets_probabilities_operating_points_and_decisions(serve: Serve) -> None:
    got = serve().post(flat(102, 30, 40)).json()
    assert (got["width"], got["height"], got["note"], got["picture"]) == (40, 30, "", None)
    assert got["research_only"] == RESEARCH_ONLY
    (answer,) = got["predictions"]
    shade = 102 / 255 * 0.75  # a quarter of the square is black
    first, second = answer["labels"]
    assert first["probability"] == pytest.approx(shade, abs=0.005)
    assert second["probability"] == pytest.approx(shade / 2, abs=0.005)
    assert [(each["label"], each["threshold"], each["positive"]) for each in (first, second)] == [
        ("Effusion", 0.3, True),
        ("Pleural_Thickening", 0.3, False),
    ]
    assert answer["ood"] == {
        "flagged": False,
        "score": pytest.approx(shade, abs=0.005),
        "threshold": 0.9,
        "reason": "",
    }


def test_out_of_distribution_images_are_flagged(serve: Serve, tmp_path: Path) -> None:
    served = serve(Stub(tmp_path / "a"), Stub(tmp_path / "b", detector=False))
    first, second = served.post(flat(250)).json()["predictions"]
    assert (first["ood"]["flagged"], first["ood"]["reason"]) == (True, "too bright")
    assert second["ood"] is None


def test_exclusive_classes_have_no_operating_point(serve: Serve, tmp_path: Path) -> None:
    served = serve(Stub(tmp_path / "a", Task("multiclass", ("normal", "pneumonia"))))
    labels = served.post(flat(200)).json()["predictions"][0]["labels"]
    assert [(each["threshold"], each["positive"]) for each in labels] == [(None, True), (None, False)]


def test_the_image_comes_back_as_it_was_read(serve: Serve) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 50), dtype=np.uint8)
    deep = image.astype(np.uint16) * 257
    got = serve().post(png(deep), "/api/images?picture=true").json()
    assert "16-bit" in got["note"]
    start, _, data = got["picture"].partition(",")
    assert start == "data:image/png;base64"
    shown = pixels(base64.b64decode(data))
    assert np.abs(shown.astype(int) - image * (255 / image.max())).max() <= 1


def test_a_large_image_comes_back_for_a_screen(serve: Serve) -> None:
    got = serve().post(flat(9, 1500, 3000), "/api/images?picture=true").json()
    assert (got["width"], got["height"]) == (3000, 1500)
    assert pixels(base64.b64decode(got["picture"].partition(",")[2])).shape == (512, 1024)


def test_several_runs_predict_in_their_order_or_those_asked_for(serve: Serve, tmp_path: Path) -> None:
    served = serve(Stub(tmp_path / "x" / "same"), Stub(tmp_path / "y" / "same", size=8), Stub(tmp_path / "other"))

    def runs(path: str) -> list[str]:
        return [each["run"] for each in served.post(flat(99), path).json()["predictions"]]

    assert runs("/api/images") == ["same", "same-2", "other"]
    assert runs("/api/images?run=other&run=same&run=other") == ["other", "same"]
    refused = served.post(flat(99), "/api/images?run=others")
    assert refused.status_code == 404
    assert "same, same-2, other" in refused.json()["detail"]


def test_a_run_without_a_prediction_gives_the_reason_and_the_others_predict(serve: Serve, tmp_path: Path) -> None:
    silent = Stub(tmp_path / "silent")
    silent.reason = "the network's answer is not a finite number"
    first, second = serve(silent, Stub(tmp_path / "b")).post(flat(99)).json()["predictions"]
    assert (first["reason"], first["labels"]) == (silent.reason, [])
    assert (second["reason"], len(second["labels"])) == ("", 2)
    alone = serve(silent).post(flat(99))
    assert alone.status_code == 422
    assert silent.reason in alone.json()["detail"]


def test_a_dicom_image_is_read_and_names_nobody(serve: Serve) -> None:
    served = serve()
    got = served.post(dicom("PA"), "/api/images?picture=true")
    assert got.status_code == 200, got.text
    assert (got.json()["width"], got.json()["height"]) == (20, 30)
    damaged = served.post(dicom("PA")[:-300])
    assert damaged.status_code == 422
    assert "secret" not in (got.text + damaged.text + str(served.lines)).lower()


def test_a_heat_map_lies_on_the_image_and_not_on_its_padding(serve: Serve) -> None:
    served = serve()
    row, column = (
        pixels(served.post(flat(99, 20, 40), f"/api/heat-maps?run=first&label={label}").content)
        for label in ("Effusion", "Pleural_Thickening")
    )
    assert row.shape == column.shape == (384, 768, 4)
    assert (row[192, :, 3] == 255).all()  # the middle row of the square is that of the image
    assert (row[:60, :, 3] == 0).all()
    band = (row[:, 0, 3] > 0).mean() / (column[0, :, 3] > 0).mean()
    assert band == pytest.approx(2, abs=0.3)  # of an image half as high as the square the row is twice as much
    assert (column[:, 384, 3] == 255).all()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("run=first&label=Effusio", 404),
        ("run=second&label=Effusion", 404),
        ("run=first", 422),
        ("label=Effusion", 422),
        ("run=first&label=Effusion&method=occlusion", 422),
        ("run=first&label=Effusion&method=gradcam%2B%2B", 200),
    ],
)
def test_a_heat_map_that_cannot_be_is_refused(serve: Serve, query: str, status: int) -> None:
    got = serve().post(flat(99), f"/api/heat-maps?{query}")
    assert got.status_code == status
    if status != 200:
        assert got.json()["detail"].endswith(".")


def test_a_heat_map_that_is_zero_everywhere_says_so(serve: Serve, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "a")
    served = serve(stub)
    full = served.post(flat(99), "/api/heat-maps?run=a&label=Effusion")
    stub.heat = lambda images, columns, method: np.zeros(images.shape, np.float32)
    empty = served.post(flat(99), "/api/heat-maps?run=a&label=Effusion")
    assert (full.headers["heat-map-empty"], empty.headers["heat-map-empty"]) == ("false", "true")
    assert (pixels(empty.content)[..., 3] == 0).all()


def test_a_network_without_maps_is_served_without_them(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(tmp_path / "flat")

    def refuse(images: np.ndarray, columns: list[int], method: str) -> np.ndarray:
        raise UsageError("the network has no maps.")

    stub.heat = refuse
    served = serve(stub)
    monkeypatch.setattr(served.service.decoder, "start", lambda: None)  # it has been started
    served.service.start()
    assert served.lines == ["warming up flat", "Warning: flat has no heat maps: the network has no maps."]
    got = served.post(flat(99), "/api/heat-maps?run=flat&label=Effusion")
    assert (got.status_code, got.json()["detail"]) == (422, "the network has no maps.")
    assert served.post(flat(99), "/api/images").status_code == 200


def test_every_broken_file_gets_a_reason_and_none_an_error(serve: Serve) -> None:
    served = serve()
    client = served.client
    seen = 0
    for name, content, case in files():
        got = client.post("/api/images?picture=true", content=content)
        assert got.status_code in (200, 413, 422), f"{name}: {got.status_code} {got.text}"
        if case.outcome == ASIDE:
            assert got.status_code != 200, name
        if case.outcome == READ:
            assert got.status_code == 200, f"{name}: {got.text}"
        if got.status_code != 200:
            assert re.fullmatch(r"(the image cannot be used: .+|the request has no body.+)\.", got.json()["detail"]), (
                name
            )
            seen += 1
    assert seen > 150
    assert served.service.decoder.worker.restarts == 0


def test_the_runs_are_described(serve: Serve, tmp_path: Path) -> None:
    client = serve(Stub(tmp_path / "a b"), max_bytes=77).client
    got = client.get("/api/runs").json()
    assert (got["max_bytes"], got["research_only"]) == (77, RESEARCH_ONLY)
    (run,) = got["runs"]
    assert run == client.get("/api/runs/a%20b").json()
    assert run["labels"][0] == {"label": "Effusion", "threshold": 0.3}
    kept = ("run", "model", "dataset", "task", "image_size", "calibrated", "ood_detector", "card")
    assert [run[key] for key in kept] == [
        "a b",
        "tiny-cnn",
        "phantom",
        "multilabel",
        16,
        False,
        True,
        "/cards/a%20b",
    ]
    assert client.get("/api/runs/other").status_code == 404


def test_a_card_of_the_run_is_shown_and_nothing_in_it_is_run(serve: Serve, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "first")
    text = "# Card <script>alert(1)</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![x](http://far/x.png) [y](javascript:z)\n"
    (stub.run.path / "model-card.md").write_text(text)
    client = serve(stub).client
    assert client.get("/api/runs/first/card").text == text
    page = client.get("/cards/first")
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>Card &lt;script&gt;" in page.text
    assert "<td>2</td>" in page.text
    assert not re.search(r"<script|<img|href=\"javascript", page.text)


def test_a_card_is_made_where_the_run_has_none(serve: Serve, tmp_path: Path) -> None:
    from reportable import SEVERAL, make_run

    stub = Stub(tmp_path / "stub")
    stub.run = make_run(tmp_path, SEVERAL, explained=False, pixels=False)
    client = serve(stub).client
    assert "# Model card: run" in client.get("/api/runs/run/card").text
    assert "Limitations</h2>" in client.get("/cards/run").text
    assert not (stub.run.path / "model-card.md").exists()
    none = serve(Stub(tmp_path / "empty")).client.get("/cards/empty")
    assert none.status_code == 404
    assert "zoo report" in none.json()["detail"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge"])
def test_a_card_that_is_no_plain_file_of_the_run_is_not_shown(serve: Serve, tmp_path: Path, kind: str) -> None:
    stub = Stub(tmp_path / "first")
    card, secret = stub.run.path / "model-card.md", tmp_path / "secret"
    secret.write_text("secret")
    if kind == "link":
        card.symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(card)
    elif kind == "folder":
        card.mkdir()
    else:
        card.write_text("secret" * 200_000)
    got = serve(stub).client.get("/api/runs/first/card")
    assert (got.status_code, "secret" in got.text) == (404, False)


def test_metrics_count_requests(serve: Serve) -> None:
    served = serve()
    served.post(flat(1))
    served.post(b"text")
    served.client.get("/api/no-such-thing/John-Doe")
    text = served.client.get("/api/metrics").text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    requests = {
        tuple(each.labels[key] for key in ("method", "route", "status")): each.value
        for each in families["zoo_requests"].samples
        if each.name.endswith("_total")
    }
    assert requests == {
        ("POST", "/api/images", "200"): 1,
        ("POST", "/api/images", "422"): 1,
        ("GET", "(none)", "404"): 1,
    }
    values = {each.name: each.value for family in families.values() for each in family.samples if not each.labels}
    assert values["zoo_request_seconds_count"] == 3
    assert values["zoo_jobs_total"] == 2
    assert values["zoo_uploads_held_bytes"] == values["zoo_queue_images"] == values["zoo_decoder_restarts_total"] == 0
    assert "John" not in text


def test_every_application_counts_for_itself(serve: Serve) -> None:
    serve().post(flat(1))
    assert "POST" not in serve().client.get("/api/metrics").text


def test_health_says_how_busy_it_is(serve: Serve) -> None:
    assert serve(queue=5).client.get("/api/health").json() == {"status": "ok", "runs": 1, "waiting": 0, "queue": 5}


def test_the_openapi_document_names_every_response_and_no_other_host(serve: Serve) -> None:
    client = serve().client
    document = client.get("/api/openapi.json").json()
    codes = {path: {m: set(op["responses"]) for m, op in each.items()} for path, each in document["paths"].items()}
    plain = {"200", "421", "500"}
    upload = plain | {"403", "404", "408", "413", "415", "422", "503"}
    assert codes == {
        "/api/health": {"get": plain},
        "/api/metrics": {"get": plain},
        "/api/runs": {"get": plain},
        "/api/runs/{run}": {"get": plain | {"404", "422"}},
        "/api/runs/{run}/card": {"get": plain | {"404", "422"}},
        "/api/images": {"post": upload},
        "/api/heat-maps": {"post": upload},
    }
    assert set(document["components"]["schemas"]) & {"HTTPValidationError", "ValidationError"} == set()
    given = {"/api/heat-maps": "image/png", "/api/metrics": "text/plain", "/api/runs/{run}/card": "text/markdown"}
    for path, each in document["paths"].items():
        (operation,) = each.values()
        for code, answer in operation["responses"].items():
            expected = given.get(path, "application/json") if code == "200" else "application/json"
            assert list(answer["content"]) == [expected], f"{path} {code}"
    assert "Retry-After" in document["paths"]["/api/images"]["post"]["responses"]["503"]["headers"]
    assert "http" not in json.dumps(document).replace("HTTP", "").replace("http.", "")
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404


def test_the_page_asks_no_other_host_and_holds_no_inline_script_or_style(serve: Serve) -> None:
    client = serve().client
    page = client.get("/").text
    assert RESEARCH_ONLY in page
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert name.startswith("/")
        assert client.get(name).status_code == 200, name
    folder = resources.files("zoo.serve") / "page"
    for each in folder.iterdir():
        text = each.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text), each.name
        assert not re.search(r"<style|style=|<script(?! src)| on[a-z]+=", text), each.name


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("GET", "/nothing", 404), ("PUT", "/api/images", 405), ("POST", "/api/images", 422)],
)
def test_every_response_has_the_safe_headers(serve: Serve, method: str, path: str, status: int) -> None:
    got = serve().client.request(method, path)
    assert got.status_code == status
    assert {name: got.headers.get(name) for name in HEADERS} == HEADERS
    policy = got.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in got.headers
    if status >= 400:
        assert set(got.json()) == {"detail"}


def ask(served: Served, **headers: str) -> Any:
    return served.client.get("/api/health", headers=headers)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000", "192.168.1.7:8000", "images.lan"]
)
def test_requests_under_the_server_s_own_names_get_a_response(serve: Serve, host: str) -> None:
    assert ask(serve(names=("Images.lan",)), host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a@localhost.x"]
)
def test_requests_under_another_name_are_rejected(serve: Serve, host: str) -> None:
    got = ask(serve(names=("Images.lan",)), host=host)
    assert got.status_code == 421
    assert "--allow-host" in got.json()["detail"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8000", 200), ("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:9000", 403)],
)
def test_a_page_of_another_site_may_not_send_images(serve: Serve, origin: str, status: int) -> None:
    assert serve().post(flat(5), headers={"origin": origin}).status_code == status
