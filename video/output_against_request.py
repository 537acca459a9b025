"""Differences of the pictures of a finished file from what was asked for."""

from pathlib import Path

from sgm_vfi.media.display_matrix import parse_display_matrix, read_display_matrix
from sgm_vfi.media.open_local_media import open_input
from sgm_vfi.video.av_frames import read_chroma_location, read_colour_tags, read_hdr_metadata
from sgm_vfi.video.encoder_choice import EncoderSettings
from sgm_vfi.video.side_data import find_lost_side_data
from sgm_vfi.video.source_video import SourceVideo


def find_format_changes(file: Path, source: SourceVideo, encoding: EncoderSettings) -> list[str]:
    """List the differences of a file's picture format from what was asked for."""
    with open_input(file) as container:
        stream = container.streams.video[0]
        picture = next(container.decode(stream))
        aspect = stream.sample_aspect_ratio or 1
    pix_fmt = picture.format.name.replace("yuvj", "yuv")
    size = f"{picture.width}x{picture.height} {pix_fmt}"
    wanted_size = f"{encoding.width}x{encoding.height} {encoding.pixel_format.layout.pix_fmt}"
    found = [] if size == wanted_size else [f"its pictures: {size} for {wanted_size}"]
    orientation = parse_display_matrix(read_display_matrix(picture))
    if orientation != source.orientation:
        found.append(f"its rotation: {orientation} for {source.orientation}")
    if (source.header.pixel_aspect or 1) != aspect:
        found.append(f"the shape of its pixels: {aspect} for {source.header.pixel_aspect}")
    if read_hdr_metadata(picture) != source.hdr_metadata:
        found.append("its HDR10 metadata (mastering display, light levels)")
    has_420 = encoding.pixel_format.layout.step_y > 1
    if has_420 and (place := read_chroma_location(picture)) != source.chroma_location:
        found.append(f"the place of its chroma samples: {place} for {source.chroma_location}")
    tags = zip(encoding.tags._fields, encoding.tags, read_colour_tags(picture), strict=True)
    for name, wanted, got in tags:
        both_narrow = name == "colour_range" and {wanted, got} == {0, 1}  # unstated means narrow
        if wanted != got and not both_narrow:
            found.append(f"the tag of its {name.replace('_', ' ')}: {got} for {wanted}")
    return found + find_lost_side_data(source.side_data, picture)
