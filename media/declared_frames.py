"""The number of frames that a file promises."""

from fractions import Fraction

import av


class DeclaredFrames:
    """The number of frames that a header declares, without those that are meant to be missing.

    Edit lists hide frames that the decoder drops. AVI counts empty frames, which repeat the one
    before; the timestamps leave room for them.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self.declared = stream.frames
        self.rate = stream.average_rate or 0
        self.num_hidden = 0
        self.span: tuple[Fraction, Fraction] | None = None  # of shown frames, in seconds

    def add(self, packet: av.Packet) -> None:
        """Take a packet into account."""
        self.num_hidden += packet.is_discard
        if packet.pts is not None and not packet.is_discard:
            timestamp = packet.pts * packet.time_base
            first, last = self.span or (timestamp, timestamp)
            self.span = min(first, timestamp), max(last, timestamp)

    @property
    def count(self) -> int:
        """The number of declared frames; 0 if the timestamps span as many."""
        count = self.declared - self.num_hidden
        is_spanned = self.span and (self.span[1] - self.span[0]) * self.rate + 1 >= count
        return 0 if is_spanned else count
