"""Footage: any folder of videos or of folders of frames, as training data.

Scene cuts are detected, so that no triplet crosses one. Scenes are split into windows; each window
gives one random triplet an epoch. Frames are decoded when they are needed: nothing is unpacked.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.dataset.augment import Augmentation, TripletIndices
from sgm_vfi.dataset.clip_frames import as_8_bit
from sgm_vfi.dataset.triplet_sampling import FixedTriplets, TrainingTriplets, build_generator
from sgm_vfi.dataset.vimeo90k import PUBLISHED_AUGMENTATION
from sgm_vfi.media.frame_readers import (
    FrameReader,
    VideoError,
    VideoReader,
    find_frame_readers,
    to_rgb_samples,
)
from sgm_vfi.media.images import as_frame, list_frames, read_samples
from sgm_vfi.media.open_local_media import choose_video_stream, open_input
from sgm_vfi.media.scene_cuts import detect_cuts

__all__ = ["PUBLISHED_AUGMENTATION", "build_training_set", "build_validation_set"]

HELD_OUT = 10  # one clip in so many is for validation
CUT_DETECTION_SIDE = 256  # pixels: frames are subsampled to about this height

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip with its scenes; `pts` of a video finds its frames, None decodes from the start."""

    reader: FrameReader
    scenes: tuple[range, ...]  # frame numbers
    pts: tuple[int, ...] | None = None

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Read frames by number, in any order. Shapes: -> (H, W, 3) each, RGB, uint8."""
        if not isinstance(self.reader, VideoReader):
            files = list_frames(self.reader.path)
            return [as_8_bit(read_samples(files[number])) for number in numbers]
        found: dict[int, np.ndarray] = {}
        for number, picture in decode_from(self.reader.path, min(numbers), self.pts):
            if number in numbers:
                found[number] = as_8_bit(to_rgb_samples(picture))
            if len(found) == len(set(numbers)):
                return [found[number] for number in numbers]
        raise VideoError(f"{self.reader.path} has changed: frames {list(numbers)} are not in it.")


@dataclass(frozen=True)
class ClipWindow:
    """A frame stack: consecutive frames of one scene."""

    clip: Clip
    numbers: range

    @property
    def name(self) -> str:
        """The clip and the first frame."""
        return f"{self.clip.reader.name}, frame {self.numbers.start}"

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.read_frames([index])[0]

    def read_frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Read several frames, decoding each once."""
        return self.clip.read([self.numbers[index] for index in indices])


@dataclass(frozen=True)
class GapSampler:
    """Samples a triplet whose middle is `gap` frames from both inputs, or any frame between."""

    gaps: tuple[int, ...]
    any_time: bool = False

    def __call__(self, length: int, random: np.random.Generator) -> TripletIndices:
        """Return the indices of a random triplet in a window."""
        gap = int(random.choice([gap for gap in self.gaps if 2 * gap < length]))
        first = int(random.integers(length - 2 * gap))
        middle = int(random.integers(1, 2 * gap)) if self.any_time else gap
        return TripletIndices(first, first + middle, first + 2 * gap)


def build_training_set(
    root: Path,
    augmentation: Augmentation = PUBLISHED_AUGMENTATION,
    *,
    gaps: tuple[int, ...] = (1,),
    any_time: bool = False,
    holds_validation: bool = False,
) -> TrainingTriplets:
    """Build the training set.

    Args:
        gaps: frames from either input to the middle one.
        holds_validation: the folder also holds the clips for validation, which are left out.
    """
    windows = split_clips(root, gaps)[0] if holds_validation else list_windows(root, gaps)
    return TrainingTriplets(windows, augmentation, GapSampler(gaps, any_time))


