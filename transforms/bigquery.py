"""Owns the way to BigQuery: its client, how long it is waited for, the queries, and what its errors mean."""

import contextlib
from collections.abc import Iterator
from typing import Any

from transforms import errors

DEADLINE_S = 600.0  # of one call, the library's retries included
TIMEOUT_S = 60.0  # of one attempt
PAGE_ROWS = 10_000
LABELS = {"made_by": "yamnet-beam"}  # of tables and jobs


@contextlib.contextmanager
def connected(project: str | None = None) -> Iterator[Any]:
    """A client whose jobs run in a project; without one, in that of the environment.

    Raises:
      AccessError: there are no credentials, or no project.
    """
    import google.auth.exceptions
    from google.cloud import bigquery

    try:
        client = bigquery.Client(project=project)
    except google.auth.exceptions.GoogleAuthError as problem:
        raise errors.AccessError(
            f"no usable Google credentials for BigQuery ({problem}); try: gcloud auth application-default login"
        ) from problem
    except OSError as problem:
        raise errors.AccessError(
            "no Google Cloud project that could pay for the query; set GOOGLE_CLOUD_PROJECT"
        ) from problem
    with contextlib.closing(client):
        yield client


def patience() -> dict[str, Any]:
    """For every call: how long one attempt may take, and the library's retries."""
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return {"retry": DEFAULT_RETRY.with_timeout(DEADLINE_S), "timeout": TIMEOUT_S}


@contextlib.contextmanager
def explained(what: str, client: Any, *, needs: str, if_missing: str = "") -> Iterator[None]:
    """Translates the client's errors into ours.

    Args:
      what: is asked for, in the words of messages: "the BigQuery table a.b.c".
      client: whose account is named.
      needs: permissions and roles.
      if_missing: what to do where there is no such thing.

    Raises:
      AccessError: a permission is missing.
      UsageError: a table or its dataset is.
    """
    from google.api_core import exceptions as api

    try:
        yield
    except (api.Forbidden, api.Unauthorized) as problem:
        account = getattr(client._credentials, "service_account_email", None) or "the account of these credentials"
        raise errors.AccessError(f"{account} may not use {what}: it needs {needs} ({problem.message})") from problem
    except api.NotFound as problem:
        raise errors.UsageError(f"{what} is not there ({problem.message}){if_missing}") from problem


def query(client: Any, sql: str, **config: Any) -> Iterator[Any]:
    """The rows that a statement gives, page by page; none of a dry run, which only checks it.

    Args:
      client: from `connected`.
      sql: the statement.
      config: as bigquery.QueryJobConfig takes it.
    """
    job = _job(client, sql, **config)
    return iter(()) if config.get("dry_run") else iter(job.result(page_size=PAGE_ROWS, retry=patience()["retry"]))


def columns(sql: str) -> list[str]:
    """The names of the columns that a query gives, without running it.

    Raises:
      UsageError: the query is wrong; says why.
      AccessError: it may not be asked.
    """
    with connected() as client, _asked(sql, client):
        return [field.name for field in _job(client, sql, dry_run=True, use_query_cache=False).schema]


def rows(sql: str) -> Iterator[dict[str, Any]]:
    """The rows that a query gives, page by page, never all at once.

    Raises:
      UsageError, AccessError: as `columns`.
    """
    with connected() as client, _asked(sql, client):
        for row in query(client, sql):
            yield dict(row.items())


def _job(client: Any, sql: str, **config: Any) -> Any:
    from google.cloud import bigquery

    return client.query(sql, job_config=bigquery.QueryJobConfig(labels=LABELS, **config), **patience())


@contextlib.contextmanager
def _asked(sql: str, client: Any) -> Iterator[None]:
    from google.api_core import exceptions as api

    what = f"what --input=bq:{sql} names"
    try:
        with explained(what, client, needs="bigquery.jobs.create and bigquery.tables.getData"):
            yield
    except api.BadRequest as problem:
        raise errors.UsageError(f"--input=bq:{sql}: {problem.message}") from problem
