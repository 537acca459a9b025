"""What outputs that hold pictures only, folders and animations, lose of a video."""

from collections.abc import Sequence

from sgm_vfi.media.colour_matrices import UNSPECIFIED
from sgm_vfi.video.image_colour_tags import to_colour_chunks
from sgm_vfi.video.metadata_tags import copyable_tags, find_lost_keys
from sgm_vfi.video.mux import CopiedStreams
from sgm_vfi.video.other_streams import find_dropped
from sgm_vfi.video.side_data import list_losses
from sgm_vfi.video.source_video import SourceVideo


def find_picture_losses(
    source: SourceVideo, drop: Sequence[str] | None = None, holder: str = "a folder"
) -> CopiedStreams:
    """Return what a folder or an animation keeps of the source besides its pictures: nothing.

    Args:
        holder: what holds frames only, for the messages.
    """
    others = source.header.other_streams
    find_dropped(others, drop)
    kept = {"DISPLAYMATRIX"}  # which is applied
    tags = {source.tags.primaries, source.tags.transfer}
    states_colours = holder == "a folder" and to_colour_chunks(source.tags, source.hdr_metadata)
    if states_colours:
        kept |= {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    beside = [name for name in source.side_data if name not in kept]
    lost = [*source.header.lost, *list_losses(beside, converted=True)]
    if tags != {UNSPECIFIED} and not states_colours:
        why = "PNG states both or none" if holder == "a folder" else f"{holder} states none"
        lost.append(
            f"the tags of its colours (primaries {source.tags.primaries}, transfer "
            f"{source.tags.transfer} of ITU-T H.273): {why}"
        )
    lost += [f"{other}: {holder} holds frames only" for other in others]
    if source.header.pixel_aspect not in (None, 1):
        lost.append(f"the shape of its pixels, {source.header.pixel_aspect}")
    if source.header.num_chapters:
        lost.append(f"{source.header.num_chapters} chapters: {holder} holds frames only")
    if source.header.timecode is not None:
        lost.append(f"timecode {source.header.timecode}: {holder} holds frames only")
    if source.path.is_file():
        with source.open_file() as container:
            keys = find_lost_keys(copyable_tags(container.metadata), {})
        lost += [f"metadata of the file: {holder} cannot hold {', '.join(keys)}"] if keys else []
    return CopiedStreams(lost=tuple(lost))