def build_validation_set(
    root: Path,
    *,
    gaps: tuple[int, ...] = (1,),
    any_time: bool = False,
    holds_training: bool = False,
    crop: int | None = None,
    limit: int = 100,
) -> FixedTriplets:
    """Build the validation set: fixed triplets, evenly spread, centre-cropped."""
    windows = split_clips(root, gaps)[1] if holds_training else list_windows(root, gaps)
    step = max(1, -(-len(windows) // limit))
    sampler = GapSampler(gaps, any_time)
    return FixedTriplets(
        [
            (window, sampler(len(window), build_generator("validation", number)))
            for number, window in enumerate(windows[::step])
        ],
        crop,
    )


def split_clips(root: Path, gaps: Sequence[int]) -> tuple[list[ClipWindow], list[ClipWindow]]:
    """Split the clips of a folder: every tenth is for validation, or else the last one.

    Of a single clip it is the last tenth of its windows; those that overlap it are left out.
    """
    windows = list_windows(root, gaps)
    clips = list(dict.fromkeys(window.clip for window in windows))
    if len(clips) > 1:
        held_out = set(clips[HELD_OUT - 1 :: HELD_OUT] or clips[-1:])
        return (
            [window for window in windows if window.clip not in held_out],
            [window for window in windows if window.clip in held_out],
        )
    last = windows[-max(1, len(windows) // HELD_OUT) :]
    training = [one for one in windows if one.numbers.stop <= last[0].numbers.start]
    if not training:
        raise VideoError(
            f"{root} holds one clip, whose scenes are too short to split it into training and "
            f"validation. Add clips, or name other ones: --val_data_path."
        )
    return training, last


def list_windows(root: Path, gaps: Sequence[int]) -> list[ClipWindow]:
    """List the windows of all scenes that are long enough for a gap."""
    if not gaps or min(gaps) < 1:
        raise ValueError(f"data.gaps are whole numbers from 1 up, got {tuple(gaps)}.")
    width = 2 * max(gaps) + 1
    windows = []
    for clip in scan_clips(root):
        for scene in clip.scenes:
            if len(scene) <= 2 * min(gaps):
                continue
            stop = max(scene.start + 1, scene.stop - width + 1)
            windows += [
                ClipWindow(clip, range(first, min(first + width, scene.stop)))
                for first in range(scene.start, stop, max(gaps))
            ]
    if not windows:
        raise VideoError(
            f"No scene of {root} has the {2 * min(gaps) + 1} frames of a triplet at gap "
            f"{min(gaps)}: add footage, or take a smaller gap."
        )
    return windows


@lru_cache(maxsize=4)
def scan_clips(root: Path) -> tuple[Clip, ...]:
    """Find the clips of a folder and their scenes; every frame is decoded once."""
    readers = find_frame_readers([root])
    clips = [scan_clip(one) for one in tqdm(readers, "detecting cuts", unit="clip", leave=False)]
    frames = sum(len(scene) for clip in clips for scene in clip.scenes)
    scenes = sum(len(clip.scenes) for clip in clips)
    logger.info("%s: %d clips, %d scenes, %d frames", root, len(clips), scenes, frames)
    return tuple(clips)


def scan_clip(reader: FrameReader) -> Clip:
    """Detect the scenes of a clip."""
    pts: list[int | None] = []
    starts = []
    for number, (_, begins) in enumerate(detect_cuts(_subsample(reader, pts), lambda item: item)):
        if begins or number == 0:
            starts.append(number)
    ends = [*starts[1:], len(pts)]
    scenes = tuple(map(range, starts, ends))
    known = tuple(one for one in pts if one is not None)
    is_seekable = len(known) == len(pts) and len(set(known)) == len(known)
    return Clip(reader, scenes, known if is_seekable else None)


def _subsample(reader: FrameReader, pts: list[int | None]) -> Iterator[Tensor]:
    """Yield small frames (1, 3, h, w), and append the pts of each to a list."""
    if isinstance(reader, VideoReader):
        pictures = ((picture.pts, to_rgb_samples(picture)) for picture in reader.decode())
    else:
        pictures = ((None, samples) for _, samples in reader.read_samples())
    for value, samples in pictures:
        pts.append(value)
        step = max(1, samples.shape[0] // CUT_DETECTION_SIDE)
        yield as_frame(samples[::step, ::step])[None]


def decode_from(
    path: Path, first: int, pts: Sequence[int] | None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield number and picture of the frames of a video, from number `first` or earlier on."""
    numbers = {} if pts is None else {value: number for number, value in enumerate(pts)}
    with open_input(path) as container:
        stream = choose_video_stream(path, container)
        if pts is not None and first:
            container.seek(pts[first], stream=stream)  # to the keyframe before it
            decoded = _number_pictures(container.decode(stream), numbers)
            start = next(decoded, None)
            if start is not None and start[0] <= first:
                yield start
                yield from decoded
                return
    with open_input(path) as container:  # from the start
        yield from enumerate(container.decode(choose_video_stream(path, container)))


def _number_pictures(
    pictures: Iterator[av.VideoFrame], numbers: dict[int, int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the pictures whose pts is known, with their number."""
    for picture in pictures:
        number = numbers.get(picture.pts) if picture.pts is not None else None
        if number is not None:
            yield number, picture
