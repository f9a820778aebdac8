# Who may do what, and no more; deploy/SECURITY.md says why, and a test compares the two.

# Runs the launcher and the workers of jobs.
resource "google_service_account" "worker" {
  account_id   = "yamnet-worker"
  display_name = "yamnet-beam: launcher and workers of Dataflow jobs"

  depends_on = [google_project_service.used]
}

# Launches jobs and judges their runs: the workflow's account.
resource "google_service_account" "launcher" {
  account_id   = "yamnet-launcher"
  display_name = "yamnet-beam: workflow that launches jobs"

  depends_on = [google_project_service.used]
}

# Starts the workflow: the account of Cloud Scheduler's job.
resource "google_service_account" "scheduler" {
  account_id   = "yamnet-scheduler"
  display_name = "yamnet-beam: schedule of the workflow"

  depends_on = [google_project_service.used]
}

resource "google_project_iam_member" "worker" {
  for_each = toset(["roles/dataflow.worker", "roles/bigquery.jobUser"])

  project = var.project
  role    = each.key
  member  = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_reads_sources" {
  for_each = var.source_buckets

  bucket = each.key
  role   = "roles/storage.objectViewer"
  member = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_writes_dataset" {
  bucket = google_storage_bucket.dataset.name
  role   = "roles/storage.objectUser"
  member = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_writes_temp" {
  bucket = google_storage_bucket.temp.name
  role   = "roles/storage.objectUser"
  member = google_service_account.worker.member
}

resource "google_artifact_registry_repository_iam_member" "worker_pulls_images" {
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker.member
}

resource "google_bigquery_dataset_iam_member" "worker_edits_tables" {
  dataset_id = google_bigquery_dataset.audio.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.worker.member
}

resource "google_project_iam_member" "launcher" {
  for_each = toset(["roles/dataflow.developer", "roles/logging.logWriter"])

  project = var.project
  role    = each.key
  member  = google_service_account.launcher.member
}

resource "google_service_account_iam_member" "launcher_acts_as_worker" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.launcher.member
}

resource "google_storage_bucket_iam_member" "launcher_reads_manifests" {
  bucket = google_storage_bucket.dataset.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.launcher.member
}

resource "google_storage_bucket_iam_member" "launcher_reads_template" {
  bucket = google_storage_bucket.templates.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.launcher.member
}

resource "google_pubsub_topic_iam_member" "launcher_notifies" {
  topic  = google_pubsub_topic.refresh.name
  role   = "roles/pubsub.publisher"
  member = google_service_account.launcher.member
}

resource "google_project_iam_member" "scheduler" {
  project = var.project
  role    = "roles/workflows.invoker" # Workflows has no narrower place to grant it
  member  = google_service_account.scheduler.member
}
