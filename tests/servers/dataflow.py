"""Dataflow's job service (google.dataflow.v1beta3) over gRPC: it keeps the jobs that are sent, and runs them if asked.

with google_cloud("clips", "out") as cloud, dataflow() as service:
    service.run = lambda job: execute(job, cloud.gcs.store)
    cloud.egress.routes[HOST] = Route(service.port, "h2")
    subprocess.run([...], env=cloud.environ)         # the product, unpatched
    (job,) = service.jobs

A job passes through the states of a real one: PENDING, RUNNING, and what became of `run`. Methods and states:
https://cloud.google.com/dataflow/docs/reference/rpc/google.dataflow.v1beta3
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud import dataflow_v1beta3 as api

from tests.servers.gcs import GcsStore
from tests.servers.serving import LOOPBACK

HOST = "dataflow.googleapis.com"
PACKAGE = "/google.dataflow.v1beta3."
_OVER = (api.JobState.JOB_STATE_DONE, api.JobState.JOB_STATE_FAILED, api.JobState.JOB_STATE_CANCELLED)


@dataclass(slots=True)
class SentJob:
    """One job: what was sent, where it stands, and what the service says of it."""

    job_id: str
    request: api.CreateJobRequest
    state: api.JobState = api.JobState.JOB_STATE_PENDING
    messages: list[api.JobMessage] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def sent(self) -> api.Job:
        """The job as it was sent."""
        return self.request.job

    @property
    def options(self) -> dict[str, Any]:
        """The pipeline options that its workers get."""
        held = type(self.sent.environment).to_dict(self.sent.environment)["sdk_pipeline_options"]
        return dict(held["options"])

    @property
    def pool(self) -> api.WorkerPool:
        """The workers that it asks for."""
        (pool,) = self.sent.environment.worker_pools
        return pool

    def end(self, state: api.JobState) -> None:
        """Comes to its end, unless it is there."""
        if self.state not in _OVER:
            self.state = state
        self.over.set()

    def say(self, importance: api.JobMessageImportance, text: str) -> None:
        """Adds a line to its log."""
        now = datetime.datetime.now(datetime.timezone.utc)
        number = str(len(self.messages))
        self.messages.append(api.JobMessage(id=number, time=now, message_text=text, message_importance=importance))


class Dataflow:
    """The service.

    Attributes:
        port: Where it listens, in clear HTTP/2.
        run: What the workers do with a job, in a thread: to raise is to fail.
        jobs: Those that were created, in order.
        calls: The methods called so far, such as JobsV1Beta3/CreateJob.
        refusal: The status and text of the answer to every CreateJob, while it is set.
    """

    def __init__(self, run: Callable[[SentJob], None]) -> None:
        self.port = 0
        self.run = run
        self.jobs: list[SentJob] = []
        self.calls: list[str] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self._serial = itertools.count(1)
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Ends and forgets all jobs."""
        for job in self.jobs:
            job.end(api.JobState.JOB_STATE_CANCELLED)
        self.jobs, self.calls, self.refusal = [], [], None

    def answer(self, method: str, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Answers one call."""
        self.calls.append(method)
        match method:
            case "JobsV1Beta3/CreateJob":
                if self.refusal:
                    context.abort(*self.refusal)
                return _bytes(self._create(api.CreateJobRequest.deserialize(message)))
            case "JobsV1Beta3/GetJob":
                return _bytes(self._job(api.GetJobRequest.deserialize(message), context))
            case "JobsV1Beta3/UpdateJob":
                request = api.UpdateJobRequest.deserialize(message)
                self._found(request, context).end(request.job.requested_state)
                return _bytes(self._job(request, context))
            case "MessagesV1Beta3/ListJobMessages":
                request = api.ListJobMessagesRequest.deserialize(message)
                messages = self._found(request, context).messages
                new = [held for held in messages if request.start_time is None or held.time >= request.start_time]
                return _bytes(api.ListJobMessagesResponse(job_messages=new))
            case "MetricsV1Beta3/GetJobMetrics":
                return _bytes(api.JobMetrics())
        context.abort(grpc.StatusCode.UNIMPLEMENTED, method)
        raise AssertionError

    def _create(self, request: api.CreateJobRequest) -> api.Job:
        with self._lock:
            for held in self.jobs:
                if held.sent.name == request.job.name and held.state not in _OVER:
                    return _state(held)  # the service answers with the one that is active
            now = datetime.datetime.now(datetime.timezone.utc)
            job = SentJob(f"{now:%Y-%m-%d_%H_%M_%S}-{next(self._serial):019}", request)
            self.jobs.append(job)
        threading.Thread(target=self._work, args=(job,), daemon=True).start()
        return _state(job)

    def _work(self, job: SentJob) -> None:
        job.state = api.JobState.JOB_STATE_RUNNING
        try:
            self.run(job)
        except Exception:  # noqa: BLE001  whatever a worker dies of is in the job's log
            text = f"Error message from worker: {traceback.format_exc()}"
            job.say(api.JobMessageImportance.JOB_MESSAGE_ERROR, text)
            failed = "Workflow failed. Causes: a work item was attempted 4 times without success."
            job.say(api.JobMessageImportance.JOB_MESSAGE_ERROR, failed)
            job.end(api.JobState.JOB_STATE_FAILED)
        else:
            job.end(api.JobState.JOB_STATE_DONE)

    def _found(self, request: Any, context: grpc.ServicerContext) -> SentJob:
        for job in self.jobs:
            if job.job_id == request.job_id and job.request.location == request.location:
                return job
        context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job_id} in {request.location}")
        raise AssertionError

    def _job(self, request: Any, context: grpc.ServicerContext) -> api.Job:
        return _state(self._found(request, context))


def _state(job: SentJob) -> api.Job:
    sent = job.sent
    return api.Job(
        id=job.job_id,
        name=sent.name,
        project_id=job.request.project_id,
        location=job.request.location,
        type_=sent.type_,
        client_request_id=sent.client_request_id,
        current_state=job.state,
    )


def _bytes(message: Any) -> bytes:
    return type(message).serialize(message)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, service: Dataflow) -> None:
        self._service = service

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method.removeprefix(PACKAGE)
        return grpc.unary_unary_rpc_method_handler(lambda sent, context: self._service.answer(method, sent, context))


def graph(job: SentJob, store: GcsStore) -> Any:
    """The pipeline (a proto of Beam's) that was staged for a job, checked against its hash."""
    from apache_beam.portability.api import beam_runner_api_pb2

    content = store.read(job.options["pipelineUrl"])
    if hashlib.sha256(content).hexdigest() != job.options["pipelineProtoHash"]:
        raise ValueError("the staged pipeline is not the one that the job means")
    return beam_runner_api_pb2.Pipeline.FromString(content)


def execute(job: SentJob, store: GcsStore) -> None:
    """Does what was sent, knowing nothing but the staged graph, in this process instead of in containers."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    from apache_beam.transforms.environments import EmbeddedPythonEnvironment

    pipeline = graph(job, store)
    here = EmbeddedPythonEnvironment.default().to_runner_api(None)
    for environment in pipeline.components.environments.values():
        environment.CopyFrom(here)
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))


def idle(job: SentJob) -> None:
    """Runs until somebody ends it."""
    job.over.wait()


@contextlib.contextmanager
def dataflow(run: Callable[[SentJob], None] = idle) -> Iterator[Dataflow]:
    """Runs the service until the context ends."""
    service = Dataflow(run)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((_Handler(service),))
    service.port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    try:
        yield service
    finally:
        service.clear()
        server.stop(None).wait()
