"""Metrics of the server, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from zoo.serve.decoding import Decoder
    from zoo.serve.jobs import Jobs
    from zoo.serve.uploads import Uploads

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one application. No label holds anything that a client wrote.

    `requests` and `seconds` are for the middleware; the rest is read from the parts of the server on collection.
    """

    def __init__(self, jobs: Jobs, uploads: Uploads, decoder: Decoder) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "zoo_requests",
            "Requests by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "zoo_request_seconds",
            "Seconds from a request's head to the end of its response.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(_Parts(jobs, uploads, decoder))
        ProcessCollector(registry=self.registry)


class _Parts(Collector):
    def __init__(self, jobs: Jobs, uploads: Uploads, decoder: Decoder) -> None:
        self.jobs, self.uploads, self.decoder = jobs, uploads, decoder

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("zoo_queue_images", "Images waiting.", self.jobs.waiting)
        yield GaugeMetricFamily("zoo_queue_limit_images", "Images that may wait.", self.jobs.limit)
        yield GaugeMetricFamily("zoo_uploads_held_bytes", "Bytes of uploads in memory.", self.uploads.held)
        yield CounterMetricFamily("zoo_jobs", "Images and heat maps worked on.", self.jobs.done)
        yield CounterMetricFamily(
            "zoo_jobs_dropped", "Removed from the queue: their client was gone.", self.jobs.dropped
        )
        yield CounterMetricFamily(
            "zoo_decoder_restarts", "Decoders that crashed or hung.", self.decoder.worker.restarts
        )
