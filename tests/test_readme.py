"""The Python snippets of the README and of the documentation run as they stand there."""

import re
from pathlib import Path

import av
import torch

from sgm_vfi.media.images import read_frame, write_frame
from tests.fixtures.videos import moving_frames, write_clip

ROOT = Path(__file__).resolve().parent.parent


def read_snippets(file: str) -> list[str]:
    """Return the Python snippets of a Markdown file."""
    text = (ROOT / file).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


IMAGES, *_ = read_snippets("README.md")
VIDEOS, *_ = read_snippets("docs/video.md")


def run(snippet: str, **given: object) -> None:
    exec(compile(snippet, "snippet", "exec"), given)


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
