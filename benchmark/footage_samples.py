"""Which frames of one's own footage are predicted, and from which."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import FrameError
from sgm_vfi.media.videos import FrameReader, FrameReaderInfo, VideoError
from sgm_vfi.model.interpolator import time_like


@dataclass(frozen=True)
class ClipSamples:
    """What is measured in one clip: every target at every gap."""

    clip: FrameReader
    survey: FrameReaderInfo
    gaps: tuple[int, ...]  # those that fit the clip
    targets: tuple[int, ...]  # the frames to predict, ascending

    @property
    def num_triplets(self) -> int:
        return len(self.gaps) * len(self.targets)

    @property
    def wanted(self) -> set[int]:
        """Every frame that is looked at."""
        steps = {0, *self.gaps, *(-gap for gap in self.gaps)}
        return {target + step for target in self.targets for step in steps}

    def triplets(self) -> Iterator[tuple[int, int, Triplet]]:
        """Gap, frame and triplet, one by one; frames (1, 3, H, W), time 1/2.

        The clip is read once for all gaps, and no more frames are held than lie between the
        outermost two of a triplet.
        """
        reach = max(self.gaps, default=0)
        targets, window = set(self.targets), {}
        for index, frame in self.clip.read_frames(self.wanted):
            window[index] = frame[None]
            target = index - reach
            if target in targets:
                middle = window[target]
                for gap in self.gaps:
                    before, after = window[target - gap], window[target + gap]
                    yield gap, target, Triplet(before, middle, after, time_like(middle, 0.5))
            window = {key: frame for key, frame in window.items() if key > target - reach}


def select_targets(
    clip: FrameReader, survey: FrameReaderInfo, gaps: Iterable[int], limit: int | None
) -> ClipSamples:
    """Choose the frames to predict: those with neighbours enough for the largest gap that fits.

    A clip that is too short for every gap gets none.
    """
    fitting = tuple(gap for gap in gaps if 2 * gap < survey.num_frames)
    reach = max(fitting, default=survey.num_frames)
    targets = spread(range(reach, survey.num_frames - reach), limit)
    return ClipSamples(clip, survey, fitting, tuple(targets))


def spread(items: Sequence[int], limit: int | None) -> list[int]:
    """At most `limit` of the items: the middle one of each of as many equal parts."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[(2 * part + 1) * len(items) // (2 * limit)] for part in range(limit)]


def survey_clips(clips: Sequence[FrameReader]) -> list[FrameReaderInfo]:
    """Look at every clip, and name all that are damaged at once, before any work is done."""
    surveys, problems = [], []
    for clip in tqdm(clips, desc="reading clips", unit="clip", leave=False):
        try:
            surveys.append(clip.probe())
        except (VideoError, FrameError) as error:
            problems.append(str(error))
    if problems:
        raise VideoError("\n".join(problems))
    return surveys
