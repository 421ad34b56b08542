"""The report: one file that loads nothing and runs nothing, whatever a dataset says."""

import re
from html.parser import HTMLParser
from typing import Any

from citewell.evals.report import plot_histogram, write_report
from citewell.evals.run import total

BAD = "<script>alert(1)</script>\"'><img src=https://example.org/x onerror=alert(1)>"


def row(**more: Any) -> dict[str, Any]:
    metrics = {"ndcg_at_10": 0.5, "span_recall": 1.0, "refusal_accuracy": 1.0}
    return {"id": BAD, "question": BAD, "answerable": True, "search_ms": 3.0, "answer_ms": 9.0,
            "cost_usd": 0.5, "tokens": 10, "refused": False, "reason": None,
            "metrics": metrics} | more  # fmt: skip


def run_of(rows: list[dict[str, Any]], name: str = BAD) -> dict[str, Any]:
    return {"name": name, "created_at": "2026-11-21T00:00:00Z", "created_by": BAD,
            "question_count": len(rows), "collection": BAD, "dataset_sha256": "ab",
            "settings_sha256": "cd", "settings": {"makers": {"model": BAD}},
            "figures": total(rows)}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_everything_is_escaped_and_nothing_is_loaded() -> None:
    html = write_report(run_of([row(), row(reason=BAD, refused=True)]), [row(), row(reason=BAD)])
    tags = Tags()
    tags.feed(html)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "img", "link", "iframe", "object", "a"}
    for _, attributes in tags.seen:
        assert not {"src", "href", "srcset"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert html.count("&lt;script&gt;") >= 5
    assert "default-src 'none'" in html
    assert html.count("<svg") == 5  # means, two metrics, two times


def test_the_worst_questions_come_first() -> None:
    rows = [row(id="fine"), row(id="wrong", metrics={"refusal_accuracy": 0.0})]
    html = write_report(run_of(rows), rows)
    assert html.index("wrong") < html.index("fine")


def test_a_histogram_counts_every_value_once() -> None:
    drawn = plot_histogram([0.0, 0.05, 0.5, 0.99, 1.0], 1.0)
    counts = [int(each) for each in re.findall(r">(\d+)</text>", drawn)]
    assert sum(counts) == 5
    assert "<svg" in plot_histogram([0.0, 0.0], 0.0)
