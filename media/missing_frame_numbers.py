"""The numbers in the names of image files: which frames of a sequence are missing."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median_low

MAX_SHARE = 10  # positions per image; sparser numbers do not count frames
NAMED_GAPS = 4


def find_positions(paths: Sequence[Path]) -> list[int]:
    """Return the position of each image in its sequence, from 0, so that missing ones are skipped.

    The names must be equal but for one number that grows in whole multiples of its usual step.
    Other images follow each other without a gap.
    """
    in_order = list(range(len(paths)))
    numbers = read_numbers(paths)
    steps = [after - before for before, after in pairwise(numbers)]
    usual = median_low(steps) if steps else 0
    if usual <= 0 or min(steps) <= 0 or any(step % usual for step in steps):
        return in_order
    positions = [(number - numbers[0]) // usual for number in numbers]
    is_sparse = positions[-1] >= MAX_SHARE * len(paths)
    return in_order if is_sparse or 2 * steps.count(usual) < len(steps) else positions


def read_numbers(paths: Sequence[Path]) -> list[int]:
    """Return the number by which the names differ; none if they differ otherwise."""
    parts = [re.split(r"(\d+)", path.name) for path in paths]
    if len({tuple(part[::2]) for part in parts}) != 1:
        return []
    columns = list(zip(*(part[1::2] for part in parts), strict=True))
    varying = [column for column in columns if len(set(map(int, column))) > 1]
    return list(map(int, varying[0])) if len(varying) == 1 else []


def describe_missing(paths: Sequence[Path], positions: Sequence[int]) -> str:
    """Return how many images are missing, and between which; "" if none."""
    gaps = [
        (after - before - 1, first.name, second.name)
        for (before, after), (first, second) in zip(
            pairwise(positions), pairwise(paths), strict=True
        )
        if after - before > 1
    ]
    if not gaps:
        return ""
    named = ", ".join(f"{count} from {a} to {b}" for count, a, b in gaps[:NAMED_GAPS])
    more = f" and {len(gaps) - NAMED_GAPS} more gaps" if len(gaps) > NAMED_GAPS else ""
    total = sum(count for count, *_ in gaps)
    return (
        f"{total} numbers are missing ({named}{more}); they count as time, and new frames fill it. "
        f"--no-fill_missing takes the images as neighbours"
    )
