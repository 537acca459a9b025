"""How fast samples can be had."""

import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import torch

from sgm_vfi.dataset.packed_cache import PackedFrameStack
from sgm_vfi.dataset.synthetic import SyntheticConfig, SyntheticLoader
from sgm_vfi.dataset.triplet_sampling import SampleKey


def measure_reading(module: ModuleType, root: Path, samples: int, crop: int | None) -> str:
    """Read training samples on one core, as one worker does, each a different one if there are."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    augmentation = module.PUBLISHED_AUGMENTATION
    dataset = module.build_training_set(root, replace(augmentation, crop=crop or augmentation.crop))
    dataset[SampleKey(0)]  # opens and imports what is opened and imported once
    start, busy = time.perf_counter(), time.process_time()
    for number in range(samples):
        dataset[SampleKey(number % len(dataset), epoch=number // len(dataset))]
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    kind = "packed" if isinstance(dataset.stacks[0], PackedFrameStack) else "image files"
    return (
        f"{module.NAME}, {kind}, crops of {dataset.augmentation.crop}: {samples / seconds:.1f} "
        f"samples/s on one core, {samples / busy:.1f} per second of CPU time ({samples} samples)"
    )


def measure_rendering(
    config: SyntheticConfig, batch_size: int, samples: int, device: torch.device | str
) -> str:
    """Render training batches."""
    loader = SyntheticLoader(config, samples + batch_size, batch_size, device=device)
    batches = iter(loader)
    last = next(batches)
    synchronise(last.frame0)
    start, busy = time.perf_counter(), time.process_time()
    rendered = 0
    for last in batches:
        rendered += len(last.time)
    synchronise(last.frame0)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    height, width = config.size
    return (
        f"synthetic, {width}x{height}, batches of {batch_size}: {rendered / seconds:.1f} samples/s "
        f"on {device} with {torch.get_num_threads()} CPU threads, {rendered / busy:.1f} per second "
        f"of CPU time ({rendered} samples)"
    )


def synchronise(tensor: torch.Tensor) -> None:
    """Wait until a tensor has been computed."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
