"""Which frames of footage are predicted from which."""

import weakref
from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.benchmark.protocol_and_footage_samples import select_targets, subsample
from sgm_vfi.media.frame_readers import FrameReader, FrameReaderInfo, ImageFolderReader


@given(st.integers(1, 60), st.lists(st.integers(1, 12), min_size=1, unique=True), st.integers(1, 9))
def test_models_and_gaps_share_their_targets(length: int, gaps: list[int], limit: int) -> None:
    clip = ImageFolderReader("clip", Path())
    everything = select_targets(clip, FrameReaderInfo(length, 4, 4, 8), gaps, None)
    assert everything.gaps == tuple(gap for gap in gaps if 2 * gap + 1 <= length)
    if everything.gaps:
        reach = max(everything.gaps)
        assert everything.targets == tuple(range(reach, length - reach))
        assert min(everything.frame_numbers) == 0
        assert max(everything.frame_numbers) == length - 1
    else:
        assert everything.num_triplets == 0
    some = select_targets(clip, FrameReaderInfo(length, 4, 4, 8), gaps, limit)
    assert len(some.targets) == min(limit, len(everything.targets))
    assert set(some.targets) <= set(everything.targets)


@given(st.integers(1, 500), st.integers(1, 50))
def test_a_limit_spreads_evenly(length: int, limit: int) -> None:
    chosen = subsample(range(length), limit)
    assert len(chosen) == len(set(chosen)) == min(length, limit)
    steps = np.diff([-chosen[0] - 1, *chosen, 2 * length - 1 - chosen[-1]])  # ends are mirrors
    assert steps.max() - steps.min() <= 2


def test_a_limit_by_hand() -> None:
    assert subsample(range(10), 1) == [5]
    assert subsample(range(10), 2) == [2, 7]
    assert subsample(range(2, 12), 5) == [3, 5, 7, 9, 11]


class Counted(FrameReader):
    """Frames that show their own number."""

    LENGTH = 30

    def probe(self) -> FrameReaderInfo:
        return FrameReaderInfo(self.LENGTH, 2, 2, 8)

    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        raise AssertionError

    def read_frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, Tensor]]:
        for index in range(self.LENGTH):
            if wanted is None or index in wanted:
                yield index, torch.full((3, 2, 2), index / 255)


@pytest.mark.parametrize("limit", [None, 3])
def test_triplets_are_the_frames_they_say(limit: int | None) -> None:
    clip = Counted("clip", Path())
    plan = select_targets(clip, clip.probe(), (1, 4), limit)
    seen = []
    for gap, frame, triplet in plan.read_triplets():
        seen.append((gap, frame))
        numbers = [(part * 255).round().unique().item() for part in triplet[:3]]
        assert numbers == [frame - gap, frame, frame + gap]
        assert triplet.frame0.shape == (1, 3, 2, 2)
        assert triplet.time.item() == 0.5
    assert sorted(seen) == sorted((gap, frame) for gap in (1, 4) for frame in plan.targets)


def test_only_the_frames_between_are_held() -> None:
    """However long the clip: at gap 3 there are seven, and the next one."""
    alive: list[weakref.ref[Tensor]] = []

    class Watched(Counted):
        def read_frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, Tensor]]:
            for index in range(self.LENGTH):
                frame = torch.zeros(3, 2, 2)
                alive.append(weakref.ref(frame))
                yield index, frame
                del frame

    clip = Watched("clip", Path())
    most = 0
    for _ in select_targets(clip, clip.probe(), (1, 3), None).read_triplets():
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) == Counted.LENGTH
    assert most <= 8
