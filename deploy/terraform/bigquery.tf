locals {
  tables = {
    clips         = { schema = "clips", description = "YAMNet's embeddings and scores, the newest row of each clip" }
    clips_patches = { schema = "patches", description = "YAMNet's embeddings and scores, the newest row of each patch of a clip" }
  }
}

resource "google_bigquery_dataset" "audio" {
  dataset_id  = var.bigquery_dataset
  location    = var.region
  description = "Embeddings and scores of audio clips."

  depends_on = [google_project_service.used]
}

# The tables that a run would make if they were missing. The schemas are generated: python deploy/terraform/schemas.py
resource "google_bigquery_table" "rows" {
  for_each = local.tables

  dataset_id          = google_bigquery_dataset.audio.dataset_id
  table_id            = each.key
  description         = each.value.description
  schema              = file("${path.module}/schemas/${each.value.schema}.json")
  clustering          = ["clip_id"]
  deletion_protection = var.deletion_protection

  time_partitioning {
    type  = "DAY"
    field = "processed_at"
  }

  lifecycle {
    ignore_changes = [schema] # runs add the columns that lists of clips carry
  }
}
