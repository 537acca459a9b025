"""Logs of runs, and the curves drawn of them."""

import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgm_vfi.engine.runlog import RunLog, read_rows
from sgm_vfi.media.charts import (
    Axis,
    Curve,
    logarithmic_ticks,
    moving_average,
    plot_line_charts,
    plot_lines,
)
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


def test_curve_goes_through_its_points() -> None:
    """A rising line: its pixels lie on the straight line between its ends."""
    x = Axis(0, 100, 84, 1076)
    line = plot_lines("line", [Curve("a", np.array([1e-9, 100.0]), np.array([0.0, 1.0]))], x)
    blue = (line == (0, 114, 178)).all(axis=-1)
    blue[:44] = False  # the legend
    rows, columns = blue.nonzero()
    y = Axis(-0.06, 1.06, 420 - 46, 44)
    expected = y.to_pixels((columns - 84) / (1076 - 84))
    assert np.abs(rows - expected).max() < 5  # the marks at the ends are wider than the line
    assert len(rows) > 900


def test_the_untrained_network_does_not_flatten_the_chart() -> None:
    """A first score of 3 among 28 and 29: these two lie far apart, the line comes from below."""
    x = Axis(0, 2, 84, 1076)
    drawn = plot_lines("psnr", [Curve("a", np.arange(3.0), np.array([3.0, 28.0, 29.0]))], x)
    blue = (drawn == (0, 114, 178)).all(axis=-1)
    assert blue[420 - 46 - 2, 100:580].any()
    rows = [blue[44:, column].nonzero()[0].mean() for column in (590, 1070)]
    assert rows[0] - rows[1] > 250


def test_charts_of_one_point_or_constant_values_or_nothing() -> None:
    one = Curve("a", np.array([5.0]), np.array([2.0]))
    reference = one._replace(label="b", is_reference=True)
    for curve in (one, reference):  # one point is no line, and yet seen, beside the grid's lines
        drawn = plot_lines("x", [curve], Axis(4, 6, 84, 1076))
        assert (drawn[209 - 2, 580 + 2] < 200).any()
    hardly = Curve("c", np.array([1.0, 2.0]), np.array([0.0, 5e-324]))  # a fifth of it is zero
    assert plot_line_charts({"x": [hardly]}).shape == (420, 1100, 3)
    assert plot_line_charts({"x": [one]}, logarithmic=("x",)).shape == (420, 1100, 3)
    assert plot_line_charts({"x": [one._replace(y=np.array([np.nan]))]}).shape == (420, 1100, 3)


@given(st.floats(1e-8, 1e6), st.floats(1.01, 1e5))
def test_ticks_lie_inside_and_are_few(low: float, ratio: float) -> None:
    for ticks in (Axis(low, low * ratio, 0, 1).ticks(), logarithmic_ticks(low, low * ratio)):
        assert len(ticks) <= 14
        assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)


def test_smoothing_keeps_straight_lines_and_means() -> None:
    line = np.arange(500.0)
    assert np.allclose(moving_average(line)[20:-20], line[20:-20])
    noise = np.random.default_rng(0).normal(size=500)
    assert moving_average(noise).std() < 0.5 * noise.std()
