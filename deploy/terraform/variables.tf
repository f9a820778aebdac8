variable "project" {
  description = "Project that everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "The project must be an id such as my-project-123, not a name or a number."
  }
}

variable "region" {
  description = "Region of the jobs, buckets, tables and images: that of the clips, or reading them costs egress."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region must be one such as europe-west1, not a zone or a multi-region."
  }
}

variable "input" {
  description = "Clips to embed, as --input of `embed`: gs://BUCKET/**, @gs://BUCKET/list.csv."
  type        = string

  validation {
    condition     = can(regex("^(@?gs://[^/]+/.+|bq:.+)$", var.input))
    error_message = "The input must be in a bucket (gs://BUCKET/**, @gs://BUCKET/list.csv) or a query (bq:SELECT ...)."
  }
}

variable "source_buckets" {
  description = "Buckets of the clips and their lists; workers may read them."
  type        = set(string)

  validation {
    condition     = length(var.source_buckets) > 0 && alltrue([for name in var.source_buckets : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", name))])
    error_message = "Give at least one bucket, by its name alone: my-clips, not gs://my-clips."
  }
}

variable "subnetwork" {
  description = "Subnetwork of the workers, with Private Google Access: they have no public addresses. As regions/REGION/subnetworks/NAME; empty: that of the region in the network named default."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(|(https://.+/)?(projects/[^/]+/)?regions/[^/]+/subnetworks/[^/]+)$", var.subnetwork))
    error_message = "The subnetwork must look like regions/europe-west1/subnetworks/default."
  }
}

variable "bigquery_dataset" {
  description = "BigQuery dataset of the tables."
  type        = string
  default     = "audio"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.bigquery_dataset))
    error_message = "The dataset's name may have letters, digits and underscores."
  }
}

variable "schedule" {
  description = "When the refresh starts, in cron's format, UTC."
  type        = string
  default     = "0 2 * * *"

  validation {
    condition     = length(split(" ", var.schedule)) == 5
    error_message = "The schedule must have the five fields of cron: 0 2 * * *."
  }
}

variable "paused" {
  description = "Whether the schedule is paused: while Airflow calls instead, or for a while."
  type        = bool
  default     = false
}

variable "notification_emails" {
  description = "Addresses that alerts go to."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.notification_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "Every notification address must be an e-mail address."
  }
}

variable "max_hours_without_run" {
  description = "Alert when no run was committed for so many hours."
  type        = number
  default     = 26

  validation {
    condition     = var.max_hours_without_run >= 1 && var.max_hours_without_run <= 720
    error_message = "The hours without a run must lie between 1 and 720."
  }
}

variable "max_dead_ratio" {
  description = "Alert when more than this part of the listed clips is dead; the gate (max_failure_ratio in deploy/refresh.json) comes later."
  type        = number
  default     = 0.02

  validation {
    condition     = var.max_dead_ratio > 0 && var.max_dead_ratio < 1
    error_message = "The dead-letter ratio must lie between 0 and 1."
  }
}

variable "max_lag_hours" {
  description = "Alert when a run was committed later than so many hours after its start."
  type        = number
  default     = 6

  validation {
    condition     = var.max_lag_hours > 0 && var.max_lag_hours <= 24
    error_message = "The lag must lie between 0 and 24 hours."
  }
}

variable "temp_days" {
  description = "Days after which what jobs put into the temporary bucket is deleted; longer than any job runs."
  type        = number
  default     = 7

  validation {
    condition     = var.temp_days >= 2
    error_message = "Temporary objects must be kept for 2 days at least: a job may run for one."
  }
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` must refuse to delete the dataset's bucket and tables."
  type        = bool
  default     = true
}
