"""What a container can hold is tried before the work: a small file is written and read back.

The trial is made as the output is: with packets of the real streams, and with a trailer.
"""

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.stream import Discard, Disposition

from sgm_vfi.media.open_local_media import open_input
from sgm_vfi.video.encoder_choice import EncoderSettings
from sgm_vfi.video.metadata_tags import convert_timecode, copyable_tags, find_lost_keys, is_false
from sgm_vfi.video.mux import MP4, CopiedStreams, EncodedSegment, FrameClock, assemble
from sgm_vfi.video.other_streams import (
    OtherStream,
    demux_shown,
    describe_stream,
    find_dropped,
    read_streams,
)
from sgm_vfi.video.output_against_request import find_format_changes
from sgm_vfi.video.segment_encoder import SEGMENT_RATE, SegmentEncoder
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.trim import trim_packet

TRIAL_PACKETS = 8  # of each stream
WITHOUT_PACKETS = ("attachment", "cover")  # whose content is in the header


@dataclass(frozen=True)
class Trial:
    """Writes a file of one frame and a few packets of the copied streams."""

    source: SourceVideo
    encoding: EncoderSettings
    piece: Path  # one encoded frame
    file: Path
    num_packets: Mapping[int, int]  # in the trial, by the index of the stream

    def write(self, copied: CopiedStreams) -> None:
        """Write the file.

        Raises:
            ValueError or av.error.FFmpegError: the container refuses something.
        """
        clock = FrameClock(Fraction(1, SEGMENT_RATE), iter((0,)), 1)
        segments = [EncodedSegment(self.piece, 0)]
        assemble(self.file, self.source, segments, clock, copied, max_packets=self.num_packets)

    def holds(self, copied: CopiedStreams) -> bool:
        """Write the file, and return whether all copied streams are in it."""
        try:
            self.write(copied)
            found = read_streams(self.file)
        except (ValueError, av.error.FFmpegError):
            return False
        others = self.source.header.other_streams
        wanted = [
            (o.kind, o.codec, o.kind in WITHOUT_PACKETS or self.num_packets[o.index] > 0)
            for o in others
            if o.index in copied.streams
        ]
        return not Counter(wanted) - Counter(found)


def choose_copied_streams(
    source: SourceVideo,
    encoding: EncoderSettings,
    suffix: str,
    stretch: Fraction = Fraction(1),
    drop: Sequence[str] | None = None,
    stretches_sound: bool = False,
    sound_codecs: Collection[str] | None = None,
) -> CopiedStreams:
    """Find out what a container can hold beside the video, by writing trial files.

    Args:
        stretch: duration of the output over that of the source.
        drop: kinds and indices of streams that are left out.
        stretches_sound: encode sound again if it is to be stretched; else it is lost.
        sound_codecs: of sound that is copied; other sound is encoded again. None: all.

    Raises:
        ValueError: the container cannot hold the video itself.
    """
    header = source.header
    others, dropped = header.other_streams, find_dropped(header.other_streams, drop)
    sounds = [o for o in others if o.kind == "audio" and o.index not in dropped]
    if stretch == 1:
        sounds = [o for o in sounds if sound_codecs is not None and o.codec not in sound_codecs]
    encoded_again = tuple(o.index for o in sounds if stretch == 1 or stretches_sound)
    kept = [o for o in others if o.index not in (*dropped, *encoded_again) and stretch == 1]
    kept = [o for o in kept if not (source.trim and o.kind == "data")]
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(
            source,
            encoding,
            encode_one_frame(Path(folder, "piece.mkv"), source, encoding),
            Path(folder, f"trial{suffix}"),
            count_packets(source, [o.index for o in kept]),
        )
        copied = try_streams(trial, try_video(trial, stretch), kept)
        copied = try_metadata(trial, copied)
        changes = find_format_changes(trial.file, source, encoding)
        kinds = tuple(sorted(kind for kind, *_ in read_streams(trial.file)))
    explained = [f"{o}: left out by --drop" for o in others if o.index in dropped]
    for other in (o for o in others if o.index not in {*dropped, *encoded_again}):
        if why := explain_loss(other, trial, copied, stretch):
            explained.append(f"{other}: {why}")
    lost = (*dict.fromkeys((*source.header.lost, *changes)), *explained, *copied.lost)
    return replace(copied, encoded_again=encoded_again, lost=lost, kinds=kinds)


