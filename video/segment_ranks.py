"""Several processes, one per GPU perhaps, that work on one video: each takes its segments.

They meet in the folder of finished segments and nowhere else. Process r of n, as torchrun counts
them, makes every n-th segment from the r-th on; the first one waits for all and joins them.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.video.segments import UnfinishedWorkError, WorkFolder

PATIENCE = 0.2  # seconds between looks at what others have done


class SegmentRank(NamedTuple):
    """Which of several processes this is."""

    rank: int = 0
    world: int = 1

    def has(self, number: int) -> bool:
        """Whether a segment is this process's to make."""
        return number % self.world == self.rank


SINGLE_PROCESS = SegmentRank()


def read_segment_rank(environment: Mapping[str, str]) -> SegmentRank:
    """As torchrun says; one process is a world of one."""
    return SegmentRank(int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1)))


def enter(
    work: WorkFolder,
    settings: dict[str, Any],
    share: SegmentRank,
    output: Path,
    *,
    must_exist: bool = False,
    restart: bool = False,
) -> bool:
    """Open the place of work, in every process after the first.

    Returns: whether there is work; the first may have found all of it done.

    Raises:
        UnfinishedWorkError: as `WorkFolder.open`; or several processes were told to start again.
    """
    if restart and share.world > 1:
        raise UnfinishedWorkError(
            f"--restart is for one process: another might be at work already. "
            f"Delete {work.folder} first."
        )
    begun = time.time()
    while share.rank > 0 and not work.is_open():
        if output.exists() and output.stat().st_mtime > begun:
            return False
        time.sleep(PATIENCE)
    work.open(settings, must_exist=must_exist and share.rank == 0, restart=restart)
    return True


def wait_for_segments(work: WorkFolder, numbers: list[int]) -> None:
    """Wait until every segment is finished. Where a process fails, torchrun ends the others."""
    for number in numbers:
        while work.record(number) is None:
            time.sleep(PATIENCE)
