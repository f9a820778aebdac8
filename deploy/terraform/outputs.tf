output "image" {
  description = "Name of the image, without its tag."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/yamnet-beam"
}

output "template" {
  description = "Where the Flex Template has to be put."
  value       = "gs://${google_storage_bucket.templates.name}/embed.json"
}

output "dataset" {
  description = "The dataset: python -m pipeline info DATASET."
  value       = "gs://${google_storage_bucket.dataset.name}/dataset"
}

output "run_today" {
  description = "Command that does today's refresh now, and waits for it."
  value       = "gcloud workflows run ${google_workflows_workflow.refresh.name} --project=${var.project} --location=${var.region} --data='{}'"
}

output "request" {
  description = "The launch request, its date open as YYYYMMDD."
  value       = local.request
}

output "launch_url" {
  description = "Where the launch request is sent."
  value       = "https://dataflow.googleapis.com/v1b3/projects/${var.project}/locations/${var.region}/flexTemplates:launch"
}

output "airflow_variable" {
  description = "Value of the Airflow variable yamnet_refresh."
  value       = jsonencode({ project = var.project, region = var.region, request = jsondecode(local.request) })
}
