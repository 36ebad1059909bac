"""What a server measures of itself, in the words of Prometheus; see https://prometheus.io/docs/practices/naming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Instruments:
    """Counters, gauges and histograms of one server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "semsearch_requests", "Requests that were answered.", ("route", "method", "status"), registry=own
        )
        self._seconds = Histogram(
            "semsearch_request_seconds", "From a request to its answer.", ("route",), buckets=SECONDS, registry=own
        )
        self._stages = Histogram(
            "semsearch_stage_seconds", "Stages of searches.", ("stage",), buckets=SECONDS, registry=own
        )
        self._searches = Histogram(
            "semsearch_search_batch_queries", "Queries that were searched together.", buckets=BATCH_SIZES, registry=own
        )
        self._texts = Histogram(
            "semsearch_encode_batch_texts", "Texts that were encoded together.", buckets=BATCH_SIZES, registry=own
        )
        self._jobs = Histogram(
            "semsearch_encode_batch_requests", "Requests that shared a batch.", buckets=BATCH_SIZES, registry=own
        )
        self._dropped = Counter(
            "semsearch_dropped", "Requests whose client hung up before they were begun.", registry=own
        )
        self._refused = Counter("semsearch_refused", "Requests that were refused.", ("code",), registry=own)
        self._under_way = Gauge("semsearch_requests_under_way", "Requests that are being answered.", registry=own)

    def watch(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Ask these whenever somebody looks: a name, what it counts, and how many there are."""
        for name, (what, ask) in gauges.items():
            Gauge(f"semsearch_{name}", what, registry=self._registry).set_function(ask)

    def watch_counts(self, counters: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """The same, of what only grows."""
        self._registry.register(_Counts(counters))

    def begun(self) -> None:
        """A request came."""
        self._under_way.inc()

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._under_way.dec()
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """An error was answered."""
        self._refused.labels(code).inc()

    def searched(self, queries: int, timings: Mapping[str, float]) -> None:
        """So many queries were searched together, in so many milliseconds by stage."""
        self._searches.observe(queries)
        for stage, milliseconds in timings.items():
            self._stages.labels(stage).observe(milliseconds / 1000)

    def batch(self, texts: int, jobs: int) -> None:
        """See `semsearch.server.batching.Watch`."""
        self._texts.observe(texts)
        self._jobs.observe(jobs)

    def dropped(self) -> None:
        """See `semsearch.server.batching.Watch`."""
        self._dropped.inc()

    def written(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Counts(Collector):
    """What is counted elsewhere, asked for whenever somebody looks."""

    def __init__(self, counters: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._counters = counters

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name, (what, ask) in self._counters.items():
            yield CounterMetricFamily(f"semsearch_{name}", what, value=ask())
