output "build" {
  description = "Command that builds and pushes the image and writes the template; in the root of the project."
  value = join(" ", [
    "gcloud builds submit --project=${var.project} --config=deploy/cloudbuild.yaml --substitutions",
    join(",", [
      "_REGION=${var.region}",
      "_REPOSITORY=${google_artifact_registry_repository.images.repository_id}",
      "_BUCKET=${google_storage_bucket.templates.name}",
      "_TEMPLATE=${local.template}",
    ]),
  ])
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
