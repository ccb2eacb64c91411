"""An OpenTelemetry collector that keeps the metrics it is sent, by OTLP over HTTP."""

import gzip
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


class Collector(HTTPServer):
    """Listens on a free port of the loopback.

    Attributes:
        heard: metric -> (attributes, value) of each of its points, in the order of arrival.
    """

    def __init__(self) -> None:
        self.heard = dict[str, list[tuple[dict[str, str], float]]]()
        super().__init__(("127.0.0.1", 0), _Export)


def metrics_of(request: ExportMetricsServiceRequest) -> list[Metric]:
    """The metrics of all resources and scopes."""
    return [metric for resource in request.resource_metrics for scope in resource.scope_metrics
            for metric in scope.metrics]


class _Export(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/metrics":
            for metric in metrics_of(ExportMetricsServiceRequest.FromString(body)):
                kind = metric.gauge if metric.HasField("gauge") else metric.sum
                self.server.heard.setdefault(metric.name, []).extend(
                    ({one.key: one.value.string_value for one in point.attributes},
                     getattr(point, point.WhichOneof("value"))) for point in kind.data_points)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
