"""The quality of hardware encoders, which name it differently from the crf of software encoders."""

from collections.abc import Callable

DEFAULT_QUALITY = 20
MAX_QUALITY = 51
HARDWARE_QUALITY: dict[str, Callable[[int], dict[str, str]]] = {
    "nvenc": lambda value: {"rc": "vbr", "cq": str(value), "b": "0"},
    "qsv": lambda value: {"global_quality": str(value)},
    "vaapi": lambda value: {"rc_mode": "CQP", "qp": str(value)},
    "amf": lambda value: {"rc": "cqp", "qp_i": str(value), "qp_p": str(value)},
}  # by the kind in the name of the encoder; their scales are about that of x264


def find_hardware_quality(encoder: str, crf: int | None) -> dict[str, str]:
    """Return the options for a quality of a hardware encoder; none if its options are not known.

    Args:
        crf: from 0 (best) to 51; None: the default.

    Raises:
        ValueError: the quality is out of range.
    """
    options = HARDWARE_QUALITY.get(encoder.rpartition("_")[2])
    if options is None:
        return {}
    value = DEFAULT_QUALITY if crf is None else crf
    if not 0 <= value <= MAX_QUALITY:
        raise ValueError(f"{encoder} takes a --crf from 0 to {MAX_QUALITY}, got {value}.")
    return options(value)
