"""Tables, files and pictures of what was measured on footage."""

import json
import math
from typing import Any

import pytest
import torch

from sgm_vfi.benchmark.footage_evaluation import average_clips, format_clip_tables
from sgm_vfi.benchmark.row_files import format_report
from sgm_vfi.benchmark.row_journal import to_json
from sgm_vfi.benchmark.sample_figures import draw_error_map, draw_strip, stack_strips
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model import time_like


def row(model: str, clip: str, gap: int, frame: int, psnr: float) -> dict[str, Any]:
    return {"model": model, "clip": clip, "gap": gap, "frame": frame, "psnr": psnr}


def test_the_mean_is_that_of_the_clip_average_clips() -> None:
    rows = [row("m", "a", 1, 1, 10.0), row("m", "a", 1, 2, 20.0), row("m", "b", 1, 1, 35.0)]
    [a, b, total] = average_clips(rows, ["psnr"])
    assert (a["psnr"], b["psnr"], total["psnr"]) == (15.0, 35.0, 25.0)
    assert (a["triplets"], b["triplets"], total["triplets"]) == (2, 1, 3)
    assert total["clip"] is None


def test_a_table_by_hand() -> None:
    rows = [row("m", "a", 1, 1, 10.0), row("n", "a", 1, 1, 20.126)]
    assert format_clip_tables(average_clips(rows, ["psnr"]), ["psnr"]) == (
        "Gap 1: psnr\n"
        "\n"
        "| clip | triplets | m | n |\n"
        "|---|---:|---:|---:|\n"
        "| a | 1 | 10.00 | 20.13 |\n"
        "| **mean of the clips** | 1 | 10.00 | 20.13 |"
    )


def test_a_report_is_json_with_a_line_per_row() -> None:
    report = {"a": 1, "b": [1, 2], "rows": [{"x": 1}, {"x": math.inf}], "none": []}
    text = format_report(report)
    assert json.loads(text) == report | {"rows": [{"x": 1}, {"x": "inf"}]}
    assert '{"x": 1},\n{"x": "inf"}' in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(math.nan)


def test_errors_are_shown_from_black_to_bright() -> None:
    black, grey, white = (torch.full((3, 4, 4), value) for value in (0.0, 0.1, 1.0))
    assert draw_error_map(black, black).max() < 0.05
    levels = [draw_error_map(black, other).mean().item() for other in (black, grey, white)]
    assert levels == sorted(levels)
    assert torch.equal(draw_error_map(black, white), draw_error_map(white, black))
    assert levels[2] > 0.6


def test_a_contact_sheet_shows_every_frame_in_its_place() -> None:
    """Colours at the centres of the cells: inputs, truth and predictions, then errors."""
    colours = torch.eye(3)
    before, target, after = (
        colour[None, :, None, None].expand(1, 3, 90, 320) for colour in colours
    )
    triplet = Triplet(before, target, after, time_like(before, 0.5))
    picture = draw_strip("heading", triplet, {"perfect": target, "wrong": before})
    height, width = picture.shape[-2:]
    assert abs(width - 4 * 320) <= 32
    centres = [width * (2 * column + 1) // 8 for column in range(4)]
    upper, lower = (picture[:, int(height * share), centres].T for share in (0.35, 0.8))
    expected = torch.stack([colours[index] for index in (0, 1, 1, 0)])
    torch.testing.assert_close(upper, expected)
    torch.testing.assert_close(lower[0], colours[2])
    assert lower[2].max() < 0.05  # no error
    assert lower[3].min() > 0.3  # a large one
    assert stack_strips([picture, picture]).shape[-1] == width
