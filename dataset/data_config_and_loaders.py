"""Configuration of training and validation data, and the loaders built from it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Literal, Protocol

import torch

from sgm_vfi.dataset import footage, gopro, vimeo90k, x4k1000fps
from sgm_vfi.dataset.augment import IFRNET_AUGMENTATION, PERVFI_AUGMENTATION, Augmentation
from sgm_vfi.dataset.loader import TripletLoader
from sgm_vfi.dataset.synthetic import ReusingLoader, SyntheticConfig, SyntheticLoader
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.dataset.triplet_sampling import FixedTriplets, TrainingTriplets

MODULES = {"vimeo90k": vimeo90k, "x4k1000fps": x4k1000fps, "gopro": gopro, "footage": footage}
AUGMENTATIONS = {"ifrnet": IFRNET_AUGMENTATION, "pervfi": PERVFI_AUGMENTATION}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Configuration of training and validation data."""

    source: Literal["vimeo90k", "x4k1000fps", "gopro", "footage", "synthetic"] = "vimeo90k"
    train_path: str | None = None  # a data set's root; of X4K1000FPS the folder of the split
    val_path: str | None = None
    need_patch: bool = True  # train on random crops, not on whole frames
    patch_size: int = 256  # of crops; of synthetic scenes; of X4K1000FPS also in validation
    gaps: tuple[int, ...] = (1,)  # of footage: frames from either input to the middle one
    augmentation: Literal["published", "ifrnet", "pervfi"] = (
        "published"  # "published": that of the data set
    )
    any_time: bool = False  # targets at any time, not only 0.5
    workers: int = 8  # loading processes per training process
    scenes: SyntheticConfig = field(default_factory=SyntheticConfig)  # size: patch_size instead
    train_scenes: int = 8000  # synthetic scenes per epoch, over all processes
    reuse: int = 1  # times that a synthetic scene is trained on in its epoch, in a random order
    val_scenes: int = 100  # also the most windows of footage
    truth: bool = False  # load ground-truth flow (synthetic scenes only)
    overfit: int = 0  # steps per epoch on the first validation batch; 0 disables it

    def __post_init__(self) -> None:
        if self.truth and self.source != "synthetic":
            raise ValueError(
                f"Only synthetic scenes have true motion, got source {self.source}. "
                f"Use --synthetic."
            )
        default = SyntheticConfig()
        if (self.scenes.size, self.scenes.any_time) != (default.size, default.any_time):
            raise ValueError(
                "Synthetic scenes take their size from data.patch_size and their times from "
                "data.any_time: set these, not scenes.size and scenes.any_time."
            )


class BatchLoader(Protocol):
    """Interface of loaders: batches of this process's shard of an epoch."""

    batch_size: int

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Triplet]: ...


class RepeatingLoader:
    """Repeats the first batch of another loader, for an overfitting test."""

    def __init__(self, loader: BatchLoader, batches: int) -> None:
        self.batch_size = loader.batch_size
        loader.set_epoch(0)
        self.batch = next(iter(loader))
        self.batches = batches
        self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start`; all epochs are equal."""
        self.start = start

    def __len__(self) -> int:
        return max(self.batches - self.start, 0)

    def __iter__(self) -> Iterator[Triplet]:
        return islice(repeat(self.batch), len(self))


@dataclass(frozen=True)
class LoaderShard:
    """The shard of a loader: process `rank` of `world`, with batches for `device`."""

    device: torch.device
    rank: int = 0
    world: int = 1
    seed: int = 0


def build_loader(
    config: DataConfig, batch_size: int, shard: LoaderShard, *, training: bool
) -> BatchLoader:
    """Build the training or validation loader.

    Raises:
        ValueError, FileNotFoundError: data are missing or damaged.
    """
    if config.overfit:
        loader = _build_loader(config, batch_size, shard, training=False)
        return RepeatingLoader(loader, config.overfit if training else 1)
    return _build_loader(config, batch_size, shard, training=training)


def _build_loader(
    config: DataConfig, batch_size: int, shard: LoaderShard, *, training: bool
) -> BatchLoader:
    if config.source == "synthetic":
        size = (config.patch_size, config.patch_size)
        loader = SyntheticLoader(
            replace(config.scenes, size=size, any_time=config.any_time),
            config.train_scenes if training else config.val_scenes,
            batch_size,
            device=shard.device,
            truth=config.truth,
            rank=shard.rank,
            world=shard.world,
            seed=shard.seed,
            training=training,
        )
        is_reused = training and config.reuse > 1
        return ReusingLoader(loader, config.reuse, shard.seed) if is_reused else loader
    dataset = _training_set(config) if training else _validation_set(config)
    return TripletLoader(
        dataset,
        batch_size,
        workers=config.workers,
        pin_memory=shard.device.type == "cuda",
        rank=shard.rank,
        world=shard.world,
        seed=shard.seed,
        training=training,
    )


def _training_set(config: DataConfig) -> TrainingTriplets:
    root = _root(config.train_path, "train", config)
    augmentation = build_augmentation(config)
    if config.source == "footage":
        return footage.build_training_set(
            root,
            augmentation,
            gaps=config.gaps,
            any_time=config.any_time,
            holds_validation=config.train_path == config.val_path,
        )
    return MODULES[config.source].build_training_set(root, augmentation, any_time=config.any_time)


def build_augmentation(config: DataConfig) -> Augmentation:
    """Return the augmentation of a data set of files."""
    published = MODULES[config.source].PUBLISHED_AUGMENTATION
    crop = config.patch_size if config.need_patch else None
    return replace(AUGMENTATIONS.get(config.augmentation, published), crop=crop)


def _validation_set(config: DataConfig) -> FixedTriplets:
    root = _root(config.val_path, "val", config)
    if config.source == "x4k1000fps":
        return x4k1000fps.build_validation_set(root, config.patch_size)
    if config.source == "footage":
        return footage.build_validation_set(
            root,
            gaps=config.gaps,
            any_time=config.any_time,
            holds_training=config.train_path == config.val_path,
            crop=config.patch_size,
            limit=config.val_scenes,
        )
    if config.source == "gopro":
        return gopro.build_validation_set(root)
    return vimeo90k.build_validation_set(root, any_time=config.any_time)


def _root(path: str | None, split: str, config: DataConfig) -> Path:
    if path is None:
        raise ValueError(
            f"The path of {config.source} is missing. Give --data_path or --{split}_data_path, "
            f"or train on synthetic scenes: --synthetic."
        )
    return Path(path)
