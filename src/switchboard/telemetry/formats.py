"""Numbers in the text formats of Prometheus and OpenMetrics, by Prometheus' own library."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder

from switchboard.telemetry.metrics import BOUNDS, TABLE, Metric, Snapshot

_BOUNDS: Final = (*(str(bound) for bound in BOUNDS), "+Inf")


def written(values: Snapshot, accept: str) -> tuple[bytes, str]:
    """The text, and its media type by what is accepted."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(values))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Collected:
    """Satisfies the library's `Collector`."""

    def __init__(self, values: Snapshot) -> None:
        self._values = values

    def collect(self) -> Iterator[Family]:
        for name, metric in TABLE.items():
            yield _family(metric, self._values.get(name, {}))


def _family(metric: Metric, values: dict[tuple[str, ...], list[float]]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)
        for labels, (*counts, seconds) in values.items():
            buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
            histogram.add_metric(labels, buckets, seconds)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.about, labels=metric.labels)
    for labels, (value,) in values.items():
        family.add_metric(labels, value)
    return family
