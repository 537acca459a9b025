"""Colour matrices of ITU-T H.273, table 4: which are supported, and what untagged video has."""

import av

# Name, and shares of red and blue in luma.
MATRICES = {
    1: ("BT.709", 0.2126, 0.0722),
    4: ("FCC", 0.30, 0.11),
    5: ("BT.601", 0.299, 0.114),
    6: ("BT.601", 0.299, 0.114),
    7: ("SMPTE 240M", 0.212, 0.087),
    9: ("BT.2020", 0.2627, 0.0593),
}
UNSUPPORTED_MATRICES = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE ST 2085",
    12: "chromaticity-derived",
    13: "chromaticity-derived with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
BT709, BT601 = 1, 6
UNSPECIFIED = 2  # of matrix, primaries and transfer
RGB_MATRIX = 0  # of RGB
HD_HEIGHT = 720  # rows from which untagged video is BT.709, as in players


def guess_matrix(height: int) -> int:
    """Return the colour matrix that players assume for untagged video."""
    return BT709 if height >= HD_HEIGHT else BT601


def has_matrix(picture: av.VideoFrame) -> bool:
    """Return whether the samples of a frame are luma and chroma, not RGB or greyscale."""
    return not picture.format.is_rgb and len(picture.format.components) >= 3


def find_matrix(picture: av.VideoFrame) -> int:
    """Return the colour matrix of a frame; guess it if the frame states none.

    Raises:
        ValueError: the matrix is not supported; the message names it.
    """
    matrix = int(picture.colorspace)
    if matrix in (UNSPECIFIED, RGB_MATRIX):
        return guess_matrix(picture.height)
    if matrix not in MATRICES:
        name = UNSUPPORTED_MATRICES.get(matrix, "a reserved value")
        known = ", ".join(f"{key} ({name})" for key, (name, *_) in MATRICES.items())
        raise ValueError(
            f"has colour matrix {matrix} ({name}); supported are {known} of ITU-T H.273. Convert "
            f"it first, for example: ffmpeg -i IN -vf scale=out_color_matrix=bt709 OUT"
        )
    return matrix
