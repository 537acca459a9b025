"""Segments of a job, and the ranks that share the work."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.storage.file_lock import FileLock, read_owner
from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.work_folder import UnfinishedWorkError, WorkFolder

POLL_SECONDS = 0.2  # between looks at the progress of other ranks


class Segment(NamedTuple):
    """Consecutive output frames that are encoded together."""

    number: int  # of its first output frame, from 0
    output_frames: tuple[OutputFrame, ...]


def split_segments(
    output_frames: Iterable[OutputFrame],
    scenes: Container[int],
    length: int,
    first: int | None = None,
) -> Iterator[Segment]:
    """Split output frames into segments.

    A segment ends before a source frame: the first one after `length` output frames, or one that
    begins a scene after half of that.

    Args:
        scenes: source frames that begin a scene.
        first: length of the first segment, if it differs.
    """
    number = 0
    pending: list[OutputFrame] = []
    for output_frame in output_frames:
        is_new = pending and output_frame.left != pending[-1].left
        wanted = first if first is not None and number == 0 else length
        enough = wanted // 2 if output_frame.left in scenes else wanted
        if is_new and len(pending) >= enough:
            yield Segment(number, tuple(pending))
            number, pending = number + len(pending), []
        pending.append(output_frame)
    yield Segment(number, tuple(pending))


class SegmentRank(NamedTuple):
    """The rank of this process among those that work on one job, as torchrun counts them.

    Rank r of n makes every n-th segment from the r-th on. Ranks share the work folder and nothing
    else; rank 0 holds the lock of the job for all, waits for all segments and joins them.
    """

    rank: int = 0
    world_size: int = 1
    group: str = ""  # tells the ranks of one torchrun from those of another

    def owned(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        """Yield the segments of the job that this rank makes."""
        return islice(segments, self.rank, None, self.world_size)

    def lock(self, path: Path, output: Path) -> AbstractContextManager[object]:
        """Return the lock of a job as a context; ranks but the first rely on that of rank 0."""
        return nullcontext() if self.rank > 0 else FileLock(path, output, self.group)

    def wait_for_main(self, work: WorkFolder, lock: Path, is_done: Callable[[], bool]) -> bool:
        """Wait until rank 0 has the lock and has opened the work folder.

        Args:
            is_done: whether the job is finished, as rank 0 may find that nothing is missing.

        Returns: whether there is work.
        """
        while read_owner(lock).get("group") != self.group or not work.is_open():
            if is_done():
                return False
            time.sleep(POLL_SECONDS)
        return True

    def open(
        self,
        work: WorkFolder,
        settings: dict[str, Any],
        *,
        must_exist: bool = False,
        restart: bool = False,
    ) -> None:
        """Open the work folder.

        Raises:
            UnfinishedWorkError: as `WorkFolder.open`; or several ranks were told to restart.
        """
        if restart and self.world_size > 1:
            raise UnfinishedWorkError(
                f"--restart is for one process: another might be at work already. "
                f"Delete {work.folder} first."
            )
        work.open(settings, must_exist=must_exist and self.rank == 0, restart=restart)
        if self.world_size == 1:
            work.discard_all()


def read_segment_rank(environment: Mapping[str, str]) -> SegmentRank:
    """Return the rank that torchrun sets in the environment, or the only one."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")
    return SegmentRank(
        int(environment.get("RANK", 0)),
        int(environment.get("WORLD_SIZE", 1)),
        " ".join(environment.get(name, "") for name in names),
    )
