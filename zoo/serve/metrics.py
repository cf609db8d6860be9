"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counts:
    """Requests by route and status, and how long they took. No label holds anything that a client wrote."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0
        self._count = 0

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._requests[method, route, status] += 1
            self._count += 1
            self._seconds += seconds
            for bound in BUCKETS_S:
                if seconds <= bound:
                    self._buckets[bound] += 1

    def text(self, gauges: dict[str, tuple[str, str, float]]) -> str:
        """All of it; `gauges` are further values by name, with their type and what they say."""
        with self._lock:
            requests, buckets = sorted(self._requests.items()), dict(self._buckets)
            seconds, count = self._seconds, self._count
        lines = _head("zoo_requests_total", "counter", "Requests by method, route and status.")
        for (method, route, status), number in requests:
            lines.append(f'zoo_requests_total{{method="{method}",route="{route}",status="{status}"}} {number}')
        lines += _head("zoo_request_seconds", "histogram", "Seconds from a request's head to the end of its answer.")
        for bound in BUCKETS_S:
            lines.append(f'zoo_request_seconds_bucket{{le="{bound:g}"}} {buckets.get(bound, 0)}')
        lines.append(f'zoo_request_seconds_bucket{{le="+Inf"}} {count}')
        lines += [f"zoo_request_seconds_sum {seconds:.6f}", f"zoo_request_seconds_count {count}"]
        for name, (kind, said, value) in gauges.items():
            lines += [*_head(name, kind, said), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, said: str) -> list[str]:
    return [f"# HELP {name} {said}", f"# TYPE {name} {kind}"]


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; None where the system does not say."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None
