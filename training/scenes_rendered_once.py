"""Synthetic scenes that are rendered once and reused, for training where rendering takes long."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from tqdm import tqdm

from sgm_vfi.dataset.data_config_and_loaders import DataConfig, LoaderShard, build_loader
from sgm_vfi.dataset.synthetic.scene_reuse import compress_scenes
from sgm_vfi.dataset.triplet import GroundTruth, Triplet
from sgm_vfi.dataset.triplet_sampling import build_generator
from sgm_vfi.storage.atomic_write import replace_atomically

RENDER_BATCH = 8
EASIEST = 0.2  # share of the scenes that a curriculum of motion begins with


class RenderedScenes:
    """Loads batches of scenes from memory; has the interface of `BatchLoader`.

    Args:
        scenes: as `load_or_render` returns them.
        epoch_size: number of scenes in an epoch, drawn at random from all.
        seed: of the order; None: all scenes in their order, as validation needs them.
        growing: epochs of a curriculum: scenes of small motion come first, and the share of the
            scenes that are drawn from grows linearly to all of them.
        scale: that the scenes are resized by.
    """

    def __init__(
        self,
        scenes: Triplet,
        batch_size: int,
        epoch_size: int,
        *,
        seed: int | None = None,
        growing: int = 0,
        scale: float = 1.0,
    ) -> None:
        self.scenes, self.batch_size, self.epoch_size = scenes, batch_size, epoch_size
        self.seed, self.growing, self.scale = seed, growing, scale
        self.epoch = self.start = 0
        motion = scenes.require_truth().flow_01.float().norm(dim=1).flatten(1).quantile(0.95, dim=1)
        self.by_motion = motion.argsort()

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        """Return the number of batches of the next iteration."""
        return max(self.epoch_size // self.batch_size - self.start, 0)

    def __iter__(self) -> Iterator[Triplet]:
        batches = self._order().split(self.batch_size)
        for chosen in batches[self.start : self.start + len(self)]:
            batch = tree_map(lambda field, chosen=chosen: field[chosen], self.scenes)
            truth = GroundTruth(*(field.float() for field in batch.require_truth()))
            yield batch._replace(truth=truth).to(truth.flow_01.device).resized(self.scale)

    def _order(self) -> Tensor:
        """Return the scenes of this epoch, as indices."""
        if self.seed is None:
            return torch.arange(len(self.by_motion))
        share = (
            1.0
            if self.epoch >= self.growing
            else EASIEST + (1 - EASIEST) * self.epoch / self.growing
        )
        allowed = self.by_motion[: round(share * len(self.by_motion))].numpy()
        random = build_generator("order", self.seed, self.epoch)
        return torch.from_numpy(random.choice(allowed, self.epoch_size))


def load_or_render(path: Path, data: DataConfig, *, training: bool) -> Triplet:
    """Load the scenes of a file, or render an epoch of scenes into it.

    Frames are bytes; true motion has half precision.

    Shapes: N scenes as one batch.
    """
    if path.is_file():
        frame0, target, frame1, time, *truth = torch.load(path, weights_only=True)
        return Triplet(frame0, target, frame1, time, GroundTruth(*truth))
    loader = build_loader(data, RENDER_BATCH, LoaderShard(torch.device("cpu")), training=training)
    batches = [compress_scenes(batch) for batch in tqdm(loader, desc=path.stem, disable=None)]
    scenes: Triplet = tree_map(lambda *parts: torch.cat(parts), batches[0], *batches[1:])
    with replace_atomically(path) as file:
        torch.save([*scenes[:4], *scenes.require_truth()], file)
    return scenes
