# Rows, letters and manifests. Runs never overwrite each other, and the bucket's soft deletion keeps what is deleted for a week.
resource "google_storage_bucket" "dataset" {
  name                        = "${var.project}-yamnet-dataset"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 3600
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = var.temp_days
    }
  }

  depends_on = [google_project_service.used]
}

# What jobs stage and load through; nothing in it is worth keeping.
resource "google_storage_bucket" "temp" {
  name                        = "${var.project}-yamnet-temp"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  soft_delete_policy {
    retention_duration_seconds = 0 # else every temporary object is paid for a week longer
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.temp_days
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = var.temp_days
    }
  }

  depends_on = [google_project_service.used]
}

# The template that launches name; its older versions, to go back to.
resource "google_storage_bucket" "templates" {
  name                        = "${var.project}-yamnet-templates"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 10
      with_state         = "ARCHIVED"
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "yamnet-beam"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of yamnet-beam: launcher and worker in one."

  depends_on = [google_project_service.used]
}
