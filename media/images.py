"""Reading and writing of image files as frames (tensors)."""

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.media.image_colour_information import encode_with_profile
from sgm_vfi.media.image_header import MAX_PIXELS, read_declared_size
from sgm_vfi.media.png_colour_chunks import Chunk, find_chunk, insert_chunks
from sgm_vfi.storage.atomic_write import write_atomically

HIGH_BIT_DEPTH_SUFFIXES = (".png", ".tif", ".tiff")  # lossless 16-bit formats
WRITABLE_SUFFIXES = (*HIGH_BIT_DEPTH_SUFFIXES, ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
IMAGE_SUFFIXES = (*WRITABLE_SUFFIXES, ".pgm", ".pnm", ".jp2", ".avif")
GREY = 0  # colour type of PNG without alpha
BITS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}

SIDE_DIGITS = 5  # of the width and the height of a frame


class FrameError(ValueError):
    """An unusable image file or folder; the message names it and the remedy."""


def parse_size(text: str) -> tuple[int, int]:
    """Parse a size in pixels, WIDTHxHEIGHT as in FFmpeg, into (height, width)."""
    width, _, height = text.partition("x")
    sides = (width, height)
    if not all(side.isdecimal() and len(side) <= SIDE_DIGITS and int(side) for side in sides):
        raise ValueError(f"A size is WIDTHxHEIGHT in pixels, such as 1280x720, got {text!r}.")
    return int(height), int(width)


def read_frame(path: str | Path) -> Tensor:
    """Read one image as an RGB frame in [0, 1], float32, on the CPU.

    8-bit samples are divided by 255, 16-bit samples by 65535. Grey becomes three equal channels.
    The EXIF orientation is applied. An opaque alpha channel is dropped, any other is an error.

    Shapes: -> (3, H, W).
    """
    return as_frame(read_samples(Path(path)))


def as_frame(samples: np.ndarray) -> Tensor:
    """Convert interleaved RGB samples to a frame in [0, 1].

    Shapes: (H, W, 3), uint8 or uint16 -> (3, H, W), float32.
    """
    planes = np.ascontiguousarray(samples.transpose(2, 0, 1))
    return torch.from_numpy(planes.astype(np.float32) / np.float32(2 ** BITS[samples.dtype] - 1))


def as_samples(frame: Tensor, bits: int = 8) -> np.ndarray:
    """Convert a frame in [0, 1] to interleaved RGB samples, clamped and rounded.

    Shapes: (3, H, W), floating point -> (H, W, 3), uint8 or uint16.
    """
    if frame.ndim != 3 or frame.shape[0] != 3 or not frame.is_floating_point():
        raise ValueError(
            f"A frame is a floating-point tensor (3, H, W) in [0, 1], "
            f"got {frame.dtype} {tuple(frame.shape)}."
        )
    whole = to_levels(frame, bits).movedim(0, -1).cpu().numpy()
    return np.ascontiguousarray(whole.astype(np.uint8 if bits == 8 else np.uint16))


def quantise(frame: Tensor, bits: int = 8) -> Tensor:
    """Round a frame to `bits` per sample, as writing and reading does. Shapes: any -> the same."""
    return to_levels(frame, bits) / (2**bits - 1)


def to_levels(frame: Tensor, bits: int) -> Tensor:
    """Convert [0, 1] to whole numbers 0 to 2^bits - 1, halves to even; raise on NaN and inf."""
    if bits not in BITS.values():
        raise ValueError(f"Frames are written with 8 or 16 bits per sample, got {bits}.")
    if not frame.isfinite().all():
        raise ValueError(
            f"A frame of shape {tuple(frame.shape)} holds values that are not numbers (NaN or "
            f"infinite). Take other weights, or --precision fp32."
        )
    return (frame.float().clamp(0, 1) * (2**bits - 1)).round()


def write_frame(
    path: str | Path,
    frame: Tensor,
    bits: int = 8,
    profile: bytes | None = None,
    chunks: Sequence[Chunk] = (),
) -> None:
    """Write an RGB frame in [0, 1] atomically to an image file; the suffix names the format.

    Only PNG and TIFF take 16 bits. JPEG and WebP have OpenCV's default quality.

    Args:
        profile: ICC colour profile to embed.
        chunks: that state colours, for PNG files.

    Shapes: frame (3, H, W).
    """
    path = Path(path)
    require_image_format(path, bits)
    samples = cv2.cvtColor(as_samples(frame, bits), cv2.COLOR_RGB2BGR)
    suffix = path.suffix.lower()
    if profile is None:
        done, data = cv2.imencode(suffix, samples)
    else:
        done, data = encode_with_profile(suffix, samples, profile)
    if not done:
        raise FrameError(f"OpenCV could not encode {path}. Try .png.")
    content = data.tobytes()
    try:
        write_atomically(path, insert_chunks(content, chunks) if suffix == ".png" else content)
    except OSError as error:
        raise FrameError(str(error)) from error


