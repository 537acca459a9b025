"""Journals of rows: damage is named and measured again, rows of others are refused."""

import os
from pathlib import Path

import pytest

from sgm_vfi.benchmark.row_files import measure_in_parallel
from sgm_vfi.benchmark.row_journal import PROTOCOL_KEY, ReportError, RowJournal
from sgm_vfi.engine.distributed import World
from sgm_vfi.storage.file_lock import FileLock, LockedError

ROWS = [{"model": "a", "protocol": "p", "sample": str(n), "psnr": 30.5 + n} for n in range(4)]


def write_journal(path: Path, header: dict[str, int]) -> list[str]:
    with RowJournal(path, header, PROTOCOL_KEY) as journal:
        for row in ROWS:
            journal.append(row)
    return path.read_text().split("\n")


def read_journal(path: Path, header: dict[str, int]) -> list[dict[str, object]]:
    with RowJournal(path, header, PROTOCOL_KEY) as journal:
        return journal.rows


@pytest.mark.parametrize(
    ("line", "damage", "kept", "named"),
    [
        (2, lambda text: text.replace("31.5", "38.5"), [0, 2, 3], "1 damaged rows"),
        (2, lambda text: "", [0, 2, 3], "1 damaged rows"),
        (2, lambda text: "[]", [0, 2, 3], "1 damaged rows"),
        (0, lambda text: "", [0, 1, 2, 3], "its header is lost"),
        (0, lambda text: "{}", [0, 1, 2, 3], "its header is lost"),
    ],
)
def test_damage_costs_what_is_damaged(
    tmp_path: Path, line: int, damage, kept: list[int], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.part0"
    lines = write_journal(path, {"x": 1})
    lines[line] = damage(lines[line])
    path.write_text("\n".join(lines))
    assert read_journal(path, {"x": 1}) == [ROWS[number] for number in kept]
    assert named in caplog.text
    assert str(path) in caplog.text


def test_an_empty_journal_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "p.part0").touch()
    assert read_journal(tmp_path / "p.part0", {"x": 1}) == []


def test_rows_of_another_measurement_are_refused(tmp_path: Path) -> None:
    write_journal(tmp_path / "p.part0", {"x": 1})
    with pytest.raises(ReportError, match="differs in x"):
        read_journal(tmp_path / "p.part0", {"x": 2})


def test_a_second_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgm_vfi.storage.file_lock.PATIENCE", 0.1)
    message = rf"Process {os.getpid()} on \S+ works on .*p\.jsonl"
    with (
        FileLock(tmp_path / "p.lock", tmp_path / "p.jsonl"),
        pytest.raises(LockedError, match=message),
    ):
        measure_in_parallel(
            tmp_path / "p.jsonl", {}, [], [], "", World(), lambda rows: (0, iter(()))
        )
