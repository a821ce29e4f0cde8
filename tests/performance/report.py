"""Prints tables, and the differences between two runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NOTEWORTHY = 1.15  # smaller factors are not printed


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"\n{title}\n", *lines, sep="\n", flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def figures(results: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number of the results with its path."""
    for key, value in results.items():
        if isinstance(value, Mapping):
            yield from figures(value, f"{path}{key} / ")
        elif isinstance(value, int | float):
            yield path + key, float(value)


def compare(results: Mapping[str, Any], file: Path) -> None:
    """Print the figures that differ from those in the file."""
    before = dict(figures(json.loads(file.read_text())))
    rows = [
        (name, before[name], after, after / before[name])
        for name, after in figures(results)
        if before.get(name) and after and not 1 / NOTEWORTHY < after / before[name] < NOTEWORTHY
    ]
    table(f"Since {file.name}", ("figure", "before", "now", "ratio"), rows)
