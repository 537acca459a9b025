"""Result rows as tidy files for other programs: CSV, JSON lines, and JSON with `rows`.

One row per sample and model, one column per value, numbers as numbers. `pandas.read_csv(path)` and
`pandas.read_json(path, lines=True)` read them as they are. PSNR of equal frames, which is infinite,
is `inf` in CSV and `1e999` in JSON, which readers round to infinity.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sgm_vfi.benchmark.result_summary import ProtocolResult
from sgm_vfi.benchmark.row_files import format_report
from sgm_vfi.benchmark.row_journal import Row
from sgm_vfi.benchmark.tables import protect_cell
from sgm_vfi.storage.atomic_write import write_atomically

TIDY_SUFFIXES = (".csv", ".jsonl", ".json")
OUTPUT_HELP = "folder of the rows, or a .csv, .jsonl or .json file of them (default: %(default)s)"
INFINITY = "1e999"  # a JSON number beyond the range of floating point


def write_tidy_rows(path: Path, results: Sequence[ProtocolResult], **about: Any) -> None:
    """Write the rows of all results to one file; its suffix names the format.

    Args:
        about: further entries of a .json file.
    """
    rows = list(tidy_rows(results))
    if path.suffix == ".csv":
        text = format_csv(rows)
    elif path.suffix == ".jsonl":
        text = "".join(f"{format_json_row(row)}\n" for row in rows)
    else:
        text = format_report(about | {"rows": rows})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode(errors="backslashreplace"))


def tidy_rows(results: Iterable[ProtocolResult]) -> Iterable[Row]:
    """Yield the rows of all results with the same columns: protocol, model, sample, metrics."""
    results = list(results)
    keys = dict.fromkeys(key for one in results for key in one.keys if key != "protocol")
    rest = dict.fromkeys(c for one in results for row in one.rows for c in row if c not in keys)
    columns = [*keys, *(name for name in rest if name not in ("protocol", "model"))]
    metrics = {metric for one in results for metric in one.metrics}
    for one in results:
        for row in one.rows:
            values = {name: row.get(name) for name in columns}
            yield {"protocol": one.name, "model": row["model"]} | {
                name: float(value) if name in metrics and value is not None else value
                for name, value in values.items()
            }


def format_csv(rows: Sequence[Row]) -> str:
    """Format rows as CSV; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: protect_cell(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def format_json_row(row: Row) -> str:
    """Format a row as strict JSON."""
    return json.dumps(row).replace(": Infinity", f": {INFINITY}")


def split_output(output: Path) -> tuple[Path, Path | None]:
    """Return the folder of the rows of a measurement, and the tidy file if `output` names one."""
    if output.suffix in TIDY_SUFFIXES:
        return output.with_suffix(""), output
    return output, None
