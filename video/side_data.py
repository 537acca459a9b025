"""Side data of pictures and streams: what becomes of each kind in the output."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import av

from sgm_vfi.media.display_matrix import UNKNOWN, read_side_data

Fate = Literal["carried", "converted", "announced", "internal"]
ENCODER_NAMES = (b"x264", b"x265")  # which put their own settings into the stream


class SideDataKind(NamedTuple):
    """A kind of side data.

    `carried` kinds are copied where container and encoder can hold them, and lost otherwise;
    `converted` kinds are written in another form, which `find_format_changes` compares;
    `announced` kinds are lost; `internal` kinds say nothing about the content.
    """

    name: str
    fate: Fate


SIDE_DATA: Mapping[str, SideDataKind] = {  # by PyAV's name of side data of frames
    "DISPLAYMATRIX": SideDataKind("rotation", "converted"),
    "MASTERING_DISPLAY_METADATA": SideDataKind("mastering display (HDR10)", "converted"),
    "CONTENT_LIGHT_LEVEL": SideDataKind("content light levels (HDR10)", "converted"),
    "GOP_TIMECODE": SideDataKind("timecodes of groups of pictures", "announced"),
    "S12M_TIMECODE": SideDataKind("timecodes of single pictures (SMPTE ST 12)", "announced"),
    "STEREO3D": SideDataKind("arrangement of the views of a 3D video", "carried"),
    "SPHERICAL": SideDataKind("projection of a spherical (360 degree) video", "carried"),
    "ICC_PROFILE": SideDataKind("ICC colour profile", "carried"),
    "A53_CC": SideDataKind("closed captions within the pictures (CEA-608, CEA-708)", "announced"),
    "AFD": SideDataKind("active format description", "announced"),
    "PANSCAN": SideDataKind("pan and scan windows", "announced"),
    "AMBIENT_VIEWING_ENVIRONMENT": SideDataKind("ambient viewing environment", "carried"),
    "DYNAMIC_HDR_PLUS": SideDataKind("HDR10+ metadata of each picture", "announced"),
    "DYNAMIC_HDR_VIVID": SideDataKind("HDR Vivid metadata of each picture", "announced"),
    "DOVI_RPU_BUFFER": SideDataKind("Dolby Vision metadata of each picture", "announced"),
    "DOVI_METADATA": SideDataKind("Dolby Vision metadata of each picture", "announced"),
    "FILM_GRAIN_PARAMS": SideDataKind("parameters of film grain", "announced"),
    "SEI_UNREGISTERED": SideDataKind("user data within the pictures (SEI)", "announced"),
    "REGIONS_OF_INTEREST": SideDataKind("regions of interest", "announced"),
    "DETECTION_BBOXES": SideDataKind("bounding boxes of detected objects", "announced"),
    UNKNOWN: SideDataKind("side data of a kind that is not known here", "announced"),
    "MOTION_VECTORS": SideDataKind("motion vectors of the codec", "internal"),
    "VIDEO_ENC_PARAMS": SideDataKind("parameters of the encoder", "internal"),
    "VIDEO_HINT": SideDataKind("changed regions, for encoders", "internal"),
    "REPLAYGAIN": SideDataKind("replay gain of sound", "internal"),
    "MATRIXENCODING": SideDataKind("matrix encoding of sound", "internal"),
    "DOWNMIX_INFO": SideDataKind("downmix of sound", "internal"),
    "SKIP_SAMPLES": SideDataKind("samples of sound to skip", "internal"),
    "AUDIO_SERVICE_TYPE": SideDataKind("service of sound", "internal"),
}
STREAM_SIDE_DATA = {  # as FFmpeg describes it -> what is lost; frames do not have these
    "DOVI configuration record": "Dolby Vision configuration",
    "Frame cropping": "cropping by the container; the whole picture is kept and shown",
}
PROGRAM_TAGS = re.compile(r"^  Program.*\n    Metadata:\n((?:      .*\n)+)", re.MULTILINE)
TRANSPARENCY = "its transparency"


def read_content_data(picture: av.VideoFrame) -> dict[str, bytes]:
    """Return the side data of a frame by its name in `SIDE_DATA`, without encoders' own notes."""
    found = read_side_data(picture)
    if any(name in found.get("SEI_UNREGISTERED", b"") for name in ENCODER_NAMES):
        del found["SEI_UNREGISTERED"]
    return found


def find_header_losses(
    container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[str, ...]:
    """Return what a header says of a video and no output keeps, and no frame says.

    VP8 and VP9 have transparency beside the pictures. PyAV lists the side data of streams only in
    the description of the whole file.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        text = container.dumps_format()  # type: ignore[attr-defined]
    finally:
        av.logging.set_level(level)
    named = (" ".join(found.split()) for found in PROGRAM_TAGS.findall(text))
    _, _, ours = text.partition(f"Stream #0:{stream.index}")
    lines = [line.strip() for line in ours.partition("Stream #0:")[0].splitlines()]
    modes = [text for key, text in stream.metadata.items() if key.lower() == "alpha_mode"]
    return (
        *((TRANSPARENCY,) if modes == ["1"] else ()),
        *(loss for name, loss in STREAM_SIDE_DATA.items()
          if any(line.lower().startswith(name.lower()) for line in lines)),
        *(f"metadata of a program: {tags}" for tags in named),
    )  # fmt: skip


def find_lost_side_data(before: Mapping[str, bytes], picture: av.VideoFrame) -> list[str]:
    """Name the side data of a source that a frame of the output lacks."""
    after = read_content_data(picture)
    return list_losses(name for name, data in before.items() if after.get(name) != data)


def list_losses(names: Iterable[str], *, converted: bool = False) -> list[str]:
    """Name kinds of side data that are lost, each once.

    Args:
        converted: with the kinds that are usually converted.
    """
    fates = ("carried", "announced", *(("converted",) if converted else ()))
    kinds = (SIDE_DATA.get(name, SIDE_DATA[UNKNOWN]) for name in names)
    return list(dict.fromkeys(kind.name for kind in kinds if kind.fate in fates))
