"""Small random changes of colour, the same for all frames of a triplet."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Change = Callable[[Tensor], Tensor]


def jitter_colours(
    images: Sequence[np.ndarray], amount: float, random: np.random.Generator
) -> list[np.ndarray]:
    """Change brightness, contrast, saturation and hue, in random order, as torchvision does it.

    Args:
        amount: the first three by factors of 1 - amount to 1 + amount; hue by that share of the
            circle, at most 1/2, either way.

    Shapes: (H, W, 3) each, RGB bytes -> the same.
    """
    from torchvision.transforms import functional as colours

    scales = (colours.adjust_brightness, colours.adjust_contrast, colours.adjust_saturation)
    factors = random.uniform(1 - amount, 1 + amount, len(scales))
    turn = random.uniform(-amount, amount)
    changes: list[Change] = [
        lambda x, change=change, factor=factor: change(x, factor)
        for change, factor in zip(scales, factors, strict=True)
    ]
    changes.append(lambda x: colours.adjust_hue(x, turn))
    order = random.permutation(len(changes))
    return [_apply_changes(image, [changes[i] for i in order]) for image in images]


def _apply_changes(image: np.ndarray, changes: Sequence[Change]) -> np.ndarray:
    frame = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)
    for change in changes:
        frame = change(frame)
    return frame.movedim(0, -1).numpy()