def require_image_format(path: Path, bits: int = 8) -> None:
    """Raise FrameError if the suffix names no image format with so many bits per sample."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise FrameError(
            f"Cannot write {path}: images are written as {', '.join(WRITABLE_SUFFIXES)}, "
            f"got {suffix or 'no suffix'!r}."
        )
    if bits != 8 and suffix not in HIGH_BIT_DEPTH_SUFFIXES:
        raise FrameError(
            f"Cannot write {path}: {suffix} holds 8 bits per sample, got {bits}. "
            f"Use {' or '.join(HIGH_BIT_DEPTH_SUFFIXES)}."
        )


def list_frames(folder: Path) -> list[Path]:
    """List the visible image files of a folder in natural order (frame2 before frame10)."""
    if not folder.is_dir():
        raise FrameError(f"{folder} is no folder of frames ({describe_path(folder)}).")
    frames = [file for file in folder.iterdir() if is_image(file) and file.is_file()]
    if not frames:
        raise FrameError(
            f"{folder} holds no frames: looked for files ending in {', '.join(IMAGE_SUFFIXES)}."
        )
    return sorted(frames, key=natural_sort_key)


def is_image(path: Path) -> bool:
    """Return True for the name of a visible image file."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def printable_name(name: str) -> str:
    """Return a text with what is no valid Unicode, as bytes of file names, as backslash escapes."""
    return name.encode(errors="backslashreplace").decode()


def natural_sort_key(path: Path) -> tuple[list[str | int], str]:
    """Return a sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def read_samples(path: Path) -> np.ndarray:
    """Read an image file as stored. Shapes: -> (H, W, 3), RGB, uint8 or uint16."""
    if not path.is_file():
        raise FrameError(f"Cannot read a frame from {path}: {describe_path(path)}.")
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread cannot open every name on every system
    except OSError as error:
        raise FrameError(f"Cannot read a frame from {path}: {error.strerror}.") from error
    if not data.size:
        raise FrameError(f"Cannot read a frame from {path}: the file is empty.")
    require_moderate_size(data.tobytes(), path)
    if may_have_alpha(data.tobytes()):
        unchanged = decode_image(data, cv2.IMREAD_UNCHANGED, path)
        require_opaque(unchanged, path)
        require_no_transparent_grey(unchanged, data.tobytes(), path)
    # Not IMREAD_UNCHANGED, which ignores the orientation and leaves grey as one channel; nor
    # IMREAD_COLOR_RGB, which leaves the samples of a 16-bit TIFF unset (OpenCV 5.0).
    samples = decode_image(data, cv2.IMREAD_COLOR_BGR | cv2.IMREAD_ANYDEPTH, path)
    return cv2.cvtColor(samples, cv2.COLOR_BGR2RGB)


def require_moderate_size(data: bytes, path: Path) -> None:
    """Raise FrameError if a file declares more pixels than a frame can have."""
    size = read_declared_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise FrameError(
            f"{path} ({len(data)} bytes) declares {size[1]}x{size[0]} pixels; frames have "
            f"{MAX_PIXELS} at most. It is damaged, or has to be split into smaller images."
        )


def decode_image(data: np.ndarray, flags: int, path: Path) -> np.ndarray:
    """Decode the bytes of an image file."""
    try:
        samples = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise FrameError(
            f"Cannot decode {path} ({data.size} bytes): {error.err}. It is damaged or too large. "
            f"Write it again, or leave it out."
        ) from error
    if samples is None:
        raise FrameError(
            f"{path} ({data.size} bytes) is no image that OpenCV can read, or it is truncated or "
            f"damaged. Write it again, or leave it out."
        )
    if samples.dtype not in BITS:
        raise FrameError(
            f"{path} holds {samples.dtype} samples; frames have 8 or 16 bits. Convert it first."
        )
    return samples


def may_have_alpha(data: bytes) -> bool:
    """Return False if the file header rules out an alpha channel."""
    if data.startswith(b"\xff\xd8"):  # JPEG has none
        return False
    if data.startswith(b"\x89PNG"):
        head = data.partition(b"IDAT")[0]
        return head[25:26] in (b"\x04", b"\x06") or b"tRNS" in head  # byte 25: the colour type
    return True


def require_opaque(samples: np.ndarray, path: Path) -> None:
    """Raise FrameError for an image with transparent parts."""
    if samples.ndim == 3 and samples.shape[2] == 4:
        alpha = samples[..., 3]
        if (alpha != np.iinfo(alpha.dtype).max).any():
            raise FrameError(
                f"{path} is transparent in parts (alpha down to {alpha.min()} of "
                f"{np.iinfo(alpha.dtype).max}). Flatten it onto a background first."
            )


def require_no_transparent_grey(samples: np.ndarray, data: bytes, path: Path) -> None:
    """Raise FrameError for a grey PNG of which one level is transparent, if that occurs.

    OpenCV reads the transparency of colour and palette images only.
    """
    content = find_chunk(data, "tRNS")
    depth, colour_type = data[24:26]
    if content is None or colour_type != GREY or len(content) != 2:
        return
    level = int.from_bytes(content, "big")
    if depth < 8:
        level *= 255 // (2**depth - 1)
    if (samples == level).any():
        raise FrameError(
            f"{path} is transparent in parts (where it has grey level {level}). Flatten it onto a "
            f"background first."
        )


def describe_path(path: Path) -> str:
    """Describe what exists at a path, for error messages."""
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return "it is a file"
    return f"there is no such file or folder ({path.resolve()})"
