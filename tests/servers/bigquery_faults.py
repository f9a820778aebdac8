"""Faults in BigQuery's answers, by operation: a proxy between the way out and the service."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
from collections.abc import Iterator

from tests.servers.cloud import Cloud
from tests.servers.egress import Route
from tests.servers.faults import Faults
from tests.servers.serving import HOP_BY_HOP, LOOPBACK, Request, Response, serving

HOST = "bigquery.googleapis.com"
_KIND = re.compile(rb'"load"|"copy"|MERGE|BEGIN|DELETE|SELECT')
# BigQuery's errors always have a reason, and clients go by it.
_REASONS = {403: "accessDenied", 429: "rateLimitExceeded", 503: "backendError"}


@contextlib.contextmanager
def faulty_bigquery(cloud: Cloud) -> Iterator[Faults]:
    """Put the proxy in the way; a request's target ends in # and what it asks for: "load", MERGE ..."""
    assert cloud.bigquery
    upstream, faults = cloud.bigquery.port, Faults()

    def answer(request: Request) -> Response:
        kind = _KIND.search(request.body)
        named = dataclasses.replace(request, target=f"{request.target}#{kind[0].decode() if kind else ''}")
        fault = faults.claim(named)
        if fault and fault.withholds:
            return _reasoned(fault.spoil(Response()))
        response = _ask(request, upstream)
        return _reasoned(fault.spoil(response)) if fault else response

    true_route = cloud.egress.routes[HOST]
    with serving(answer) as port:
        cloud.egress.routes[HOST] = Route(port)
        yield faults
        cloud.egress.routes[HOST] = true_route


def _ask(request: Request, port: int) -> Response:
    with contextlib.closing(http.client.HTTPConnection(LOOPBACK, port, timeout=60)) as connection:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(request.method, request.target, request.body, headers)
        found = connection.getresponse()
        return Response(found.status, tuple(found.getheaders()), found.read())


def _reasoned(response: Response) -> Response:
    reason = _REASONS.get(response.status)
    if reason is None:
        return response
    details = {"code": response.status, "message": "injected", "errors": [{"reason": reason, "message": "injected"}]}
    return dataclasses.replace(response, body=json.dumps({"error": details}).encode())
