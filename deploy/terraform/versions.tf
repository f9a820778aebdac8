terraform {
  required_version = ">= 1.9.0, < 2.0.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50" # the schema that tests/deploy/test_terraform.py validates against
    }
  }
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = { made_by = "yamnet-beam" }
}
