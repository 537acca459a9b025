"""Evaluation protocols: how each column of a published table is measured.

Common to all: frames are read as 8 bits per sample (deeper ones are rounded to 8, grey becomes
three equal channels), batches of one, float32, no test-time flips; a metric per sample, then the
plain mean over the samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from sgm_vfi.benchmark.crop_and_resize import (
    FrameTransform,
    crop_middle_half,
    crop_middle_square,
    halve_as_bytes,
    halve_as_floats,
    keep_full_frame,
    round_down,
)
from sgm_vfi.benchmark.published_values import (
    GOPRO_8X,
    MIDDLEBURY,
    SNU_FILM,
    UCF101_EXACT,
    UCF101_ROUNDED,
    VIMEO90K_EXACT,
    VIMEO90K_ROUNDED,
    VIMEO90K_TRUNCATED,
    PublishedValues,
)
from sgm_vfi.dataset import gopro, middlebury, snu_film, ucf101, vimeo90k, x4k1000fps, xiph
from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.media.images import quantise

EIGHTHS = tuple(part / 8 for part in range(1, 8))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of one column of a published table."""

    name: str
    source: str  # whose rules these are
    data_set: str  # as `python -m dataset` knows it
    triplets: Callable[[Path], Sequence[TripletPaths]]  # of a data set's root
    folders: tuple[str, ...]  # names of the root below a folder of data sets, in any case
    inside: str = ""  # a folder of the root that may be named in its stead
    size: tuple[int, int]  # (height, width) of the published frames
    samples: int | None = None  # of the published data set
    times: tuple[float, ...] = (0.5,)
    view: FrameTransform = keep_full_frame  # what is done to all three frames first
    pad_to: int = 1  # edges are continued, evenly on both sides, to multiples of this
    canvas: tuple[int, int] | None = None  # (height, width): zeros to the right and below up to it
    flow_scale: float = 1.0
    eight_bit: bool = False  # round the prediction to whole numbers of 255 before measuring
    truncates: bool = False  # where it does: rounds down, as conversion to bytes does
    metrics: tuple[str, ...] = ("psnr", "ssim")
    published: Mapping[str, PublishedValues] = field(default_factory=dict)  # by model
    guessed: tuple[str, ...] = ()  # what the sources leave open

    def rules(self) -> dict[str, Any]:
        """Return the rules for the header of the rows."""
        return {
            "source": self.source,
            "view": first_line(self.view),
            "published_size": f"{self.size[1]}x{self.size[0]}",
            "published_samples": self.samples,
            "times": self.times,
            "pad_to": self.pad_to,
            "zero_padded_to": self.canvas and f"{self.canvas[1]}x{self.canvas[0]}",
            "flow_scale": self.flow_scale,
            "rounding": "prediction, to 8 bits" + ", down" * self.truncates
            if self.eight_bit
            else "none",
            "guessed": self.guessed,
        }

    def round_prediction(self, frame: Tensor) -> Tensor:
        """Round a prediction as the protocol does. Shapes: any -> the same."""
        if not self.eight_bit:
            return frame
        return quantise(round_down(frame) if self.truncates else frame)

    def find_root(self, path: Path) -> Path:
        """Return the root of the data set, given the root or its parent folder."""
        return path / self.inside if self.inside and (path / self.inside).is_dir() else path

    def find_root_below(self, path: Path) -> Path:
        """Return the root of the data set in a folder of data sets.

        Raises:
            FileNotFoundError: no folder has one of its names.
        """
        here = {folder.name.casefold(): folder for folder in path.iterdir() if folder.is_dir()}
        for name in self.folders:
            if name in here:
                return self.find_root(here[name])
        raise FileNotFoundError(f"{path} has no folder {' or '.join(self.folders)}.")


def first_line(function: FrameTransform) -> str:
    """Return the first sentence of the docstring of a transform."""
    return (function.__doc__ or "").partition("\n")[0].partition(" Shapes")[0].rstrip(".")


XTEST_L_4K = Protocol(
    name="xtest-l-4k",
    source="SGM-VFI, benchmark/XTest_interval.py: frames 0, 32 -> 16 of each scene",
    data_set=x4k1000fps.NAME,
    triplets=x4k1000fps.find_triplets,
    folders=("x4k1000fps", "xtest"),
    inside="test",
    size=(2160, 4096),
    samples=15,
    pad_to=32,
    flow_scale=1 / 4,
    eight_bit=True,
)
XTEST_L_2K = replace(XTEST_L_4K, name="xtest-l-2k", view=halve_as_floats, flow_scale=1 / 2)
XTEST_8X_4K = replace(
    XTEST_L_4K,
    name="xtest-8x-4k",
    source="X4K1000FPS's multi-frame test: frames 0, 32 -> 4, 8, ... 28 of each scene",
    triplets=x4k1000fps.find_multi_frame_triplets,
    samples=105,
    times=EIGHTHS,
    guessed=(
        "Padding, flow scale, rounding and SSIM are those of XTest-L.",
        "A network that knows t = 1/2 alone halves the interval three times.",
    ),
)
XTEST_8X_2K = replace(XTEST_8X_4K, name="xtest-8x-2k", view=halve_as_floats, flow_scale=1 / 2)

