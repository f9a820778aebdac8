"""A job that Dataflow has been given: where to watch it, how to end it, and what it died of."""

from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineState

from transforms import errors


@dataclass(frozen=True, slots=True)
class DataflowJob:
    """A job that the service has taken."""

    job_id: str
    region: str
    project: str

    @property
    def console(self) -> str:
        """Where to watch it."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.job_id}?project={self.project}"

    @property
    def cancel(self) -> str:
        """The command that ends it."""
        return f"gcloud dataflow jobs cancel {self.job_id} --region={self.region} --project={self.project}"


def submitted(beam_options: PipelineOptions, result: Any) -> DataflowJob | None:
    """The job behind a pipeline's result; None from other runners, and where a template was made instead."""
    if not getattr(result, "has_job", False):
        return None
    google = beam_options.view_as(GoogleCloudOptions)
    return DataflowJob(result.job_id(), google.region, google.project)


def template(beam_options: PipelineOptions) -> str | None:
    """Where the job was written for a template service to launch, if it was."""
    location: str | None = beam_options.view_as(GoogleCloudOptions).template_location
    return location


def complaints(job: DataflowJob, beam_options: PipelineOptions) -> list[str]:
    """The errors in a job's log, a worker's own last. (Beam keeps one of them, or none of a short job.)"""
    from apache_beam.runners.dataflow.internal import apiclient
    from google.api_core.exceptions import GoogleAPICallError

    client = apiclient.DataflowApplicationClient(beam_options)
    try:
        messages, _ = client.list_messages(job.job_id, minimum_importance="JOB_MESSAGE_ERROR")
    except GoogleAPICallError:
        return []  # what the job died of is then behind the link alone
    return sorted((message.message_text for message in messages), key=lambda text: "Traceback" in text)


def failure(job: DataflowJob, state: str | None, text: str, known: errors.RunError | None) -> errors.RunError:
    """The error of a job that did not do its work.

    Args:
      job: of which there is a link.
      state: its last one; None if it could not be asked.
      text: what Beam or the service say, the most telling last.
      known: what our own code said on a worker, if that was found.
    """
    where = f"Job {job.job_id}: {job.console}"
    if known:
        return type(known)(f"{known}\n{where}")
    match state:
        case PipelineState.CANCELLED:
            why = "the job was cancelled; nothing of this run counts, and the next one does the work"
        case None:
            why = f"the job is out of sight, and may go on: {text}"
        case _:
            why = f"the job ended as {state}; nothing of this run counts. {' '.join(text.split())[-500:]}"
    return errors.RunError(f"{why}\n{where}")


def refusal(problem: Exception) -> errors.RunError | None:
    """What an error of Beam or of Google's clients before the job ran means, with the cure; None if that is unknown."""
    text = " ".join(str(problem).split())
    known: errors.RunError | None = None
    match type(problem).__name__:
        case "DataflowJobAlreadyExistsError":
            known = errors.RunError(f"this run is under way: {text.partition('. If you want')[0]}. Watch that one")
        case "Forbidden" | "PermissionDenied":
            known = errors.AccessError(
                f"Dataflow refused the job: {text}. Whoever submits needs roles/dataflow.developer on the project, "
                "and roles/iam.serviceAccountUser on the workers' service account"
            )
        case "Unauthorized" | "Unauthenticated" | "DefaultCredentialsError" | "RefreshError":
            known = errors.AccessError(
                f"no credentials for Google Cloud: {text}. Run: gcloud auth application-default login"
            )
        case "BadRequest" | "InvalidArgument" | "FailedPrecondition":
            known = errors.UsageError(f"Dataflow refused the job: {text}")
        case "NotFound" | "OSError" if "gs://" in text:
            known = errors.AccessError(f"{text} It needs roles/storage.objectAdmin on the bucket")
        case "ValueError" if "Pipeline has validations errors" in text:
            known = errors.UsageError(text)
    return known
