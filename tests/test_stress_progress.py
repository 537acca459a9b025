"""What the trial of the time left reads of a bar."""

import pytest
from tqdm import tqdm

from sgm_vfi.video.progress_bar import BAR_FORMAT
from tests.stress.progress import Trial, describe, find_ratio, parse_bars


def draw(done: int, left: str = "") -> str:
    """Draw the bar of a job as the terminal shows it."""
    drawn: str = tqdm.format_meter(
        done, 40, 5.0, ncols=100, bar_format=BAR_FORMAT, postfix=f"{left}, 2 s for a new frame"
    )
    return f"\r{drawn}"


def test_the_ratio_is_that_of_the_first_bar_after_a_share_of_the_work() -> None:
    texts = {1.0: draw(0), 2.0: draw(3), 4.0: draw(5, "time left 0:01:12"),
             6.0: draw(36, "time left 0:00:03") + draw(40, "time left 0:00:00")}  # fmt: skip
    readings = [reading for at, text in texts.items() for reading in parse_bars(text, at)]
    assert [(r.done, r.left) for r in readings] == [
        (0, None), (0.075, None), (0.125, 72), (0.9, 3), (1, 0)
    ]  # fmt: skip
    trial = Trial(0.5, 64.0, readings)
    assert find_ratio(trial, 0.1) == pytest.approx(72 / 60)
    assert describe("idle", trial).startswith(
        "idle: 64 s, first output after 0.5 s, bar moves after 2.0 s; "
    )
