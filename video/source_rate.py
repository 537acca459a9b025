"""The usual rate of a source."""

from fractions import Fraction

from sgm_vfi.video.source_video import SourceVideo

MAX_RATE_ERROR = Fraction(1, 200)  # of the rate that a header states


def find_usual_rate(source: SourceVideo) -> Fraction:
    """Return the rate of the header if it is about that of the frames, else theirs."""
    stated = source.header.frame_rate
    is_right = stated and abs(stated / source.frame_rate - 1) < MAX_RATE_ERROR
    return stated if stated and is_right else source.frame_rate