def explain_loss(other: OtherStream, trial: Trial, copied: CopiedStreams, stretch: Fraction) -> str:
    """Return why a stream beside the video is not copied; nothing if it is."""
    if trial.source.trim and other.kind == "data":
        return "it cannot be cut with the pictures"
    if stretch != 1:
        hint = "; --slow_sound keeps it" if other.kind == "audio" else ""
        return f"it is not slowed down with the pictures{hint}"
    if other.index in copied.streams:
        return ""
    suffix = trial.file.suffix
    if other.kind not in WITHOUT_PACKETS and not trial.num_packets[other.index]:
        return f"it has no samples, and {suffix} cannot hold such a stream"
    return f"{suffix} cannot hold it"


def encode_one_frame(path: Path, source: SourceVideo, encoding: EncoderSettings) -> Path:
    """Encode a grey frame, and return the path."""
    writer = SegmentEncoder(path, encoding)
    writer.write(torch.full((1, 3, source.height, source.width), 0.5))
    writer.close()
    return path


def count_packets(source: SourceVideo, indices: Collection[int]) -> dict[int, int]:
    """Count the packets of streams that are copied, up to `TRIAL_PACKETS` of each."""
    counts = dict.fromkeys(indices, 0)
    if not indices:
        return counts
    with source.open_file() as container:
        for stream in container.streams:
            if stream.index not in counts:
                stream.discard = Discard.all
        streams = [container.streams[index] for index in counts]
        for packet in demux_shown(container, streams):
            if source.trim and not trim_packet(packet, source.offset, source.end):
                continue
            if packet.size and counts[packet.stream.index] < TRIAL_PACKETS:
                counts[packet.stream.index] += 1
                if counts[packet.stream.index] == TRIAL_PACKETS:
                    packet.stream.discard = Discard.all
                if all(count == TRIAL_PACKETS for count in counts.values()):
                    break
    return counts


def try_video(trial: Trial, stretch: Fraction) -> CopiedStreams:
    """Try the video alone, with timecode and chapters if the container holds them.

    Raises:
        ValueError: the container cannot hold the video.
    """
    source, rate = trial.source, trial.encoding.frame_rate.limit_denominator(2**16)
    chapters, suffix = source.header.num_chapters, trial.file.suffix
    copied, lost = CopiedStreams(stretch=stretch, timecode_rate=rate), []
    if (before := source.header.timecode) is not None:
        after = convert_timecode(before, source.frame_rate, rate)
        if after is not None and trial.holds(replace(copied, timecode=after)):
            copied = replace(copied, timecode=after)
        else:
            lost.append(f"timecode {before}: {suffix} cannot hold it")
    if chapters:
        if trial.holds(replace(copied, chapters=True)):
            copied = replace(copied, chapters=True)
        else:
            lost.append(f"{chapters} chapters: {suffix} cannot hold them")
    try:
        trial.write(copied)
        read_streams(trial.file)
    except (ValueError, av.error.FFmpegError) as error:
        raise ValueError(
            f"{suffix} cannot hold {trial.encoding.encoder} ({error}). Name another --output, such "
            f"as .mkv, or another --codec."
        ) from error
    return replace(copied, lost=tuple(lost))


def try_streams(trial: Trial, copied: CopiedStreams, others: list[OtherStream]) -> CopiedStreams:
    """Try all streams together; if that fails, add one after the other and keep what is held."""
    every = replace(copied, streams=tuple(other.index for other in others))
    if not others or trial.holds(every):
        return every
    for other in others:
        more = replace(copied, streams=(*copied.streams, other.index))
        copied = more if trial.holds(more) else copied
    return copied


