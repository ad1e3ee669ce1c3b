"""Kubernetes CronJob manifests in and out. Pure."""
