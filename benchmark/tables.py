"""Markdown and HTML tables, and how metrics are printed in them."""

from collections.abc import Collection, Iterable, Sequence
from html import escape
from itertools import count
from typing import Any

FLOW_ERRORS = ("epe", "epe_visible", "epe_occluded")
LOWER_IS_BETTER = ("lpips", "stlpips", "interpolation_error", "ie", "seconds", *FLOW_ERRORS)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of cells that spreadsheets compute
UNITS = {"psnr": "dB", "psnr_visible": "dB", "psnr_occluded": "dB"} | dict.fromkeys(
    FLOW_ERRORS, "px"
)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table; the first column is text, the others are numbers."""
    ruler = f"|---|{'---:|' * (len(head) - 1)}"
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join((f"| {' | '.join(head)} |", ruler, *lines))


def html_table(
    head: Iterable[str],
    rows: Iterable[Iterable[str]],
    best: Collection[tuple[int, int]] = (),
) -> str:
    """Format an HTML table of plain text.

    Args:
        best: row and column of the cells to highlight.
    """
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = ""
    for number, row in enumerate(rows):
        styles = (' class="best"' * ((number, column) in best) for column in count())
        cells = (
            f"<td{style}>{escape(cell)}</td>" for cell, style in zip(row, styles, strict=False)
        )
        body += f"<tr>{''.join(cells)}</tr>"
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def metric_heading(metric: str) -> str:
    """Return the column heading of a metric: its name, its unit, the better direction."""
    unit = f" {UNITS[metric]}" if metric in UNITS else ""
    return f"{metric}{unit} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def num_decimals(metric: str) -> int:
    """Return the number of decimals that a metric is printed with."""
    return 2 if metric.startswith(("psnr", "epe")) else 4


def format_metric(metric: str, value: float | str | None, sign: str = "") -> str:
    """Format a value of a metric; None gives an empty cell."""
    return "" if value is None else f"{float(value):{sign}.{num_decimals(metric)}f}"


def find_best_cells(head: Sequence[str], lines: Sequence[Sequence[str]]) -> set[tuple[int, int]]:
    """Return row and column of the best value of each metric in each group of several models."""
    groups: dict[tuple[str, ...], list[int]] = {}
    samples = head.index("samples")
    for number, line in enumerate(lines):
        groups.setdefault(tuple(line[1:samples]), []).append(number)
    best = set()
    for numbers in groups.values():
        for column in (c for c, name in enumerate(head) if name[-1] in "↑↓"):
            values = {n: float(lines[n][column]) for n in numbers if lines[n][column]}
            if len(values) > 1:
                target = (min if head[column].endswith("↓") else max)(values.values())
                best |= {(n, column) for n, value in values.items() if value == target}
    return best


def protect_cell(value: Any) -> Any:
    """Return a cell of a CSV file that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
