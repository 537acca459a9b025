"""YUV4MPEG2 (y4m): uncompressed video as a stream, which FFmpeg and vspipe write and read.

A stream is one line of parameters, and for each frame a line `FRAME` and its planes.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.media.colour_matrices import guess_matrix
from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat, PlaneLayout

MAGIC, FRAME = b"YUV4MPEG2", b"FRAME"
MAX_LINE = 1024  # bytes of a line of parameters
MAX_SIDE = 32768  # pixels
CHROMA_420 = ("420jpeg", "420mpeg2", "420paldv")  # where chroma samples sit
INTERLACED = {"t": "top field first", "b": "bottom field first", "m": "mixed"}


class Y4MHeader(NamedTuple):
    """The parameters of a stream."""

    height: int
    width: int
    rate: Fraction  # frames per second
    pixel_aspect: Fraction | None  # width of a pixel over its height
    chroma: str  # such as 420mpeg2, 422 or 444p10
    is_full_range: bool = False

    @property
    def pixel_format(self) -> PixelFormat:
        """The meaning of samples; the matrix is that which players assume, as none is stated."""
        layout = find_layout(self.chroma)
        assert layout is not None, "read_y4m_header accepts no other"
        return PixelFormat(layout, guess_matrix(self.height), self.is_full_range)

    def encode(self) -> bytes:
        """Return the first line of a stream."""
        aspect = self.pixel_aspect or Fraction(0)
        ratio = f"{aspect.numerator}:{aspect.denominator if aspect else 0}"
        rate = f"{self.rate.numerator}:{self.rate.denominator}"
        colour_range = "FULL" if self.is_full_range else "LIMITED"
        return (
            f"{MAGIC.decode()} W{self.width} H{self.height} F{rate} Ip A{ratio} C{self.chroma} "
            f"XCOLORRANGE={colour_range}\n"
        ).encode()


def find_layout(chroma: str) -> PlaneLayout | None:
    """Return the planes of a chroma parameter; None if it is not supported."""
    name = "420" if chroma in CHROMA_420 else chroma
    sampling, _, bits = name.partition("p")
    return PLANE_LAYOUTS.get(f"yuv{sampling}p{bits}le" if bits else f"yuv{sampling}p")


def chroma_parameter(layout: PlaneLayout) -> str:
    """Return the chroma parameter of planes, which are YUV. Chroma of 4:2:0 sits as in MPEG-2."""
    name = layout.pix_fmt.removeprefix("yuv").removesuffix("le")
    if layout.bits == 8:
        return "420mpeg2" if name == "420p" else name.removesuffix("p")
    return name


def read_y4m_header(file: BinaryIO, name: str) -> Y4MHeader:
    """Read the first line of a stream.

    Args:
        name: of the stream, for errors.

    Raises:
        VideoError: it is no y4m stream, or one that is not supported.
    """
    line = file.readline(MAX_LINE)
    if not line.startswith(MAGIC + b" ") or not line.endswith(b"\n"):
        got = f"begins with {line[:12]!r}" if line else "is empty"
        raise VideoError(
            f"{name} {got}; a y4m stream begins with {MAGIC.decode()}. Send one: "
            f"ffmpeg -i IN -f yuv4mpegpipe - | ..."
        )
    fields: dict[str, str] = {}
    for text in line.decode("ascii", "replace").split()[1:]:
        fields[text.split("=")[0] if text[0] == "X" else text[0]] = text
    values = {key: text.partition("=")[2] or text[1:] for key, text in fields.items()}
    require_progressive(values.get("I", "?"), name)
    chroma = values.get("C", "420jpeg")
    if find_layout(chroma) is None:
        raise VideoError(
            f"{name} has samples of kind {chroma}; supported are 420, 422 and 444 with 8 to 16 "
            f"bits. Convert it: ffmpeg -i IN -pix_fmt yuv420p -f yuv4mpegpipe -"
        )
    try:
        header = Y4MHeader(
            int(values["H"]),
            int(values["W"]),
            parse_ratio(values["F"]) or Fraction(0),
            parse_ratio(values.get("A", "0:0")),
            chroma,
            values.get("XCOLORRANGE") == "FULL",
        )
    except (KeyError, ValueError, ArithmeticError) as error:
        raise VideoError(f"{name} states no size or no rate: {line.decode().strip()}.") from error
    if not (0 < header.height <= MAX_SIDE and 0 < header.width <= MAX_SIDE and header.rate > 0):
        raise VideoError(
            f"{name} states {header.width}x{header.height} at {header.rate} frames per second; "
            f"sides are 1 to {MAX_SIDE} pixels, and the rate is above 0."
        )
    return header


def require_progressive(interlacing: str, name: str) -> None:
    """Raise VideoError if the parameter says that frames hold two fields."""
    if interlacing in INTERLACED:
        raise VideoError(
            f"{name} is interlaced ({INTERLACED[interlacing]}): its frames show two moments each. "
            f"Deinterlace it first: ffmpeg -i IN -vf bwdif -f yuv4mpegpipe -"
        )


def parse_ratio(text: str) -> Fraction | None:
    """Parse two numbers with a colon between them; None if the second is 0, which is unknown."""
    above, _, below = text.partition(":")
    return Fraction(int(above), int(below)) if int(below) else None


def read_y4m_frames(file: BinaryIO, header: Y4MHeader, name: str) -> Iterator[list[Tensor]]:
    """Yield the samples of each frame until the stream ends.

    Raises:
        VideoError: the stream ends within a frame, or holds something else than frames.

    Shapes: -> three planes (h, w), uint8, or int32 above 8 bits.
    """
    layout = header.pixel_format.layout
    sizes = plane_sizes(layout, header.height, header.width)
    dtype = np.dtype("u1") if layout.bits == 8 else np.dtype("<u2")
    number = 0
    while line := file.readline(MAX_LINE):
        if not line.startswith(FRAME):
            raise VideoError(f"{name} is damaged: frame {number} begins with {line[:12]!r}.")
        planes = []
        for height, width in sizes:
            data = file.read(height * width * dtype.itemsize)
            if len(data) < height * width * dtype.itemsize:
                raise VideoError(f"{name} ends within frame {number}; what was before is done.")
            samples = np.frombuffer(data, dtype).reshape(height, width)
            planes.append(torch.from_numpy(samples.astype("u1" if layout.bits == 8 else "i4")))
        yield planes
        number += 1


def write_y4m_frame(file: BinaryIO, layout: PlaneLayout, planes: list[Tensor]) -> None:
    """Write the samples of one frame. Shapes: three integer planes (h, w)."""
    file.write(FRAME + b"\n")
    for plane in planes:
        file.write(plane.cpu().numpy().astype("u1" if layout.bits == 8 else "<u2").tobytes())
    file.flush()


def plane_sizes(layout: PlaneLayout, height: int, width: int) -> list[tuple[int, int]]:
    """Return height and width of each plane."""
    chroma = (-(-height // layout.step_y), -(-width // layout.step_x))
    return [(height, width), chroma, chroma]
