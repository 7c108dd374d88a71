"""Tests of what runs the lab elsewhere: manifests for Kubernetes, units for systemd, rules and dashboards."""
