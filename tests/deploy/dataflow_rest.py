"""Dataflow's and Pub/Sub's JSON interfaces as far as those who launch a Flex Template use them.

A job begins queued, runs, and does its work when it has been looked at often enough; the work is a function of the
request, so that a test says what the job leaves in the buckets.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.servers.serving import Request, Response

LAUNCH = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/flexTemplates:launch")
JOBS = re.compile(r"/v1b3/projects/[^/]+/locations/[^/]+/jobs")
JOB = re.compile(r"/v1b3/projects/[^/]+/locations/[^/]+/jobs/(?P<job>[^/]+)")
ACTIVE = ("JOB_STATE_QUEUED", "JOB_STATE_RUNNING")

Work = Callable[[dict[str, Any]], str]  # from the launch request to the state in which its job ends


@dataclass
class DataflowRest:
    """Answers for dataflow.googleapis.com.

    Attributes:
        work: What a job does.
        looks: After so many looks at it a job does its work.
        late_lists: So many lists do not know a job yet that runs.
        refuses_twins: Whether a second active job of a name is refused.
        failures: Statuses that the next requests get, each once, by method.
        launches: The bodies of the launches that were taken.
        jobs: By id.
    """

    work: Work
    looks: int = 3
    late_lists: int = 0
    refuses_twins: bool = True
    failures: list[tuple[str, int]] = field(default_factory=list)
    launches: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        with self._lock:
            if not request.headers.get("Authorization", "").startswith("Bearer "):
                return _error(401, "UNAUTHENTICATED", "no token")
            if self.failures and self.failures[0][0] == request.method:
                return _error(self.failures.pop(0)[1], "UNAVAILABLE", "try again")
            if (found := LAUNCH.fullmatch(request.path)) and request.method == "POST":
                return self._launch(json.loads(request.body), found["project"], found["region"])
            if JOBS.fullmatch(request.path):
                return self._list(request.query)
            if found := JOB.fullmatch(request.path):
                return self._look(found["job"])
            return _error(404, "NOT_FOUND", request.path)

    def _launch(self, body: dict[str, Any], project: str, region: str) -> Response:
        name = body["launchParameter"]["jobName"]
        twins = [job for job in self.jobs.values() if job["name"] == name and job["currentState"] in ACTIVE]
        if twins and self.refuses_twins:
            return _error(409, "ALREADY_EXISTS", f"There is already an active job named {name}")
        job = {"id": f"2026-11-24_02_00_00-{len(self.jobs)}", "name": name, "projectId": project, "location": region}
        self.launches.append(body)
        self.jobs[job["id"]] = job | {"currentState": "JOB_STATE_QUEUED", "type": "JOB_TYPE_BATCH", "looks": 0}
        return _answer({"job": job})

    def _list(self, query: dict[str, str]) -> Response:
        self.late_lists -= 1
        if self.late_lists >= 0:
            return _answer({})
        jobs = [
            job
            for job in self.jobs.values()
            if query.get("name") in (None, job["name"])
            and (query.get("filter") != "ACTIVE" or job["currentState"] in ACTIVE)
        ]
        return _answer({"jobs": jobs} if jobs else {})

    def _look(self, job_id: str) -> Response:
        job = self.jobs[job_id]
        job["looks"] += 1
        if job["currentState"] in ACTIVE:
            job["currentState"] = "JOB_STATE_RUNNING"
            if job["looks"] >= self.looks:
                request = self.launches[list(self.jobs).index(job_id)]
                job["currentState"] = self.work(request)
        return _answer(job)


@dataclass
class PubSub:
    """Answers for pubsub.googleapis.com; keeps (topic, message) of what is published."""

    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        topic = request.path.removeprefix("/v1/").removesuffix(":publish")
        messages = json.loads(request.body)["messages"]
        for message in messages:
            self.published.append((topic, message | {"data": json.loads(base64.b64decode(message["data"]))}))
        return _answer({"messageIds": [str(number) for number, _ in enumerate(messages)]})


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(status, (("Content-Type", "application/json; charset=UTF-8"),), json.dumps(body).encode())


def _error(status: int, word: str, message: str) -> Response:
    return _answer({"error": {"code": status, "status": word, "message": message}}, status)
