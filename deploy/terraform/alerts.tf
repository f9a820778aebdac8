# Metrics are made of the one line that the workflow logs at its end; the manifest is where its counts come from.
locals {
  outcome = join(" AND ", [
    "resource.type=\"workflows.googleapis.com/Workflow\"",
    "resource.labels.workflow_id=\"${google_workflows_workflow.refresh.name}\"",
    "jsonPayload.event=\"yamnet_refresh\"",
  ])
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.notification_emails

  display_name = "yamnet-beam: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.used]
}

resource "google_logging_metric" "committed" {
  name        = "yamnet_refresh_committed"
  description = "Refreshes that ended with a committed run."
  filter      = "${local.outcome} AND jsonPayload.state=\"committed\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_logging_metric" "dead_ratio" {
  name            = "yamnet_refresh_dead_ratio"
  description     = "Dead letters as a part of the listed clips, of each refresh."
  filter          = "${local.outcome} AND jsonPayload.counts.dead_ratio>=0"
  value_extractor = "EXTRACT(jsonPayload.counts.dead_ratio)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "1"
  }

  bucket_options {
    explicit_buckets {
      bounds = [0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    }
  }
}

resource "google_logging_metric" "lag" {
  name            = "yamnet_refresh_lag_s"
  description     = "Seconds from the start of a refresh to its end."
  filter          = local.outcome
  value_extractor = "EXTRACT(jsonPayload.lag_s)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = 18
      growth_factor      = 2
      scale              = 1
    }
  }
}

resource "google_monitoring_alert_policy" "job_failed" {
  display_name          = "yamnet-beam: a Dataflow job failed"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "is_failed of jobs named yamnet-..."

    condition_threshold {
      filter          = "metric.type=\"dataflow.googleapis.com/job/is_failed\" AND resource.type=\"dataflow_job\" AND resource.labels.job_name=starts_with(\"yamnet-\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Nothing of the run counts; the same date may be started again. See the job's log, then the runbook in deploy/README.md."
  }
}

resource "google_monitoring_alert_policy" "refresh_failed" {
  display_name          = "yamnet-beam: a refresh failed or was refused"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "The workflow ended badly"

    condition_matched_log {
      filter = "${local.outcome} AND jsonPayload.state!=\"committed\""
      label_extractors = {
        run_id = "EXTRACT(jsonPayload.run_id)"
        reason = "EXTRACT(jsonPayload.reason)"
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The label `reason` says why. Refused: more clips are dead than max_failure_ratio allows; see dead_letters-*.jsonl of the run, mend, start the date again."
  }
}

resource "google_monitoring_alert_policy" "no_run" {
  display_name          = "yamnet-beam: no committed run for ${var.max_hours_without_run} h"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "No refresh ended with a committed run"

    # A condition on absence can look back for 23.5 hours only.
    condition_prometheus_query_language {
      query               = "(sum(increase({\"__name__\"=\"logging.googleapis.com/user/${google_logging_metric.committed.name}\", \"monitored_resource\"=\"workflows.googleapis.com/Workflow\"}[${var.max_hours_without_run}h])) or vector(0)) < 1"
      duration            = "0s"
      evaluation_interval = "300s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Also after the first `terraform apply`, until the first run is committed. Look at the executions of the workflow yamnet-refresh."
  }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  display_name          = "yamnet-beam: more than ${var.max_dead_ratio * 100} % of clips are dead"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "Dead letters as a part of the listed clips"

    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.dead_ratio.name}\" AND resource.type=\"workflows.googleapis.com/Workflow\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.max_dead_ratio
      duration        = "0s"

      aggregations {
        alignment_period     = "3600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_MEAN" # of the one value in the hour
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The run is committed; dead_by_code in its manifest.json says what is wrong with the clips."
  }
}

resource "google_monitoring_alert_policy" "lag" {
  display_name          = "yamnet-beam: the newest run took longer than ${var.max_lag_hours} h"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "Seconds from the start of a refresh to its end"

    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.lag.name}\" AND resource.type=\"workflows.googleapis.com/Workflow\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.max_lag_hours * 3600
      duration        = "0s"

      aggregations {
        alignment_period     = "3600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_MEAN"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Raise maxWorkers in deploy/refresh.json, or look in the job for the stage that is slow."
  }
}

# Made from the table of metrics by deploy/monitoring/generate.py.
resource "google_monitoring_dashboard" "runs" {
  for_each = fileset("${path.module}/../monitoring", "dashboard.json")

  dashboard_json = file("${path.module}/../monitoring/${each.key}")

  depends_on = [google_project_service.used]
}
