"""Metrics: one table of them, one pure fold from events to their values, and renderings for Prometheus and OTLP."""
