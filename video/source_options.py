"""Options that say which frames of the input a video job uses, and in which size."""

from dataclasses import dataclass, field
from fractions import Fraction

from sgm_vfi.video.input_frame_size import parse_max_size
from sgm_vfi.video.options_from_dataclass_fields import option, parse_rate
from sgm_vfi.video.trim import Position, Trim, parse_position


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Which frames of the input are used."""

    rate: Fraction | int | None = field(
        default=None,
        metadata=option(
            "frames per second of a folder of images that becomes a video (default: it stays a "
            "folder)",
            metavar="R",
            parse=parse_rate,
            is_common=True,
        ),
    )
    start: Position | None = field(
        default=None,
        metadata=option(
            "use the video from here on: seconds (75.5), timecode (00:01:15.500) or frame (120f); "
            "sound, subtitles and chapters too (default: its start)",
            metavar="POSITION",
            parse=parse_position,
            changes_frames=False,  # the start and the number of frames are saved instead
            for_pipes=True,
            is_common=True,
        ),
    )
    end: Position | None = field(
        default=None,
        metadata=option(
            "use the video up to here, without the frame that is shown then (default: its end)",
            metavar="POSITION",
            parse=parse_position,
            changes_frames=False,
            for_pipes=True,
            is_common=True,
        ),
    )
    max_size: tuple[int, int] | None = field(
        default=None,
        metadata=option(
            "scale frames down to fit, before anything is interpolated: pixels of the longer side "
            "(1280) or WIDTHxHEIGHT (1280x720) (default: as they are)",
            metavar="SIZE",
            parse=parse_max_size,
            for_pipes=True,
            is_common=True,
        ),
    )
    stream: int | None = field(
        default=None,
        metadata=option(
            "index of the video stream to read, from 0 as ffprobe counts (default: the one that "
            "players show)",
            metavar="N",
            parse=int,
            for_pipes=True,
        ),
    )
    follow_playlists: bool = field(
        default=False,
        metadata=option(
            "read a playlist or concat script (.m3u8, ffconcat) and the local files it names",
            for_pipes=True,
        ),
    )
    fill_missing: bool = field(
        default=True,
        metadata=option(
            "folders: numbers that are missing in the names count as time, and new frames fill it",
            for_videos=False,
        ),
    )

    @property
    def trim(self) -> Trim:
        """The part of the video that is used."""
        return Trim(self.start, self.end)
