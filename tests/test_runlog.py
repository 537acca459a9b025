"""Logs of runs, and the curves drawn of them."""

import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sgm_vfi.engine.runlog import RunLog, read_rows
from sgm_vfi.training import curves
from tests.fixtures.full_disk import full_disk


def test_log_rows_come_back_and_can_be_rewound(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=True)
    log.append_rows([{"step": 1, "loss": 0.5}, {"step": 2, "loss": math.nan}])
    position = log.position()
    log.append_rows([{"step": 3, "loss": 0.25}])
    assert [row["loss"] for row in read_rows(tmp_path)] == [0.5, None, 0.25]
    log.truncate(position)
    log.append_rows([{"step": 3, "loss": 0.125}])
    assert [row["loss"] for row in read_rows(tmp_path)] == [0.5, None, 0.125]
    log.close()


def test_log_is_silent_on_other_processes(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=False)
    log.start_progress(0, 10)
    log.append_rows([{"step": 1}])
    log.add_scalars(1, loss=1.0)
    log.add_image(1, "panel", np.zeros((8, 8, 3), np.uint8))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_log_waits_for_room_on_the_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = RunLog(tmp_path, active=True)
    log.append_rows([{"step": 1, "text": "x" * 400}])
    with full_disk(500):
        log.append_rows([{"step": 2, "text": "x" * 400}])
    assert "Could not write" in caplog.text
    assert len(read_rows(tmp_path)) == 1
    log.append_rows([{"step": 3}])
    assert [row["step"] for row in read_rows(tmp_path)] == [1, 2, 3]
    log.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_without_room_does_not_end_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own thread fails, and says so only later, if at all."""
    log = RunLog(tmp_path, active=True)
    with full_disk(1000):
        for step in range(200):
            log.add_scalars(step, loss=1.0)
            time.sleep(0.001)
        log.add_image(1, "panel", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    assert caplog.text.count("No more TensorBoard files") == 1
    assert "Could not write a picture" in caplog.text
    log.append_rows([{"step": 1}])
    log.close()
    assert len(read_rows(tmp_path)) == 1


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_rows(tmp_path) == [{"step": 1}]


def write_run(folder: Path, steps: int, level: float) -> Path:
    folder.mkdir()
    rows = [{"step": n, "loss": level / n, "learning_rate": 1e-4} for n in range(1, steps + 1)]
    rows += [{"step": n, "psnr": 20 + level, "psnr_blend": 19.0} for n in (1, steps)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_plot_command_draws_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name, 400, level) for name, level in (("one", 1), ("two", 3))]
    output = tmp_path / "curves.png"
    curves.main([*map(str, runs), "--output", str(output)])
    assert capsys.readouterr().out.strip() == str(output)
    picture = cv2.imread(str(output))[..., ::-1]
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (picture == colour).all(axis=-1).sum() > 200  # both curves, in both charts
    assert picture.shape[0] == 2 * 420  # loss, and psnr with its reference inside


def test_plot_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        curves.main([str(tmp_path / "nothing")])
    assert "No log at" in capsys.readouterr().err


def test_tensorboard_has_groups_the_recipe_and_its_values(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=True)
    log.log_recipe({"name": "x", "training": {"steps": 3, "loss": None}}, ["psnr"])
    log.log_steps([{"step": 1, "loss": 1.0}], {"samples_per_second": 2.0, "waiting_for_data": 0.0})
    log.log_metrics(1, 0, {"psnr": 20.0})
    log.add_image(1, "panel", np.zeros((8, 8, 3), np.uint8))
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert {"train/loss", "train/samples_per_second", "val/psnr"} <= {*tags["scalars"]}
    assert tags["images"] == ["val/panel"]
    text = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"steps": 3' in text
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"training.steps" in start
    assert (tmp_path / "panel.png").is_file()
