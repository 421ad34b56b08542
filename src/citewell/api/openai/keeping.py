"""Keep an answer as /query does, so that it can be looked up by its id."""

from citewell.api.query import _keep  # pyright: ignore[reportPrivateUsage]

keep_answer = _keep
