"""Flows on disk."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sgm_vfi.dataset.flow_files import KITTI_STEPS, encode_flow, read_flow, write_flow
from sgm_vfi.media.images import FrameError


@pytest.mark.parametrize(("steps", "reach"), [(128, 255.9), (KITTI_STEPS, 511.9)])
def test_a_flow_comes_back_to_within_a_step(tmp_path: Path, steps: int, reach: float) -> None:
    torch.manual_seed(0)
    flow = (torch.rand(2, 7, 9) * 2 - 1) * reach
    path = tmp_path / "flow.png"
    write_flow(path, flow, steps)
    back = read_flow(path, steps)
    assert back.shape == flow.shape
    lost = flow - back
    assert lost.min() >= 0  # rounded down
    assert lost.max() < 1 / steps + 1e-4
    assert torch.equal(read_flow(path, steps), back)
    write_flow(path, back, steps)
    assert torch.equal(read_flow(path, steps), back)
    assert [file.name for file in tmp_path.iterdir()] == ["flow.png"]


def test_the_file_is_laid_out_as_kitti_has_it(tmp_path: Path) -> None:
    """Red u, green v, blue valid: OpenCV reads blue first."""
    flow = torch.tensor([1.0, -2.0]).view(2, 1, 1).expand(2, 3, 4)
    write_flow(tmp_path / "flow.png", flow, KITTI_STEPS)
    words = cv2.imread(str(tmp_path / "flow.png"), cv2.IMREAD_UNCHANGED)
    assert words.dtype == np.uint16
    assert words[0, 0].tolist() == [1, 2**15 - 128, 2**15 + 64]


def test_what_is_not_valid_has_no_flow(tmp_path: Path) -> None:
    words = np.full((2, 3, 3), 2**15 + 640, np.uint16)
    words[..., 0] = [[1, 0, 1], [0, 1, 1]]
    cv2.imwrite(str(tmp_path / "kitti.png"), words)
    flow = read_flow(tmp_path / "kitti.png", KITTI_STEPS)
    expected = 10 * torch.tensor([[1.0, 0, 1], [0, 1, 1]]).expand(2, 2, 3)
    assert torch.equal(flow, expected)


@pytest.mark.parametrize("value", [256.0, -257.0, float("nan"), float("inf")])
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="reaches 256 pixels"):
        write_flow(tmp_path / "flow.png", torch.full((2, 3, 4), value))
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="holds no flow"):
        read_flow(tmp_path / "nothing.png")
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(FrameError, match="holds no flow"):
        read_flow(tmp_path / "picture.png")
    with pytest.raises(ValueError, match=r"written as \.png"):
        write_flow(tmp_path / "flow.flo", torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"is \(2, H, W\)"):
        encode_flow(torch.zeros(1, 2, 3, 4))
