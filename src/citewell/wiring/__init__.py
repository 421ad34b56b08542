"""The only place that names adapters: settings in, open services out."""

from citewell.wiring.examining import as_any_viewer, describe_settings, make_examiner
from citewell.wiring.models import check_models, hash_settings
from citewell.wiring.services import (
    MINILM_COUNT_TOKENS,
    Ledger,
    Services,
    open_celery,
    open_ingest,
    open_ledger,
    open_services,
)

__all__ = [
    "MINILM_COUNT_TOKENS",
    "Ledger",
    "Services",
    "as_any_viewer",
    "check_models",
    "describe_settings",
    "hash_settings",
    "make_examiner",
    "open_celery",
    "open_ingest",
    "open_ledger",
    "open_services",
]
