"""Requests to `zoo serve` as raw bytes, each with the status it must get; 0 is a connection that is closed without one.

The server of the tests has one run, `first`, and takes 1 MB, waits 1 s for the next part and 2 s for a whole upload.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

LIMITS = {"max_bytes": 1_000_000, "max_pixels": 4_000_000, "idle_s": 1.0, "upload_s": 2.0, "decode_s": 5.0}


@dataclass(frozen=True)
class Case:
    """A request: bytes to send, with pauses in seconds between them, and the statuses of its responses that are right."""

    name: str
    parts: tuple[bytes | float, ...]
    statuses: frozenset[int]
    last: bool = False  # whatever follows the first response must not get one: it would be another client's
    seconds: float = 10.0  # many times what it takes on a machine that is not busy


def png(side: int = 24, value: int = 90) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


IMAGE = png()
HOST = b"Host: 127.0.0.1\r\n"
HIDDEN = b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n"  # what a smuggled request would be


def get(
    target: bytes = b"/api/health", fields: bytes = HOST, version: bytes = b"HTTP/1.1", method: bytes = b"GET"
) -> bytes:
    return method + b" " + target + b" " + version + b"\r\n" + fields + b"\r\n"


def post(body: bytes = IMAGE, fields: bytes = b"", target: bytes = b"/api/images") -> bytes:
    return get(target, HOST + fields + b"Content-Length: %d\r\n" % len(body), method=b"POST") + body


def framed(fields: bytes, body: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """An upload whose length is given by `fields`."""
    return get(b"/api/images", HOST + fields, version, b"POST") + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(body: bytes, fields: bytes = b"") -> bytes:
    return framed(fields + b"Transfer-Encoding: chunked\r\n", body)


END = b"0\r\n\r\n"


def request_lines() -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """First lines that are none, or not one of HTTP/1.1 for this server."""
    yield "zero bytes", bytes(64) + b"\r\n\r\n", (400,)
    yield "a TLS greeting", bytes.fromhex("16030100c4010000c00303") + bytes(range(32)) + b"\n\n", (400,)
    yield "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)
    yield "HTTP/0.9", b"GET /api/health\r\n\r\n", (400,)
    yield "HTTP/1.0", get(version=b"HTTP/1.0"), (200,)
    yield "HTTP/9.9", get(version=b"HTTP/9.9"), (505,)
    yield "a version with a tail", get(version=b"HTTP/1.1x"), (400,)
    yield "two spaces", b"GET  /api/health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)
    yield "tabs for spaces", b"GET\t/api/health\tHTTP/1.1\r\n" + HOST + b"\r\n", (400,)
    yield "no target", b"GET HTTP/1.1\r\n" + HOST + b"\r\n", (400,)
    yield "an empty line first", b"\r\n\r\n" + get(), (400,)
    yield "lines that end in LF alone", get().replace(b"\r", b""), (200,)
    yield "lines that end in CR alone, never whole", get().replace(b"\n", b""), (0,)
    yield "an unknown method", get(method=b"BREW"), (405,)
    yield "a method of 12 KB", get(method=b"X" * 12_000), (405,)
    yield "a method with a brace", get(method=b"GE{T"), (400,)
    yield "TRACE", get(method=b"TRACE"), (405,)
    yield "CONNECT to another host", get(b"example.org:443", method=b"CONNECT"), (400,)
    yield "OPTIONS for all", get(b"*", method=b"OPTIONS"), (400,)
    yield "the URL of this server", get(b"http://127.0.0.1/api/health"), (400,)
    yield "the URL of another", get(b"http://example.org/"), (400,)
    yield "a file URL", get(b"file:///etc/passwd"), (400,)
    yield "NUL in the target", get(b"/api/\x00health"), (400,)
    yield "an escape sequence in the target", get(b"/\x1b[31m"), (400,)
    yield "Latin-1 in the target", get("/röntgen".encode("latin-1")), (400,)
    yield "a target of 15 KB", get(b"/" + b"a" * 15_000), (404,)
    yield "a target of 200 KB", get(b"/" + b"a" * 200_000), (431,)
    yield "a first line without an end", b"GET /" + b"a" * 900_000, (431,)


def headers() -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """Headers that are none, too many, too large, or about other hosts."""
    yield "no Host", get(fields=b""), (400,)
    yield "two Hosts", get(fields=HOST + b"Host: example.org\r\n"), (400,)
    for status, hosts in {
        200: (b"127.0.0.1:1", b"[::1]", b"LOCALHOST", b"10.1.2.3:80"),
        421: (
            b"",
            b"example.org",
            b"127.0.0.1.example.org",
            b"me@127.0.0.1",
            b"127.0.0.1:abc",
            b"127.0.0.1:99999",
            b"127.0.0.1/x",
            b"127.0.0.1, example.org",
            b"127.0.0.1#x",
            b"[",
            b"[::1",
            b"[v1.x]",
            b"localhost.",
            b"2130706433",
            b"0x7f.1",
            b"\xff\xfe",
            b"\xe2\x84\x80.org",
        ),
    }.items():
        for host in hosts:
            yield f"Host {host!r}", get(fields=b"Host: " + host + b"\r\n"), (status,)
    for origin in (
        b"http://[",
        b"http://[x]",
        b"null",
        b"",
        b"//",
        b"http://example.org",
        b"http://127.0.0.1@example.org",
    ):
        yield f"Origin {origin!r}", post(fields=b"Origin: " + origin + b"\r\n"), (403,)
    yield "the own Origin", post(fields=b"Origin: http://127.0.0.1\r\n"), (200,)
    yield "Origin in Latin-1", post(fields=b"Origin: http://\xff\xe2\x84\x80\r\n"), (403,)
    yield "a header without a colon", get(fields=HOST + b"Accept\r\n"), (400,)
    yield "a space before the colon", get(fields=HOST + b"Accept : x\r\n"), (400,)
    yield "a header without a name", get(fields=HOST + b": x\r\n"), (400,)
    yield "a name with a space", get(fields=HOST + b"Acc ept: x\r\n"), (400,)
    yield "a name that is not ASCII", get(fields=HOST + b"Acc\xe9pt: x\r\n"), (400,)
    yield "NUL in a value", get(fields=HOST + b"Accept: a\x00b\r\n"), (400,)
    yield "CR in a value", get(fields=HOST + b"Accept: a\rX: b\r\n"), (400,)
    yield "a value over two lines", get(fields=HOST + b"Accept: a\r\n b\r\n"), (400,)
    yield "a value over two lines, with a tab", get(fields=HOST + b"Accept: a\r\n\tb\r\n"), (400,)
    yield "a first header that begins with a space", get(fields=b" " + HOST), (400,)
    yield "100 headers", get(fields=HOST + b"A: b\r\n" * 99), (200,)
    yield "101 headers", get(fields=HOST + b"A: b\r\n" * 100), (431,)
    yield "40,000 headers", get(fields=HOST + b"A:\r\n" * 40_000), (431,)
    yield "a header of 20 KB", get(fields=HOST + b"Cookie: " + b"x" * 20_000 + b"\r\n"), (431,)
    yield "a header without an end", get(fields=HOST + b"Cookie: " + b"x" * 300_000)[:-4], (431,)
    yield "an upgrade to WebSocket", get(fields=HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n"), (200,)
    yield "an upgrade to HTTP/2", get(fields=HOST + b"Connection: upgrade, x\r\nUpgrade: h2c\r\n"), (200,)
    yield "an unknown expectation", post(fields=b"Expect: more\r\n"), (200,)
    yield "a range of an image", post(fields=b"Range: bytes=0-99999999999\r\n"), (200,)


def lengths() -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """Lengths of bodies that two programs could read differently; none of what is hidden in them may be answered."""
    size = b"Content-Length: %d\r\n" % len(HIDDEN)
    coded = b"Transfer-Encoding: chunked\r\n"
    yield "a coding and a length", framed(coded + size, END + HIDDEN), (400,)
    yield "a length and a coding", framed(size + coded, END + HIDDEN), (400,)
    yield "a length of 0 and a coding", framed(b"content-length:0\r\n" + coded, END + HIDDEN), (400,)
    yield "a coding twice", framed(coded * 2, END + HIDDEN), (400,)
    for coding in (b"chunked, chunked", b"gzip, chunked", b"identity", b"xchunked", b"chunked\x0b", b'"chunked"', b""):
        yield f"coding {coding!r}", framed(b"Transfer-Encoding: " + coding + b"\r\n", END + HIDDEN), (400,)
    yield "a coding with a space before its colon", framed(b"Transfer-Encoding : chunked\r\n", END + HIDDEN), (400,)
    yield "a coding on a second line", framed(b"Transfer-Encoding:\r\n chunked\r\n", END + HIDDEN), (400,)
    yield "a coding in HTTP/1.0", framed(coded, END + HIDDEN, b"HTTP/1.0"), (400,)
    yield "a length twice", framed(b"Content-Length: 0\r\n" * 2, HIDDEN), (400,)
    yield "two lengths", framed(b"Content-Length: 0\r\n" + size, HIDDEN), (400,)
    for text in (
        b"0, 0",
        b"+0",
        b"-1",
        b"0x0",
        b"0 0",
        b"",
        b"0.0",
        b"1e1",
        b"9" * 19,
        b"9" * 5000,
        b"\xd9\xa3",
        b"\xb2",
    ):
        yield f"length {text[:20]!r}", framed(b"Content-Length: " + text + b"\r\n", HIDDEN), (400,)
    yield "a length of 18 digits", framed(b"Content-Length: " + b"9" * 18 + b"\r\n", b""), (413,)
    yield "a length of leading zeros", framed(b"Content-Length: 000000%d\r\n" % len(IMAGE), IMAGE), (200,)
    for text in (b"zz", b"-1", b"+1", b"0x5", b" 5", b"", b"5 5", b"F" * 21):
        yield f"chunk of size {text[:20]!r}", chunked(text + b"\r\nabcde\r\n" + END + HIDDEN), (400,)
    yield "a chunk of 16 exabytes", chunked(b"F" * 16 + b"\r\nabcde\r\n" + END + HIDDEN), (408,)
    yield "a chunk longer than its size", chunked(b"3\r\nabcde\r\n" + END + HIDDEN), (400,)
    yield "a chunk without its last line end", chunked(b"5\r\nabcde" + END + HIDDEN), (400,)
    yield "chunk sizes that end in LF alone", chunked(b"5\nabcde\n0\n\n" + HIDDEN), (400,)
    yield "a trailer without a colon", chunked(chunk(IMAGE) + b"0\r\nX\r\n\r\n" + HIDDEN), (400,)
    yield "a trailer without an end", chunked(chunk(IMAGE) + b"0\r\nX: " + b"x" * 300_000), (431,)


def chunks() -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """Bodies in chunks, right ones and costly ones."""
    yield "an image in one chunk", chunked(chunk(IMAGE) + END), (200,)
    yield (
        "an image in chunks of a byte",
        chunked(b"".join(chunk(IMAGE[i : i + 1]) for i in range(len(IMAGE))) + END),
        (200,),
    )
    yield "a chunk with an extension", chunked(b"%x;a=b\r\n%s\r\n" % (len(IMAGE), IMAGE) + END), (200,)
    yield (
        "a chunk with an extension of 70 KB",
        chunked(b"%x;%s\r\n%s\r\n" % (len(IMAGE), b"a" * 70_000, IMAGE) + END),
        (200,),
    )
    yield "a chunk with an extension without an end", chunked(b"5;" + b"a" * 300_000), (431,)
    yield "a trailer", chunked(chunk(IMAGE) + b"0\r\nX: y\r\n\r\n"), (200,)
    yield "a trailer with a length", chunked(chunk(IMAGE) + b"0\r\nContent-Length: 5\r\n\r\n"), (200,)
    yield "100,000 chunks of a byte", chunked(chunk(b"x") * 100_000 + END), (400,)
    yield "100,000 chunks of 100 bytes", chunked(chunk(b"x" * 100) * 100_000 + END), (400,)
    yield "chunks of more than the limit together", chunked(chunk(bytes(65_536)) * 20 + END), (413,)
    yield "one chunk over the limit", chunked(chunk(bytes(1_000_001)) + END), (413,)
    yield "no data at all", chunked(END), (422,)
    yield "a GET with a body", get(fields=HOST + b"Content-Length: 5\r\n") + b"abcde", (200,)
    yield "an unknown route with a body", post(target=b"/api/nothing"), (404,)


PATHS = {
    b"/../../../../etc/passwd": (404,),
    b"/%2e%2e/%2e%2e/etc/passwd": (404,),
    b"/..%2f..%2f..%2fetc%2fpasswd": (404,),
    b"/..\\..\\etc\\passwd": (404,),
    b"/cards/../first": (404,),
    b"/cards/%2e%2e%2ffirst%2fconfig.yaml": (404,),
    b"/cards//etc/passwd": (404,),
    b"/cards/first%00": (404,),
    b"/cards/": (404,),
    b"/api/runs/..": (404,),
    b"/api/runs/%2e%2e%2f%2e%2e": (404,),
    b"/api/runs/%00": (404,),
    b"/api/runs/%ff%fe": (404,),
    b"/api/runs/%ed%a0%80": (404,),
    b"/api/runs/%": (404,),
    b"/api/runs/%zz": (404,),
    b"/api/runs/%252e%252e": (404,),
    b"/api/runs/first%0d%0aSet-Cookie:%20a=b": (404,),
    b"/api/runs/first/card/../../..": (404,),
    b"/api/runs/first/": (307,),
    b"//example.org/%2f..": (404,),
    b"/.env": (404,),
    b"/app.js/": (307,),
    b"/app.js%00.png": (404,),
    b"/api/images": (405,),
    b"/api/runs?%": (200,),
    b"/api/runs?&&&==&;": (200,),
    b"/api/runs?" + b"a=b&" * 3000: (200,),
}
QUERIES = {
    b"run=%00": (404,),
    b"run=%ff": (404,),
    b"run=": (404,),
    b"run[]=first": (200,),
    b"run=first&" * 1000: (200,),
    b"run=" + b"x" * 15_000: (404,),
    b"picture=perhaps": (422,),
    b"picture=true&picture=no": (200,),
    b"picture": (422,),
    b"%ed%a0%80=%00": (200,),
}


def bodies() -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """Bodies that are no images, and forms."""
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + IMAGE + b"\r\n"
    forms = {
        "a form": (b"multipart/form-data; boundary=b", part + b"--b--\r\n"),
        "a form in capitals": (b"MULTIPART/Form-Data; boundary=b", part + b"--b--\r\n"),
        "a form without a boundary": (b"multipart/form-data", part),
        "a form with a boundary of 10 KB": (b"multipart/form-data; boundary=" + b"b" * 10_000, part),
        "a form of 5,000 parts": (b"multipart/form-data; boundary=b", part[:80] * 5000),
        "a form in a form": (
            b"multipart/mixed; boundary=b",
            b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" * 99,
        ),
        "a form without names": (b"multipart/form-data; boundary=b", b"--b\r\n\r\n" + IMAGE + b"\r\n--b--"),
        "a form with control characters in a file name": (
            b"multipart/form-data; boundary=b",
            part.replace(b"a.png", b"../\x1b[2J\x00"),
        ),
        "a form of boundaries alone": (b"multipart/form-data; boundary=-", b"---" * 100_000),
    }
    for name, (kind, body) in forms.items():
        yield name, post(body, b"Content-Type: " + kind + b"\r\n"), (415,)
    files = {
        "nothing": b"",
        "text": b"no image",
        "JSON of great depth": b"[" * 500_000,
        "half an image": IMAGE[: len(IMAGE) // 2],
        "an image and a script": IMAGE[:30] + b"<script>" + IMAGE[38:],
        "a pickle that calls": b"cos\nsystem\n(S'touch pwned'\ntR.",
        "an SVG with an entity": b'<!DOCTYPE s [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>',
        "a page": b"<html><script>alert(1)</script>",
        "an empty archive": b"PK\x05\x06" + bytes(18),
        "zeros up to the limit": bytes(1_000_000),
        "the head of a DICOM": bytes(128) + b"DICM",
        "a TIFF whose directory is its own next": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "a PNG whose chunk claims 2 GB": IMAGE[:33] + b"\x7f\xff\xff\xffIDAT" + IMAGE[41:],
        "a PNG in a gzip": zlib.compress(IMAGE, wbits=31),
    }
    for name, body in files.items():
        yield name, post(body), (422,)
    yield "a PNG that claims 100 gigapixels", post(_claims(330_000)), (413,)
    yield "a PNG that claims 16 megapixels of nothing", post(_claims(4000)), (413,)
    yield "a body encoded by gzip", post(zlib.compress(IMAGE, wbits=31), b"Content-Encoding: gzip\r\n"), (422,)
    yield "an image called JSON", post(fields=b"Content-Type: application/json\r\n"), (200,)
    yield "a content type of control characters", post(fields=b"Content-Type: \x1b]0;x\r\n"), (200,)
    yield "one byte over the limit", post(bytes(1_000_001)), (413,)


def _claims(side: int) -> bytes:
    """A PNG whose header claims this side, without pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return start + IMAGE[33:]


