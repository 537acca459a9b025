"""What the README shows in Python runs as it stands there."""

import re
from pathlib import Path

import av
import torch

from sgm_vfi.media.images import read_frame, write_frame
from tests.fixtures.videos import moving_frames, write_clip

README = Path(__file__).resolve().parent.parent / "README.md"
IMAGES, VIDEOS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def run(snippet: str, **given: object) -> None:
    exec(compile(snippet, README.name, "exec"), given)


def test_a_frame_between_two_images(workdir: Path) -> None:
    frames = torch.rand(2, 3, 24, 32)
    for number, frame in enumerate(frames):
        write_frame(f"{number}.png", frame)
    run(IMAGES)
    assert read_frame("middle.png").shape == frames[0].shape


def test_videos_from_files_and_from_frames(workdir: Path) -> None:
    frames = moving_frames(6)
    write_clip(workdir / "in.mp4", frames)
    run(VIDEOS, frames=[frame[0] for frame in frames])
    with av.open("out.mp4") as container:
        assert container.streams.video[0].average_rate == 60
