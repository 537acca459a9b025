"""Networks that look around are shown the frames before and after a pair, if of use."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.baselines.repeat_and_blend import Blend, FramePair
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import Interpolator, time_like
from sgm_vfi.video import EncodingOptions, Target, VideoOptions, interpolate, interpolate_file
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator, MemoryBudget
from sgm_vfi.video.output_timestamps import Timeline
from sgm_vfi.video.pipeline import find_needed_frames
from tests.fixtures.networks import small_raft_vfi
from tests.fixtures.videos import decode_samples, moving_frames, write_clip

HALF = Fraction(1, 2)
EXACT = VideoOptions(encoding=EncodingOptions(codec="ffv1", pix_fmt="yuv444p"))


class Looking(Blend):
    """Notes which of the known frames (3, H, W) it is shown."""

    uses_context_frames = True

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.known = torch.stack(known)
        self.shown: list[tuple[int | None, ...]] = []

    def number(self, frame: Tensor | None) -> int | None:
        """Of the known frame that this one is, but for rounding."""
        if frame is None:
            return None
        return int((self.known - frame).abs().mean(dim=(1, 2, 3)).argmin())

    def prepare(
        self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0, **around: Tensor | None
    ) -> FramePair:
        frames = (around.get("before"), frame0, frame1, around.get("after"))
        self.shown.append(tuple(map(self.number, frames)))
        return super().prepare(frame0, frame1, flow_scale)


def pan(count: int) -> list[Tensor]:
    """A picture that moves. Shapes: (3, 48, 64) each."""
    return [frame[0] for frame in moving_frames(count)]


Show = Callable[[Path, list[Tensor], VideoOptions, Interpolator], object]


def as_stream(
    folder: Path, frames: list[Tensor], options: VideoOptions, network: Interpolator
) -> None:
    list(interpolate(frames, options, rate=25, network=network))


def as_file(
    folder: Path, frames: list[Tensor], options: VideoOptions, network: Interpolator
) -> None:
    clip = write_clip(folder / "in.mkv", [x[None] for x in frames], codec="ffv1", pix_fmt="yuv444p")
    interpolate_file(clip, folder / "out.mkv", options, network=network)


@pytest.mark.parametrize("show", [as_stream, as_file])
def test_frames_around_are_shown_but_not_at_ends_nor_across_cuts(
    tmp_path: Path, show: Show
) -> None:
    frames = pan(7)
    frames[4:] = [1 - frame.flip(-2) for frame in frames[4:]]
    network = Looking(frames)
    show(tmp_path, frames, EXACT, network)
    assert network.shown == [
        (None, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, None), (None, 4, 5, 6), (4, 5, 6, None)
    ]  # fmt: skip


@pytest.mark.parametrize("show", [as_stream, as_file])
def test_repeats_are_not_taken_for_neighbours(tmp_path: Path, show: Show) -> None:
    """On twos, the frame before is the one that differs; overlays are found as ever."""
    ones = pan(4)
    options = replace(EXACT, dedup=True, protect_static=True)
    network = Looking(ones)
    show(tmp_path, [frame for frame in ones for _ in range(2)], options, network)
    end = (None, 3, 3, None)  # the last frame counts, be it a repeat
    assert network.shown == [(None, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, None), end]


def test_uneven_neighbours_are_of_no_use() -> None:
    """Of an interval twice as long nothing is learnt; what clocks round is even."""
    stamps = [Fraction(ms, 1000) for ms in (0, 17, 33, 50, 83, 100, 117)]
    frames = pan(7)
    network = Looking(frames)
    list(interpolate(zip(stamps, frames, strict=True), network=network))
    assert network.shown == [
        (None, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, None),
        (None, 3, 4, None), (None, 4, 5, 6), (4, 5, 6, None),
    ]  # fmt: skip
    timeline = Timeline(stamps, stamps[-1] + Fraction(17, 1000), Target(multi=2))
    told = [
        (m.before, m.left, m.right, m.after)
        for m in timeline.output_frames(uses_context_frames=True)
    ]
    assert told[2:8] == [
        (0, 1, 1, None), (0, 1, 2, 3), (1, 2, 2, None), (1, 2, 3, None),
        (None, 3, 3, None), (None, 3, 4, None),
    ]  # fmt: skip


def test_a_video_equals_the_network_asked_directly() -> None:
    """To the bit, though each frame is looked at once: what is known of a pair serves the next."""
    network = small_raft_vfi()
    frames = [frame[0] for frame in moving_frames(5, 40, 56)]
    shown = [timed.frame for timed in interpolate(frames, rate=25, network=network)]
    padded = Padded(network)
    batches = [None, *(frame[None] for frame in frames), None]
    with torch.inference_mode():
        for place in range(1, 5):
            before, frame0, frame1, after = batches[place - 1 : place + 3]
            state = padded.prepare(frame0, frame1, before=before, after=after)
            made = padded.interpolate(state, time_like(frame0, 0.5)).frame[0]
            assert torch.equal(shown[2 * place - 1], made)


@pytest.mark.parametrize("wrap", [Padded, FlipEnsemble])
def test_the_next_pair_costs_one_look_and_two_flows(
    wrap: Callable[[Interpolator], Interpolator],
) -> None:
    """RAFT's encoder sees the new frame alone, whichever pair comes next, with equal results."""
    network, frames = small_raft_vfi(), moving_frames(5, 64, 64)
    wrapped, passes = wrap(network), 2 if wrap is FlipEnsemble else 1
    looks: list[int] = []
    flows: list[int] = []
    raft = network.flow.network
    raft.feature_encoder.register_forward_pre_hook(lambda *_: looks.append(1))
    raft.mask_predictor.register_forward_pre_hook(lambda *_: flows.append(1))
    around = {"before": frames[1], "after": frames[4]}
    with torch.inference_mode():
        state = wrapped.prepare(*frames[1:3], before=frames[0], after=frames[3])
        looks.clear(), flows.clear()
        among = wrapped.advance(state, *frames[2:4], **around)
        assert (len(looks), len(flows)) == (passes, 2 * passes)
        last = wrapped.advance(among, *frames[3:], before=frames[2])
        assert (len(looks), len(flows)) == (passes, 3 * passes)
        smaller = wrapped.advance(state, *frames[2:4], 0.5, **around)
        for known, anew in (
            (among, wrapped.prepare(*frames[2:4], **around)),
            (last, wrapped.prepare(*frames[3:])),
            (smaller, wrapped.prepare(*frames[2:4], 0.5, **around)),
        ):
            time = time_like(frames[0], 0.25)
            assert torch.equal(
                wrapped.interpolate(known, time).frame, wrapped.interpolate(anew, time).frame
            )


