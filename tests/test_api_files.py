"""Files and streams from Python: the examples of docs/api.md, progress, cancellation, threads."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import sgm_vfi
from sgm_vfi.video.options import VideoOptions
from tests.fixtures.processes import ROOT
from tests.fixtures.videos import decode_samples, moving_frames, write_clip

TEXT = (ROOT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SMALL = VideoOptions(segment_frames=4)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number: int, workdir: Path, capsys: pytest.CaptureFixture) -> None:
    write_clip(workdir / "in.mp4", moving_frames(5))
    exec(compile(EXAMPLES[number], "api.md", "exec"), {})
    if number == 2:
        assert "10 of 10 frames" in capsys.readouterr().out
        assert Path("out.mp4").is_file()


def test_a_cancelled_job_keeps_what_is_finished(workdir: Path) -> None:
    write_clip(workdir / "in.mp4", moving_frames(12))
    network = sgm_vfi.load("blend")
    seen: list[tuple[int, int]] = []
    cancel = threading.Event()

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        assert threading.current_thread() is threading.main_thread()
        if done == 10:
            cancel.set()

    with pytest.raises(sgm_vfi.InterpolationCancelled, match="after 10 of 24 frames"):
        sgm_vfi.interpolate_file(
            "in.mp4", "out.mp4", SMALL, network=network, progress=progress, cancel=cancel
        )
    assert seen == [(done, 24) for done in range(11)]
    assert not Path("out.mp4").exists()
    seen.clear()
    receipt = sgm_vfi.interpolate_file(
        "in.mp4", "out.mp4", SMALL, network=network, progress=lambda *one: seen.append(one)
    )
    assert seen[0][0] >= 4  # at least one segment was kept
    assert seen[-1] == (24, 24)
    assert receipt["frames made in this run"] == 24 - seen[0][0]
    sgm_vfi.interpolate_file("in.mp4", "whole.mp4", SMALL, network="blend")
    assert decode_samples(Path("out.mp4")) == decode_samples(Path("whole.mp4"))


def test_cancel_may_be_a_function(workdir: Path) -> None:
    write_clip(workdir / "in.mp4", moving_frames(5))
    with pytest.raises(sgm_vfi.InterpolationCancelled, match="after 0 of 10"):
        sgm_vfi.interpolate_file("in.mp4", network="blend", cancel=lambda: True)


@pytest.mark.parametrize("name", ["dis", "sift+dis", "sgm"])
def test_two_threads_share_a_network(name: str, tiny: torch.nn.Module) -> None:
    """They give what one call after the other gives."""
    from sgm_vfi.model.api import FrameInterpolator

    network = FrameInterpolator(tiny) if name == "sgm" else sgm_vfi.load(name)
    frames = [frame[0] for frame in moving_frames(7, 96, 96, step=3)]
    pairs = list(pairwise(frames))
    expected = [network(*pair, 0.5) for pair in pairs]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            results = pool.map(lambda pair: network(*pair, 0.5), pairs)
            assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))
