"""The Celery door: claim jobs, take files along ingest's path, publish, or say why not."""

from citewell.worker.process import Supervision, run_worker

__all__ = ["Supervision", "run_worker"]
