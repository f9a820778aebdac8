"""The metadata server of a Compute Engine machine, and Google's token and credential endpoints.

Without one, google-auth searches for 20 s and Beam's GcsIO then goes on anonymously. With one, the
code that a Dataflow worker runs is the code that a test runs.
Paths: https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

from tests.servers.serving import LOOPBACK, Request, Response, serving

TOKEN_LIFE_S = 3600
_ROOT = "/computeMetadata/v1/"
_FLAVOR = ("Metadata-Flavor", "Google")
_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


class MetadataServer:
    """Who the machine is, and tokens for it that nobody checks.

    Attributes:
        port: Where it listens.
        project: The project it says it is in.
        email: The service account it says it runs as.
        requests: The paths asked for so far.
    """

    def __init__(self, project: str) -> None:
        self.port = 0
        self.project = project
        self.email = f"worker@{project}.iam.gserviceaccount.com"
        self.requests: list[str] = []
        self._serial = itertools.count(1)

    @property
    def env(self) -> dict[str, str]:
        """The variables by which google-auth finds it; read when google-auth is imported."""
        address = f"{LOOPBACK}:{self.port}"
        names = ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")
        return dict.fromkeys(names, address)

    def answer(self, request: Request) -> Response:
        """Answer a metadata query, or a POST to the token endpoint whatever its path."""
        self.requests.append(request.target)
        if request.method == "POST":
            return _json(self._token())
        if request.path.endswith("/allowedLocations"):  # google-auth asks IAM where a token may go
            return _json({"locations": [], "encodedLocations": "0x0"})
        if request.headers.get("Metadata-Flavor") != "Google" and request.path != "/":
            return Response(403)
        key = request.path.removeprefix(_ROOT).rstrip("/")
        if key in self._texts():
            return Response(200, (_FLAVOR, ("Content-Type", "text/plain")), self._texts()[key])
        if key in self._values():
            return _json(self._values()[key])
        return Response(404, (_FLAVOR,))

    def _texts(self) -> dict[str, bytes]:
        return {
            "": b"instance/\nproject/\n",
            "project/project-id": self.project.encode(),
            "project/numeric-project-id": b"1",
            "universe/universe-domain": b"googleapis.com",
            "instance/zone": b"projects/1/zones/europe-west4-a",
            "instance/service-accounts/default/email": self.email.encode(),
        }

    def _values(self) -> dict[str, Any]:
        account = {"email": self.email, "scopes": _SCOPES, "aliases": ["default"]}
        return {
            "instance/service-accounts/default/token": self._token(),
            f"instance/service-accounts/{self.email}/token": self._token(),
            "instance/service-accounts/default": account,
            f"instance/service-accounts/{self.email}": account,
            "instance/service-accounts": {"default": account, self.email: account},
        }

    def _token(self) -> dict[str, Any]:
        token = f"loopback-{next(self._serial)}"
        return {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "Bearer"}


def _json(value: Any) -> Response:
    headers = (_FLAVOR, ("Content-Type", "application/json"))
    return Response(200, headers, json.dumps(value).encode())


@contextlib.contextmanager
def metadata_server(project: str = "test-project") -> Iterator[MetadataServer]:
    """Run a metadata server until the context ends."""
    server = MetadataServer(project)
    with serving(server.answer) as server.port:
        yield server
