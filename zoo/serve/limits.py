"""Limits of the server: bytes, pixels, seconds, images waiting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one image, one client and all clients together.

    Attributes:
        max_bytes: of one uploaded file. A digital image of 20 megapixels and 16 bits has 40 MB.
        max_pixels: of one image, by what its header claims; a larger one is rejected before it is decoded.
        queue: images that may wait for the one that is being read.
        idle_s: seconds in which the next part of an upload has to come, and a request's head.
        upload_s: seconds for a whole upload.
        decode_s: seconds for decoding an image, after which its process is ended.
        connections: open at once.
    """

    max_bytes: int = 64_000_000
    max_pixels: int = 50_000_000
    queue: int = 16
    idle_s: float = 10.0
    upload_s: float = 60.0
    decode_s: float = 20.0
    connections: int = 256

    @property
    def max_held(self) -> int:
        """Bytes of all uploads that are held in memory at once."""
        return 4 * self.max_bytes
