"""Makes the missing segments of a job, with progress and the possibility to stop."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import Any

import torch

from sgm_vfi.storage.file_identity import require_unchanged
from sgm_vfi.video.compare_networks import ComparedNetwork, ComparingProducer
from sgm_vfi.video.comparison_views import REPEATED
from sgm_vfi.video.image_colour_tags import to_colour_chunks
from sgm_vfi.video.job_paths import is_folder
from sgm_vfi.video.job_plan import VideoPlan
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.pipeline import OutputWriter, run_pipeline
from sgm_vfi.video.produce_output_frames import FrameProducer, ProducedFrame
from sgm_vfi.video.progress_and_cancel import InterpolationCancelled, JobMonitor
from sgm_vfi.video.progress_bar import FrameBar
from sgm_vfi.video.segment_plan import (
    DEFAULT_FRAMES,
    FIRST_FRAMES,
    FIRST_GAPS,
    choose_length,
    count_finished,
    find_missing,
    find_records,
    read_length,
    select_missing,
    select_unfinished,
    wait_for_length,
    wait_for_segments,
    write_length,
)
from sgm_vfi.video.segment_writers import FolderWriter, SegmentWriter
from sgm_vfi.video.segments_and_ranks import Segment, SegmentRank
from sgm_vfi.video.time_estimate import find_explanation_names
from sgm_vfi.video.work_folder import WorkFolder


@dataclass
class SegmentMaker:
    """Makes the missing segments of one rank."""

    plan: VideoPlan
    interpolator: MemoryAwareInterpolator
    work: WorkFolder
    device: torch.device
    rank: SegmentRank
    monitor: JobMonitor
    bar: FrameBar | None = None
    compared: ComparedNetwork | None = None
    num_made: int = 0
    _times: list[float] = field(default_factory=list)  # when frames were written

    def run(self) -> int:
        """Make all missing segments and return how many frames they have.

        Raises:
            InterpolationCancelled: the monitor asked for it.
        """
        unfinished = list(
            map(self.plan.is_new, select_unfinished(self.plan.output_frames(), self.work))
        )
        ranks = self.rank.world_size  # which share the work
        if self.bar is not None:
            self.bar.begin(-(-len(unfinished) // ranks), -(-sum(unfinished) // ranks))
        num_frames = self.plan.timeline.num_frames
        self.monitor.start(num_frames - len(unfinished), num_frames)
        fixed = self.plan.options.segment_frames
        length = fixed or read_length(self.work)
        first = None if fixed else self._first_length()
        if length is None:
            is_main = self.rank.rank == 0
            length = self._measure_length() if is_main else wait_for_length(self.work)
        if length is not None:
            owned = self.rank.owned(self.plan.segments(length, first))
            self._make(find_missing(owned, self.work), length, first)
        return self.num_made

    def wait_for_all(self) -> dict[int, dict[str, Any]]:
        """Wait for the segments of all ranks, and return their records by number.

        Segments that were damaged meanwhile are made again.
        """
        num_frames = self.plan.timeline.num_frames
        wait_for_segments(self.work, num_frames)
        records = find_records(self.work, num_frames)
        if sum(record["frames"] for record in records.values()) < num_frames:
            whole = self.plan.segments(num_frames)
            self._make(find_missing(whole, self.work), num_frames, None)
            records = find_records(self.work, num_frames)
        return records

    def _first_length(self) -> int:
        """Return the length of the segment that measures the speed."""
        return max(FIRST_FRAMES, ceil(FIRST_GAPS * self.plan.options.target.frames_per_interval))

    def _measure_length(self) -> int:
        """Make the first segment, and return how long the others are."""
        first = self._first_length()
        head = islice(self.plan.segments(first), 1)
        self._make(find_missing(head, self.work), first, None)
        if self.bar is not None:
            self.bar.time_left.restart()  # decoding begins again
        length = DEFAULT_FRAMES
        if len(self._times) > 2:  # the first new frame also loads kernels and starts threads
            seconds = self._times[-1] - self._times[1]
            length = choose_length(seconds / (len(self._times) - 2))
        write_length(self.work, length)
        return length

    def _make(self, missing: dict[int, int], length: int, first: int | None) -> None:
        """Make what is missing of segments; see `find_missing`."""
        if not missing:
            return
        networks = [self.interpolator]
        networks += [self.compared.interpolator] if self.compared else []
        around = any(network.uses_context_frames for network in networks)

        def segments() -> Iterator[Segment]:
            """Iterate over the missing segments."""
            every = self.plan.segments(length, first, uses_context_frames=around)
            return select_missing(every, missing)

        names: tuple[str, ...] = ()
        if self.plan.options.explain:
            names = find_explanation_names(self.plan, self.interpolator, self.device)
        run_pipeline(
            self.plan.source,
            segments,
            self._build_producer(),
            lambda number: self._open_writer(number, names),
            self.work,
            self.device,
            num_history=self.plan.producer_options.num_history,
            progress=self._note,
            on_frame=self._count,
            before_finish=lambda: require_unchanged(self.plan.inputs),
            stop=self.monitor.is_cancelled,
        )
        if self.monitor.is_cancelled():
            raise self._build_error()

    def _build_producer(self) -> FrameProducer:
        options = self.plan.producer_options
        if self.compared is None:
            return FrameProducer(self.interpolator, options)
        return ComparingProducer(self.interpolator, options, self.compared)

    def _count(self) -> None:
        """Count a frame; end a segment of fixed length at once, as it cannot be cut short."""
        self.monitor.advance()
        if self.plan.options.segment_frames and self.monitor.is_cancelled():
            raise self._build_error()

    def _build_error(self) -> InterpolationCancelled:
        kept = sum(count_finished(self.work).values())
        return self.monitor.build_error(kept, self.work.folder)

    def _note(self, produced: ProducedFrame) -> None:
        self.num_made += 1
        self._times.append(time.perf_counter())
        if self.bar is not None:
            self.bar.advance(is_new=self.plan.is_new(produced.output_frame))

    def _open_writer(self, number: int, explained: tuple[str, ...]) -> OutputWriter:
        plan = self.plan
        if is_folder(plan.output):
            path = self.work.temporary_path(number)
            chunks = to_colour_chunks(plan.source.tags, plan.source.hdr_metadata)
            return FolderWriter(path, plan.encoding, plan.source.orientation, chunks)
        return SegmentWriter(
            {name: self.work.temporary_path(number, name) for name in plan.outputs},
            plan.encoding,
            layout=plan.options.compare or "side",
            labels=REPEATED if self.compared is None else self.compared.labels,
            orientation=plan.source.orientation,
            explained=explained,
        )
