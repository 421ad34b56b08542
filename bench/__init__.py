"""Measurements: each as a ratio to a raw limit in the same run."""
