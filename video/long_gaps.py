"""Held frames: gaps between source frames that are far longer than the usual one.

Screen recorders write no frame while nothing moves, and AVI files may hold empty frames. Such a
gap is no slow motion: the frame stands still, and the change happens within about one usual gap.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

from sgm_vfi.video.frame_schedule import NO_HOLDS

HOLD_GAPS = 5.0  # usual gaps; cameras that drop frames or slow down in the dark stay below
NAMED_HOLDS = 6  # in a plan; the receipt lists all


def find_usual_gap(timestamps: Sequence[Fraction]) -> Fraction:
    """Return the median time between consecutive frames, in seconds."""
    return median_low(after - before for before, after in pairwise(timestamps))


def find_holds(
    timestamps: Sequence[Fraction], hold_gaps: float = HOLD_GAPS
) -> Mapping[int, Fraction]:
    """Find the gaps in which the frame before is held.

    Args:
        timestamps: of source frames, in seconds; two or more.
        hold_gaps: how many usual gaps a gap lasts at most without a hold; 0: there are no holds.

    Returns: by the index of the frame after each hold, when motion towards it begins: one usual gap
    before it appears.
    """
    if not hold_gaps:
        return NO_HOLDS
    usual = find_usual_gap(timestamps)
    longest = usual * Fraction(hold_gaps)
    return {
        index: after - usual
        for index, (before, after) in enumerate(pairwise(timestamps), start=1)
        if after - before > longest
    }


def describe_holds(
    timestamps: Sequence[Fraction], holds: Mapping[int, Fraction], hold_gaps: float
) -> str:
    """Return how many frames are held, from when and how long, and how to change that."""
    spans = [(timestamps[index - 1], motion) for index, motion in holds.items()]
    named = ", ".join(
        f"{float(motion - begin):.2f} s from {float(begin):.2f}"
        for begin, motion in spans[:NAMED_HOLDS]
    )
    more = f" and {len(spans) - NAMED_HOLDS} more" if len(spans) > NAMED_HOLDS else ""
    total = float(sum(motion - begin for begin, motion in spans))
    usual = float(find_usual_gap(timestamps))
    return (
        f"{len(spans)}, {total:.2f} s in all: {named}{more}. These gaps are over {hold_gaps:g} "
        f"times the usual {usual:.3g} s: motion takes the last {usual:.3g} s of each (--hold_gaps)"
    )
