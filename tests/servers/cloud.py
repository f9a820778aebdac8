"""Google Cloud on loopback: storage, BigQuery, metadata and tokens behind the one way out.

with google_cloud("clips", bigquery=True) as cloud:
    cloud.gcs.store.write("gs://clips/a.wav", data)
    subprocess.run([...], env=cloud.environ)         # the product, unpatched
    assert not cloud.refused
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tests.servers.bigquery import BigQuery
from tests.servers.bigquery import bigquery as run_bigquery
from tests.servers.egress import Egress, Route, egress
from tests.servers.gcs_proxy import GcsProxy, gcs
from tests.servers.metadata import MetadataServer, metadata_server

# Variables of the developer's own that would lead clients elsewhere.
_STRAY = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "STORAGE_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",
    "NO_GCE_CHECK",
    "SSL_CERT_DIR",
)


@dataclass(frozen=True, slots=True)
class Cloud:
    """The services that run; `bigquery` is None unless asked for."""

    gcs: GcsProxy
    bigquery: BigQuery | None
    metadata: MetadataServer
    egress: Egress
    config: Path

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead a client here."""
        own = {"GOOGLE_CLOUD_PROJECT": self.metadata.project, "CLOUDSDK_CONFIG": str(self.config)}
        return {**self.egress.env, **self.metadata.env, **own}

    @property
    def environ(self) -> dict[str, str]:
        """A child process's whole environment: this process's, led here."""
        kept = {name: value for name, value in os.environ.items() if name not in _STRAY}
        return kept | self.env

    @property
    def refused(self) -> list[str]:
        """The hosts that somebody tried to reach and could not."""
        return self.egress.refused

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        """Lead this very process here, until the context ends.

        Besides the environment, this sets anew what httplib2, google-auth and Beam took from it
        when they were imported. gRPC alone cannot be told again: its roots are those of the
        environment at its first secure channel (all clouds of a process share them).
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, self.environ, clear=True))
            for name, value in {
                "httplib2.CA_CERTS": self.env["HTTPLIB2_CA_CERTS"],
                "google.auth.compute_engine._metadata._GCE_METADATA_HOST": (self.env["GCE_METADATA_HOST"]),
                "apache_beam.internal.gcp.auth._Credentials._credentials": None,
                "apache_beam.internal.gcp.auth._Credentials._credentials_init": False,
            }.items():
                if name.partition("._")[0].removesuffix(".CA_CERTS") in sys.modules:
                    stack.enter_context(mock.patch(name, value))
            yield


@contextlib.contextmanager
def google_cloud(
    *buckets: str,
    bigquery: bool = False,
    project: str = "test-project",
    routes: Mapping[str, Route] | None = None,
) -> Iterator[Cloud]:
    """Run the services until the context ends.

    Args:
        buckets: Buckets to create.
        bigquery: Whether to run BigQuery too (2 s; see `bigquery.unavailable`).
        project: The project that the machine is in.
        routes: More hosts, by name, that lead to loopback servers.
    """
    with contextlib.ExitStack() as stack:
        metadata = stack.enter_context(metadata_server(project))
        storage = stack.enter_context(gcs(*buckets))
        known = {
            "storage.googleapis.com": Route(storage.port),
            "www.googleapis.com": Route(storage.port),
            "oauth2.googleapis.com": Route(metadata.port),
            "iamcredentials.googleapis.com": Route(metadata.port),
            "http://metadata": Route(metadata.port),
            "http://metadata.google.internal": Route(metadata.port),
        }
        warehouse = None
        if bigquery:
            warehouse = stack.enter_context(run_bigquery(storage.port, project))
            known["bigquery.googleapis.com"] = Route(warehouse.port)
            known["bigquerystorage.googleapis.com"] = Route(warehouse.grpc_port, "h2")
        out = stack.enter_context(egress({**known, **(routes or {})}))
        config = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield Cloud(storage, warehouse, metadata, out, config)
