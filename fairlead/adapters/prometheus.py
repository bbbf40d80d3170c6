"""Metrics of a process without an HTTP server of its own, for Prometheus to scrape."""

from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client


@contextmanager
def exposed(
    registry: prometheus_client.CollectorRegistry, port: int | None, host: str = "127.0.0.1"
) -> Iterator[int | None]:
    """Serve the metrics of `registry` at `/metrics` on a port of `host` while the context lasts; give the port.

    Port 0 takes a free one; without a port nothing is served.
    """
    if port is None:
        yield None
        return
    server, thread = prometheus_client.start_http_server(port, addr=host, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