SNU_FILM_EASY = Protocol(
    name="snu-film-easy",
    source="SGM-VFI, benchmark/SNU_FILM.py, and IFRNet, on the list test-easy.txt",
    data_set=snu_film.NAME,
    triplets=partial(snu_film.find_triplets, split="easy"),
    folders=("snu-film", "snufilm"),
    size=snu_film.SIZE,
    samples=snu_film.PUBLISHED,
    pad_to=80,
    flow_scale=4 / 5,
    published=SNU_FILM["easy"],
    guessed=(
        "SGM-VFI pads to multiples of 80, IFRNet of 20: the same for frames of 1280x720, which "
        "need no padding.",
        "RIFE's values, measured by IFRNet's authors, are taken to follow the same rules.",
    ),
)
SNU_FILM_OTHERS = [
    replace(
        SNU_FILM_EASY,
        name=f"snu-film-{split}",
        source=f"SGM-VFI, benchmark/SNU_FILM.py, and IFRNet, on the list test-{split}.txt",
        triplets=partial(snu_film.find_triplets, split=split),
        published=SNU_FILM[split],
    )
    for split in ("medium", "hard", "extreme")
]
SNU_FILM_L = [
    replace(
        SNU_FILM_EASY,
        name=f"snu-film-l-{split}",
        source=f"SGM-VFI, benchmark/SNU_FILM.py: the half of {split} with the larger motion",
        triplets=partial(snu_film.find_triplets, split=f"{split}-l"),
        samples=snu_film.PUBLISHED // 2,
        published={},
        guessed=("The number of samples is half of 310; the published lists were not seen.",),
    )
    for split in ("hard", "extreme")
]

XIPH_L_2K = Protocol(
    name="xiph-l-2k",
    source="SGM-VFI, benchmark/Xiph.py, on its list of large motion, two frames to either side",
    data_set=xiph.NAME,
    triplets=xiph.find_large_motion_triplets,
    folders=("xiph",),
    size=xiph.SIZE,
    view=halve_as_bytes,
    pad_to=16,
    flow_scale=1 / 2,
    eight_bit=True,
    metrics=("psnr", "ssim_uniform"),
)
XIPH_L_4K = replace(XIPH_L_2K, name="xiph-l-4k", view=crop_middle_half)
XIPH_2K = replace(
    XIPH_L_2K,
    name="xiph-2k",
    source="the usual Xiph test: each even frame of 2 to 98 from its neighbours",
    triplets=xiph.find_triplets,
    samples=392,
    guessed=("Padding, flow scale, rounding and SSIM are those of Xiph-L.",),
)
XIPH_4K = replace(XIPH_2K, name="xiph-4k", view=crop_middle_half)

VIMEO90K = Protocol(
    name="vimeo90k",
    source="IFRNet, and SGM-VFI's validation: the test triplets as they are, nothing rounded",
    data_set=vimeo90k.NAME,
    triplets=vimeo90k.find_triplets,
    folders=("vimeo90k", "vimeo_triplet"),
    size=vimeo90k.SIZE,
    samples=vimeo90k.PUBLISHED["tri", "test"],
    published=VIMEO90K_EXACT,
)
VIMEO90K_8BIT = replace(
    VIMEO90K,
    name="vimeo90k-8bit",
    source="RIFE: the test triplets as they are, the prediction rounded",
    eight_bit=True,
    published=VIMEO90K_ROUNDED,
)
VIMEO90K_TRUNCATED_8BIT = replace(
    VIMEO90K_8BIT,
    name="vimeo90k-truncated",
    source="PerVFI's benchmark: the test triplets as they are, the prediction rounded down",
    truncates=True,
    metrics=("psnr",),
    published=VIMEO90K_TRUNCATED,
)
UCF101 = replace(
    VIMEO90K,
    name="ucf101",
    source="IFRNet: the test triplets as they are, nothing rounded",
    data_set=ucf101.NAME,
    triplets=ucf101.find_triplets,
    folders=("ucf101", "ucf101_interp_ours"),
    size=ucf101.SIZE,
    samples=ucf101.PUBLISHED,
    published=UCF101_EXACT,
)
UCF101_8BIT = replace(
    UCF101,
    name="ucf101-8bit",
    source="RIFE: the test triplets as they are, the prediction rounded",
    eight_bit=True,
    published=UCF101_ROUNDED,
)
MIDDLEBURY_OTHER = Protocol(
    name="middlebury",
    source="RIFE and IFRNet: the twelve sequences OTHER, black to the right and below",
    data_set=middlebury.NAME,
    triplets=middlebury.find_triplets,
    folders=("middlebury",),
    size=middlebury.SIZE,
    samples=len(middlebury.SEQUENCES),
    canvas=middlebury.SIZE,
    metrics=("psnr", "ssim", "ie"),
    published=MIDDLEBURY,
)
GOPRO = Protocol(
    name="gopro-8x",
    source="IFRNet: frames 0, 8 -> 1 ... 7 of every window of the test sequences",
    data_set=gopro.NAME,
    triplets=gopro.find_triplets,
    folders=("gopro", "gopro_large_all"),
    size=gopro.SIZE,
    times=EIGHTHS,
    view=crop_middle_square,
    published=GOPRO_8X,
    guessed=(
        "The centre crop of 512 is that of the published validation during training; whether "
        "the published values are of crops is not known.",
        "A network that knows t = 1/2 alone halves the interval three times.",
    ),
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            XTEST_L_2K,
            XTEST_L_4K,
            XTEST_8X_2K,
            XTEST_8X_4K,
            SNU_FILM_EASY,
            *SNU_FILM_OTHERS,
            *SNU_FILM_L,
            XIPH_2K,
            XIPH_4K,
            XIPH_L_2K,
            XIPH_L_4K,
            VIMEO90K,
            VIMEO90K_8BIT,
            VIMEO90K_TRUNCATED_8BIT,
            UCF101,
            UCF101_8BIT,
            MIDDLEBURY_OTHER,
            GOPRO,
        )
    }
)
