"""What the server decides by a file's header: which runs may take an image, and whether it is too large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bad_files import chunk, header
from images_to_send import deflated, dicom
from stub_server import Served, Stub, flat

Serve = Callable[..., Served]


@pytest.mark.parametrize("preamble", [True, False])
def test_each_run_answers_or_refuses_by_the_views_it_saw(serve: Serve, tmp_path: Path, preamble: bool) -> None:
    seen = {"frontal": {"PA", "AP"}, "lateral": {"LATERAL"}, "pa": {"PA"}}
    stubs = [Stub(tmp_path / name, views=frozenset(views)) for name, views in seen.items()] + [Stub(tmp_path / "any")]
    images = {view: dicom(view)[0 if preamble else 132 :] for view in ("LL", "AP")}
    served = serve(*stubs)
    lateral, ap = (served.post(each).json() for each in images.values())
    reasons = [each["reason"] for each in lateral["predictions"]]
    assert [bool(each) for each in reasons] == [True, False, True, False]
    assert reasons[0] == "not a view that the network saw (AP, PA): (0018,5101) ViewPosition is LL"
    assert [bool(each["reason"]) for each in ap["predictions"]] == [False, True, False, False]
    assert [each["note"] for each in ap["predictions"]][2:] == [
        "(0018,5101) ViewPosition is AP, the network saw PA only",
        "",
    ]
    assert "ViewPosition" not in ap["note"]
    alone = served.post(images["AP"], "/api/images?run=pa").json()
    assert (alone["note"], alone["predictions"][0]["note"]) == (
        "(0018,5101) ViewPosition is AP, the network saw PA only",
        "",
    )
    assert served.post(images["LL"], "/api/images?run=frontal&run=pa").status_code == 422
    for run, status in (("frontal", 422), ("any", 200)):
        assert served.post(images["LL"], f"/api/heat-maps?run={run}&label=Effusion").status_code == status
    forced = serve(*stubs, force=True).post(images["LL"]).json()["predictions"]
    assert [each["reason"] for each in forced] == [""] * 4


def test_a_bomb_is_refused_by_its_header(serve: Serve) -> None:
    served = serve(max_pixels=1000)
    head = b"\x89PNG\r\n\x1a\n" + header(20_000, 10_000)
    got = served.post(head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert got.status_code == 413
    assert "20,000 × 10,000 pixels" in got.json()["detail"]
    broken = chunk(b"tEXt", b"Comment\0x")[:-1] + b"\0"  # at which Pillow gives up
    assert served.post(head + broken + chunk(b"IDAT", b"") + chunk(b"IEND", b"")).status_code == 413
    assert served.post(deflated(40, 30)[132:]).status_code == 413
    assert served.post(flat(1, 20, 51)).status_code == 413
    assert served.post(flat(1, 20, 50)).status_code == 200
    assert served.service.classifiers["first"].asked == 1