def test_pieces_are_the_same_however_the_work_is_cut(tmp_path: Path) -> None:
    """A piece begins with the frame before its first, and ends with the frame after its last."""
    clip = write_clip(
        tmp_path / "in.mkv", moving_frames(6, 32, 48), codec="ffv1", pix_fmt="yuv444p"
    )
    made = []
    for length in (2, 240):
        options = replace(EXACT, segment_frames=length)
        interpolate_file(clip, tmp_path / f"{length}.mkv", options, network=small_raft_vfi())
        made.append(decode_samples(tmp_path / f"{length}.mkv"))
    assert made[0] == made[1]


def test_what_a_piece_reads() -> None:
    timeline = Timeline([Fraction(k) for k in range(30)], Fraction(30), Target(multi=2))
    one = [m for m in timeline.output_frames(uses_context_frames=True) if m.left == 12]
    segment = type("Segment", (), {"output_frames": one})
    assert [*find_needed_frames([segment])] == [11, 12, 13, 14]
    assert [*find_needed_frames([segment], num_history=4)] == [9, 10, 11, 12, 13, 14]


def test_no_more_frames_are_held_than_five() -> None:
    """Four for the pair and what is around it, and the one that is being read."""
    alive: list[weakref.ref] = []

    def frames() -> Iterator[Tensor]:
        for number in range(30):
            frame = torch.full((3, 16, 16), number / 255)
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(ref() is not None for ref in alive) <= 5

    network = Looking([torch.zeros(3, 16, 16)])
    for _ in interpolate(frames(), VideoOptions(cuts=False), rate=25, network=network):
        pass


def test_less_memory_keeps_the_frames_around() -> None:
    class Hungry(Looking):
        def prepare(self, *frames: Tensor, **around: Tensor | None) -> FramePair:
            if frames[2] > 0.5:
                raise torch.OutOfMemoryError("full")
            return super().prepare(*frames, **around)

    network = Hungry(pan(4))
    before, frame0, frame1, after = (frame[None] for frame in pan(4))
    interpolator = MemoryAwareInterpolator(network, MemoryBudget())
    interpolator.interpolate((0, 1), frame0, frame1, HALF, before=before, after=after)
    assert network.shown == [(0, 1, 2, 3)]
    assert interpolator.budget == MemoryBudget(0.5)
