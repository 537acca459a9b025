"""Drawn and encode_x264 frames for tests of what a video is judged by."""

from pathlib import Path

import av
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.images import as_samples

SIZE = (96, 128)


def draw_scenes() -> list[list[Tensor]]:
    """Draw ten scenes of ten frames (1, 3, H, W), with blur, grain and changing light."""
    config = SyntheticConfig(size=SIZE, textures=16, texture_size=128, masks=20, mask_size=96)
    maker = SceneGenerator(config)
    drawn = [maker.draw([(5, number)]) for number in range(10)]
    times = torch.linspace(0, 1, 10, dtype=torch.float64)
    return [[scene.frame(time[None]) for time in times] for scene in drawn]


def pan_camera(picture: Tensor, steps: list[int], width: int) -> list[Tensor]:
    """Pan by so many pixels from frame to frame, with motion blur."""
    frames, left = [], 0
    for step in steps:
        places = [left + step * part // 8 for part in range(8)]
        frames.append(torch.stack([picture[..., x : x + width] for x in places]).mean(0))
        left += step
    return frames


def encode_x264(frames: list[Tensor], path: Path, crf: int) -> list[Tensor]:
    """Encode and decode frames. Shapes: (1, 3, H, W) each."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": str(crf)})
        stream.height, stream.width = frames[0].shape[-2:]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(as_samples(frame[0]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return [frame[None] for _, frame in VideoReader(path.name, path).read_frames()]


def draw_texture(height: int, width: int) -> Tensor:
    """Draw a dark random texture, (1, 3, height, width)."""
    torch.manual_seed(3)
    coarse = torch.rand(1, 3, height // 4, width // 4)
    return 0.6 * F.interpolate(coarse, size=(height, width), mode="bilinear")
