"""What language models are told; each module holds one prompt, as a constant."""

import hashlib
import pkgutil
from importlib import import_module


def _read_prompts() -> dict[str, str]:
    """Return every constant text of this package's modules by its full name."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(__path__):
        values = vars(import_module(f"{__name__}.{module.name}"))
        found.update(
            {
                f"{module.name}.{name}": value
                for name, value in values.items()
                if name.isupper() and isinstance(value, str)
            }
        )
    return found


PROMPTS = _read_prompts()
PROMPTS_SHA256 = hashlib.sha256(
    "\0".join(f"{name}\0{PROMPTS[name]}" for name in sorted(PROMPTS)).encode()
).hexdigest()
"""What an answer's manifest names: it differs when any prompt does."""
