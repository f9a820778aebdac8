locals {
  template = "templates/yamnet-beam.json" # where deploy/cloudbuild.yaml puts it

  # The one definition of the refresh, its places filled in and its date still open as YYYYMMDD.
  request = jsonencode(jsondecode(templatefile("${path.module}/../refresh.json", {
    project          = var.project
    template         = "gs://${google_storage_bucket.templates.name}/${local.template}"
    input            = replace(jsonencode(var.input), "/^\"|\"$/", "") # its quotes escaped
    dataset_bucket   = google_storage_bucket.dataset.name
    temp_bucket      = google_storage_bucket.temp.name
    bigquery_dataset = google_bigquery_dataset.audio.dataset_id
    worker           = google_service_account.worker.email
    subnetwork       = coalesce(var.subnetwork, "regions/${var.region}/subnetworks/default")
  })))
}

# What became of each night, for whoever subscribes.
resource "google_pubsub_topic" "refresh" {
  name                       = "yamnet-refresh"
  message_retention_duration = "604800s"

  depends_on = [google_project_service.used]
}

resource "google_workflows_workflow" "refresh" {
  name                    = "yamnet-refresh"
  region                  = var.region
  description             = "Launches the refresh of a date once, waits for it, passes or fails on what it left."
  service_account         = google_service_account.launcher.id
  source_contents         = file("${path.module}/../workflows/refresh.yaml")
  call_log_level          = "LOG_ERRORS_ONLY"
  execution_history_level = "EXECUTION_HISTORY_BASIC"
  deletion_protection     = false

  user_env_vars = {
    PROJECT = var.project
    REGION  = var.region
    TOPIC   = google_pubsub_topic.refresh.name
    REQUEST = local.request
  }

  lifecycle {
    precondition {
      condition     = length(local.request) <= 4096
      error_message = "The request is longer than the 4096 characters that a variable of a workflow may have; shorten var.input, for example by a list (@gs://BUCKET/list.csv)."
    }
  }
}

resource "google_cloud_scheduler_job" "refresh" {
  name             = "yamnet-refresh"
  region           = var.region
  description      = "Starts the workflow yamnet-refresh."
  schedule         = var.schedule
  time_zone        = "Etc/UTC" # the workflow's date is UTC's, too
  attempt_deadline = "60s"     # of the start, not of the run
  paused           = var.paused

  retry_config {
    retry_count          = 3
    min_backoff_duration = "60s"
  }

  http_target {
    http_method = "POST"
    uri         = "https://workflowexecutions.googleapis.com/v1/${google_workflows_workflow.refresh.id}/executions"
    body        = base64encode(jsonencode({ argument = "{}" }))
    headers     = { "Content-Type" = "application/json" }

    oauth_token {
      service_account_email = google_service_account.scheduler.email
    }
  }
}
