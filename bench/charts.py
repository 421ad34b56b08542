"""Small charts as SVG, without a library: lines over a logarithmic axis."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 60, 50, 20, 20
COLOURS = ("#0b6e99", "#c04b00", "#4d7c0f", "#7c3aed")


def line_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], x_name: str, y_name: str
) -> str:
    """Draw named curves of points (x, y); x is logarithmic, y begins at 0."""
    xs = [math.log10(x) for points in curves.values() for x, _ in points]
    highest = max(y for points in curves.values() for _, y in points) * 1.1
    low, span = min(xs), (max(xs) - min(xs)) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (math.log10(x) - low) / span * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - y / highest * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for step in range(5):
        value = highest * step / 4
        _, y = place(10**low, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    for x in sorted({x for points in curves.values() for x, _ in points}):
        across, _ = place(x, 0)
        parts.append(
            f'<text x="{across:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{x:,.0f}</text>"
        )
    for number, (name, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = place(*points[-1])
        parts.append(
            f'<text x="{x:.1f}" y="{y - 8:.1f}" fill="{colour}" text-anchor="end">'
            f"{escape(name)}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_name)}</text>'
    )
    parts.append(
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2})">{escape(y_name)}</text>'
    )
    return "\n".join([*parts, "</svg>\n"])
