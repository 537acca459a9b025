"""Scenes that are used several times, for devices that train faster than they render."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from sgm_vfi.dataset.triplet import GroundTruth, Triplet
from sgm_vfi.dataset.triplet_sampling import build_generator

if TYPE_CHECKING:
    from sgm_vfi.dataset.data_config_and_loaders import BatchLoader


class ReusingLoader:
    """Yields every batch of a loader, and after each one further batches of scenes seen so far.

    Scenes are drawn at random from those of the same epoch. Equal epochs are equal, also after a
    resume, which renders the scenes before it again.

    Args:
        loader: of training batches.
        reuse: number of batches for each batch of `loader`.
        seed: of the draw.
    """

    def __init__(self, loader: "BatchLoader", reuse: int, seed: int) -> None:
        self.loader, self.reuse, self.seed = loader, reuse, seed
        self.batch_size = loader.batch_size
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`."""
        self.epoch, self.start = epoch, start
        self.loader.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of batches of the next iteration."""
        return max(self.reuse * len(self.loader) - self.start, 0)

    def __iter__(self) -> Iterator[Triplet]:
        kept: list[Triplet] = []
        for number, batch in enumerate(self.loader):
            kept.append(compress_scenes(batch))
            random = build_generator("order", self.seed, self.epoch, number)
            numbers, places = (
                random.integers(highest, size=(self.reuse, self.batch_size))
                for highest in (len(kept), self.batch_size)
            )
            for turn in range(max(self.start - self.reuse * number, 0), self.reuse):
                yield pick_scenes(kept, numbers[turn], places[turn]) if turn else batch


def compress_scenes(batch: Triplet) -> Triplet:
    """Convert frames and visibility to bytes, and flows to half precision."""
    frame0, target, frame1 = ((frame * 255).round().byte() for frame in batch[:3])
    truth = batch.truth and GroundTruth(
        *(part.half() for part in batch.truth[:4]), *(part.byte() for part in batch.truth[4:])
    )
    return Triplet(frame0, target, frame1, batch.time, truth)


def pick_scenes(
    batches: Sequence[Triplet], numbers: Sequence[int], places: Sequence[int]
) -> Triplet:
    """Build a batch of scenes, each given by its batch and its place in it, as floats."""
    scenes = [
        [field[place] for field in (*batches[number][:4], *(batches[number].truth or ()))]
        for number, place in zip(numbers, places, strict=True)
    ]
    frame0, target, frame1, time, *truth = (
        torch.stack(fields) for fields in zip(*scenes, strict=True)
    )
    known = GroundTruth(*(field.float() for field in truth)) if truth else None
    return Triplet(frame0, target, frame1, time, known).to(time.device)