def slow() -> Iterator[Case]:
    """Clients that take their time; the server gives them up."""
    every = frozenset

    def drip(data: bytes, pause: float) -> tuple[bytes | float, ...]:
        return tuple(part for i in range(len(data)) for part in (data[i : i + 1], pause))

    head = framed(b"Content-Length: 5000\r\n", b"")
    yield Case("silence", (6.0,), every({0}))
    yield Case("a head that stops", (get()[:20], 6.0), every({0}))
    yield Case("a head byte by byte", drip(get(fields=HOST + b"A: b\r\n" * 20), 0.05), every({0}))
    yield Case("a body that stops", (head + IMAGE, 6.0), every({408}))
    yield Case("a body byte by byte", (head, *drip(IMAGE, 0.05)), every({408}))
    yield Case(
        "an upload announced and never sent",
        (framed(b"Expect: 100-continue\r\nContent-Length: 9\r\n", b""), 6.0),
        every({100}),
    )
    yield Case("chunks byte by byte", (chunked(b""), *drip(chunk(IMAGE), 0.05)), every({408}))
    yield Case("a refused body that stops", (framed(b"Content-Length: 999999999\r\n", b"x"), 6.0), every({413}))
    yield Case("an image after a pause", (post()[:60], 0.5, post()[60:]), every({200}))
    yield Case("garbage after a request", (get(), 0.2, b"\x00\x01garbage\r\n\r\n"), every({200}))
    yield Case("300 requests at once", (get() * 300,), every({200}))


def cases() -> list[Case]:
    """All requests but the slow ones."""
    found = [(*each, False) for maker in (request_lines, headers, chunks, bodies) for each in maker()]
    found += [(*each, True) for each in lengths()]
    found += [(f"GET {path[:40].decode()}", get(path), right, False) for path, right in PATHS.items()]
    found += [
        (f"POST ?{q[:30].decode()}", post(target=b"/api/images?" + q), right, False) for q, right in QUERIES.items()
    ]
    return [Case(name, (data,), frozenset(right), last) for name, data, right, last in found]