def try_metadata(trial: Trial, copied: CopiedStreams) -> CopiedStreams:
    """Find out which metadata the container holds, in MP4 with keys of any name if that helps."""
    trial.write(copied)
    lost = find_lost_metadata(trial, copied)
    any_keys = replace(copied, any_keys=True)
    if lost and trial.file.suffix.lower() in MP4 and trial.holds(any_keys):
        fewer = find_lost_metadata(trial, any_keys)
        if sum(map(len, fewer.values())) < sum(map(len, lost.values())):
            copied, lost = any_keys, fewer
    trial.write(copied)
    suffix = trial.file.suffix
    texts = [
        f"metadata of {scope}: {suffix} cannot hold {', '.join(keys)}"
        for scope, keys in lost.items()
    ]
    if copied.timecode is not None and not holds_timecode(trial.file, copied.timecode):
        texts.append(f"timecode {copied.timecode}: {suffix} cannot hold it")
    return replace(copied, lost=(*copied.lost, *texts), notes=tuple(find_false_tags(trial.source)))


def find_lost_metadata(trial: Trial, copied: CopiedStreams) -> dict[str, list[str]]:
    """Return the keys that a trial lacks, by what they describe."""
    lost: dict[str, list[str]] = {}
    if not trial.source.path.is_file():  # images have no container
        return lost
    with trial.source.open_file() as original, open_input(trial.file) as container:
        lost["the file"] = find_lost_keys(copyable_tags(original.metadata), container.metadata)
        video = original.streams[trial.source.header.stream]
        wanted = copyable_tags(video.metadata, of_video=True)
        if "STEREO3D" in trial.source.side_data:  # which says the same
            wanted.pop("stereo_mode", None)
        lost["the video"] = find_lost_keys(wanted, container.streams.video[0].metadata)
        lost["the video"] += name_lost_flags(video, container.streams.video[0])
        left = list(container.streams)[1:]
        for other in trial.source.header.other_streams:
            if other.index in copied.streams:
                match = next(s for s in left if describe_stream(s) == (other.kind, other.codec))
                left.remove(match)
                template = original.streams[other.index]
                lost[str(other)] = find_lost_keys(copyable_tags(template.metadata), match.metadata)
                lost[str(other)] += name_lost_flags(template, match)
                lost[str(other)] += name_lost_layout(template, match)
    return {scope: keys for scope, keys in lost.items() if keys}


def name_lost_flags(before: av.stream.Stream, after: av.stream.Stream) -> list[str]:
    """Name the flags of a stream that its copy lacks, such as "forced"."""
    flags = before.disposition & ~after.disposition & ~Disposition.default
    return [f"the flag {flag.name}" for flag in Disposition if flag in flags]


def name_lost_layout(before: av.stream.Stream, after: av.stream.Stream) -> list[str]:
    """Name the layout of the channels of sound that a copy lacks and players do not guess."""
    if not (isinstance(before, av.AudioStream) and isinstance(after, av.AudioStream)):
        return []
    was, name = before.layout, before.layout.name
    is_guessed = was.nb_channels < 3 or name.endswith("channels")  # of an unknown layout
    return [] if is_guessed or name == after.layout.name else [f"the channel layout {name}"]


def holds_timecode(file: Path, timecode: str) -> bool:
    """Return whether a file has a timecode in its metadata."""
    with open_input(file) as container:
        tags = (*container.metadata.values(), *container.streams.video[0].metadata.values())
    return timecode in tags


def find_false_tags(source: SourceVideo) -> list[str]:
    """Return a note on the tags of the video that are not copied, as they became false."""
    if not source.path.is_file():
        return []
    with source.open_file() as container:
        video = container.streams[source.header.stream]
        false = [key for key in video.metadata if is_false(key)]
    return [f"tags that became false are left out: {', '.join(false)}"] if false else []
