"""Colours of images as the colour tags of a video, and back."""

import struct
from collections.abc import Mapping
from types import MappingProxyType

from sgm_vfi.media.colour_matrices import UNSPECIFIED
from sgm_vfi.media.image_colour_information import ImageColours
from sgm_vfi.media.png_colour_chunks import Chunk
from sgm_vfi.video.av_frames import ColourTags, HDRMetadata

SRGB = (1, 13)  # primaries and transfer in ITU-T H.273
PRIMARIES: Mapping[tuple[int, ...], int] = MappingProxyType(
    {  # x, y of white, red, green and blue / 1000
        (313, 329, 640, 330, 300, 600, 150, 60): 1,  # BT.709
        (313, 329, 708, 292, 170, 797, 131, 46): 9,  # BT.2020
        (313, 329, 680, 320, 265, 690, 150, 60): 12,  # P3 with the white of BT.709
    }
)
TRANSFERS: Mapping[int, int] = MappingProxyType(
    {100000: 8, 45455: 4, 35714: 5}  # gamma * 100000 -> linear, 2.2, 2.8
)
PROFILES: Mapping[str, tuple[int, int]] = MappingProxyType({"sRGB": SRGB, "Display P3": (12, 13)})


def find_image_tags(colours: ImageColours, tags: ColourTags) -> tuple[ColourTags, tuple[str, ...]]:
    """Return the colour tags of a video of images, and notes on what they cannot state.

    Args:
        tags: those of images that state nothing.
    """
    chunks = dict(colours.chunks)
    if "cICP" in chunks:
        primaries, transfer = chunks["cICP"][:2]
        return tags._replace(primaries=primaries, transfer=transfer), ()
    if colours.profile is not None:
        found = find_profile_tags(colours.profile)
        if found is None:
            return tags, (
                "the colour profile of the images has no equal among the colour tags of videos "
                "and is lost. Convert the images to sRGB for exact colours",
            )
        return tags._replace(primaries=found[0], transfer=found[1]), ()
    if "sRGB" in chunks:
        return tags._replace(primaries=SRGB[0], transfer=SRGB[1]), ()
    return find_gamma_tags(chunks, tags)


def find_gamma_tags(
    chunks: dict[str, bytes], tags: ColourTags
) -> tuple[ColourTags, tuple[str, ...]]:
    """Return the tags that say what the chunks gAMA and cHRM do, and notes on what is lost."""
    notes = []
    if "gAMA" in chunks:
        gamma = int.from_bytes(chunks["gAMA"], "big")
        transfer = TRANSFERS.get(gamma, UNSPECIFIED)
        tags = tags._replace(transfer=transfer)
        if transfer == UNSPECIFIED:
            notes.append(f"the gamma {gamma / 1e5:g} of the images has no colour tag and is lost")
    if "cHRM" in chunks:
        places = tuple(round(x / 100) for x in struct.unpack(">8I", chunks["cHRM"]))
        primaries = PRIMARIES.get(places, UNSPECIFIED)
        tags = tags._replace(primaries=primaries)
        if primaries == UNSPECIFIED:
            notes.append("the primaries of the images (cHRM) have no colour tag and are lost")
    return tags, tuple(notes)


def find_profile_tags(profile: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer of an ICC profile: as its `cicp` says, or by its name."""
    count = int.from_bytes(profile[128:132], "big")
    table = {
        profile[at : at + 4]: struct.unpack(">II", profile[at + 4 : at + 12])
        for at in range(132, min(132 + 12 * count, len(profile) - 11), 12)
    }
    if b"cicp" in table:
        start, _ = table[b"cicp"]
        content = profile[start + 8 : start + 10]
        return (content[0], content[1]) if len(content) == 2 else None
    start, size = table.get(b"desc", (0, 0))
    text = profile[start : start + size].replace(b"\0", b"").decode("latin-1")
    return next((tags for name, tags in PROFILES.items() if name in text), None)


def read_image_hdr_metadata(colours: ImageColours) -> HDRMetadata:
    """Return the HDR10 metadata that PNG files state."""
    chunks = dict(colours.chunks)
    display = light = None
    if len(chunks.get("mDCV", b"")) == 24:
        *places, brightest, darkest = struct.unpack(">8H2I", chunks["mDCV"])
        display = (*places, darkest, brightest)
    if len(chunks.get("cLLI", b"")) == 8:
        light = tuple(level // 10000 for level in struct.unpack(">2I", chunks["cLLI"]))
    return HDRMetadata(display, light)


def to_colour_chunks(tags: ColourTags, hdr_metadata: HDRMetadata) -> tuple[Chunk, ...]:
    """Return the PNG chunks that state the colour tags of a video; none if it has no tags."""
    if UNSPECIFIED in (tags.primaries, tags.transfer):
        return ()
    chunks = [("cICP", bytes([tags.primaries, tags.transfer, 0, 1]))]  # RGB, full range
    if hdr_metadata.mastering_display is not None:
        *places, darkest, brightest = hdr_metadata.mastering_display
        chunks.append(("mDCV", struct.pack(">8H2I", *places, brightest, darkest)))
    if hdr_metadata.content_light is not None:
        levels = (level * 10000 for level in hdr_metadata.content_light)
        chunks.append(("cLLI", struct.pack(">2I", *levels)))
    return tuple(chunks)
