"""A run as one HTML file: figures, plots, questions; no script, and nothing from outside."""

from collections.abc import Sequence
from html import escape

from citewell.domain import Json

WIDTH, BAR, GAP = 640, 18, 8
LABELS = 170
BINS = 10
HEIGHT = 140
PLOTTED = ("ndcg_at_10", "span_recall", "citation_recall", "cited_span_recall")
COLUMNS = ("ndcg_at_10", "span_recall", "citation_precision", "cited_span_recall",
           "answer_contains", "refusal_accuracy")  # fmt: skip
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;
color:#1d2733;background:#fff}
table{border-collapse:collapse;width:100%;font-size:13px;margin:1rem 0}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr.bad td{background:#fff3f0}
svg{display:block;margin:.5rem 0 1.5rem;max-width:100%}text{font:12px system-ui,sans-serif}
figcaption,small{color:#5a6775}
"""


def write_report(run: Json, rows: Sequence[Json]) -> str:
    """Return a run's report; everything that came from a dataset or a person is escaped.

    ``rows`` are its questions' results, the worst first in the report.
    """
    title = run["name"] or "Evaluation"
    figures = run["figures"]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>"
    )
    parts = [
        head,
        f"<h1>{_text(title)}</h1>{_facts(run)}",
        "<h2>Means</h2><p>The line is the 95 % confidence interval.</p>",
        plot_means(figures["metrics"]),
        _means_table(figures["metrics"]),
    ]
    for name in PLOTTED:
        values = [row["metrics"][name] for row in rows if name in row["metrics"]]
        if values:
            parts.append(f"<h2>{_text(name)} by question</h2>{plot_histogram(values, 1.0)}")
    for name in ("search_ms", "answer_ms"):
        values = [row[name] for row in rows if name in row]
        if values:
            title = f"<h2>{_text(name.removesuffix('_ms'))} time, milliseconds</h2>"
            parts.append(f"{title}{plot_histogram(values, max(values))}")
    parts.append(f"<h2>Questions</h2>{_questions(rows)}</body></html>")
    return "".join(parts)


def plot_means(metrics: Json) -> str:
    """Draw a bar for each mean, with its interval."""
    height = len(metrics) * (BAR + GAP) + GAP
    scale = WIDTH - LABELS - 60
    drawn: list[str] = []
    for at, (name, mean) in enumerate(metrics.items()):
        top = GAP + at * (BAR + GAP)
        middle = top + BAR / 2
        low, high = LABELS + scale * mean["low"], LABELS + scale * mean["high"]
        drawn.append(
            f'<text x="0" y="{top + 13}">{_text(name)}</text>'
            f'<rect x="{LABELS}" y="{top}" width="{scale * mean["mean"]:.1f}" height="{BAR}" '
            'fill="#6f9bd1"/>'
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#1d2733" stroke-width="2"/>'
            f'<text x="{WIDTH - 50}" y="{top + 13}">{mean["mean"]:.3f}</text>'
        )
    return _svg(height, "Means with their intervals", drawn)


def plot_histogram(values: Sequence[float], most: float) -> str:
    """Draw how many questions have a value in each tenth of the range from 0 to ``most``."""
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(BINS * value / most)) if most > 0 else 0] += 1
    width = WIDTH / BINS
    drawn: list[str] = []
    for at, count in enumerate(counts):
        tall = (HEIGHT - 40) * count / max(counts)
        left, end = at * width, most * (at + 1) / BINS
        drawn.append(
            f'<rect x="{left + 2:.1f}" y="{HEIGHT - 20 - tall:.1f}" width="{width - 4:.1f}" '
            f'height="{tall:.1f}" fill="#6f9bd1"/>'
            f'<text x="{left + 4:.1f}" y="{HEIGHT - 24 - tall:.1f}">{count or ""}</text>'
            f'<text x="{left + 4:.1f}" y="{HEIGHT - 5}">≤ {end:.3g}</text>'
        )
    return _svg(HEIGHT, "How many questions have which value", drawn)


def _svg(height: float, label: str, drawn: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{_text(label)}" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}">{"".join(drawn)}</svg>'
    )


def _facts(run: Json) -> str:
    facts = {
        "made": f"{run['created_at']} by {run['created_by']}",
        "questions": f"{run['question_count']}, {run['figures']['failed']} failed",
        "collection": run["collection"] or "all",
        "dataset": run["dataset_sha256"],
        "settings": run["settings_sha256"],
        **{
            f"{name} p50, p95 ms": _times(run["figures"][name])
            for name in ("search_ms", "answer_ms")
        },
        "tokens": run["figures"]["tokens"],
        "cost, US dollars": run["figures"]["cost_usd"],
        **run["settings"].get("makers", {}),
    }
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<table>{rows}</table>"


def _times(times: Json) -> str:
    return f"{times['p50']:.1f}, {times['p95']:.1f}" if times else ""


def _means_table(metrics: Json) -> str:
    rows = "".join(
        f'<tr><td>{_text(name)}</td><td class="n">{mean["mean"]:.4f}</td>'
        f'<td class="n">{mean["low"]:.4f} – {mean["high"]:.4f}</td>'
        f'<td class="n">{mean["count"]}</td></tr>'
        for name, mean in metrics.items()
    )
    heads = (
        '<th>metric</th><th class="n">mean</th><th class="n">95 %</th><th class="n">questions</th>'
    )
    return f"<table><tr>{heads}</tr>{rows}</table>"


def _questions(rows: Sequence[Json]) -> str:
    def badness(row: Json) -> tuple[float, float]:
        measured = row["metrics"]
        return measured.get("refusal_accuracy", 1.0), measured.get("ndcg_at_10", 1.0)

    heads = "".join(f'<th class="n">{_text(name)}</th>' for name in COLUMNS)
    lines: list[str] = []
    for row in sorted(rows, key=badness):
        cells = "".join(
            f'<td class="n">{_figure(row["metrics"].get(name))}</td>' for name in COLUMNS
        )
        bad = ' class="bad"' if badness(row)[0] < 1 else ""
        outcome = row.get("reason") or ("" if row.get("refused") is None else "answered")
        lines.append(
            f"<tr{bad}><td>{_text(row['id'])}</td><td>{_text(row['question'])}</td>"
            f"<td>{_text(outcome)}</td>{cells}</tr>"
        )
    first = "<th>id</th><th>question</th><th>outcome</th>"
    return f"<table><tr>{first}{heads}</tr>{''.join(lines)}</table>"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _text(value: object) -> str:
    return escape(str(value), quote=True)
