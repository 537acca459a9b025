"""What a user may ask of a video, on the command line and in Python."""

import argparse
from dataclasses import dataclass, field
from fractions import Fraction
from typing import get_args

from sgm_vfi.model.cli_options import argument_type, parse_multiple
from sgm_vfi.video.comparison import CompareLayout
from sgm_vfi.video.duplicates import THRESHOLD as DEDUP_THRESHOLD
from sgm_vfi.video.encoding import SAME_CODEC, EncodingOptions
from sgm_vfi.video.reliability import Fallback
from sgm_vfi.video.scene_cuts import THRESHOLD as CUT_THRESHOLD
from sgm_vfi.video.segments import LENGTH
from sgm_vfi.video.timeline import Target


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Everything that decides what becomes of a video, but the network."""

    target: Target = field(default_factory=lambda: Target(multi=2))
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    cuts: bool = True  # find them, and do not interpolate across
    cut_threshold: float = CUT_THRESHOLD
    at_cuts: Fallback = "hold"  # the frame before until the cut; or a blend of both
    dedup: bool = False  # a run of repeated frames is one long frame
    dedup_threshold: float = DEDUP_THRESHOLD
    protect_static: bool = False  # overlays stay as they are
    min_reliability: float | None = None  # of new frames, else blended; None: not looked at
    compare: CompareLayout | None = None  # a second video beside frames repeated
    explain: bool = False  # a video of the network's steps
    segment_frames: int = LENGTH
    dry_run: bool = False
    resume: bool = False  # there must be unfinished work
    restart: bool = False  # unfinished work is given up

    def __post_init__(self) -> None:
        for name in ("cut_threshold", "dedup_threshold", "min_reliability"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value:g}.")
        if self.segment_frames < 1:
            raise ValueError(f"segment_frames is 1 or more, got {self.segment_frames}.")


def add_video_options(parser: argparse.ArgumentParser, times: argparse._ActionsContainer) -> None:
    """Add what `read_video_options` reads.

    Args:
        times: a group of options that exclude each other, where `--multi` is already.
    """
    times.add_argument(
        "--fps",
        type=argument_type(rate),
        metavar="R",
        help="videos: R frames per second, more or fewer, such as 60 or 24000/1001",
    )
    times.add_argument(
        "--slow",
        type=argument_type(parse_multiple),
        metavar="N",
        help="videos: N times as slow, no sound",
    )
    group = parser.add_argument_group("video")
    group.add_argument(
        "--rate",
        type=argument_type(rate),
        metavar="R",
        help="a folder of frames that is to be a video: how many of them are shown a second",
    )
    add_encoding(group)
    add_judgement(group)
    group.add_argument(
        "--compare",
        choices=get_args(CompareLayout),
        help="also write OUTPUT_compare: the result and repeated frames, side by side or split",
    )
    group.add_argument(
        "--segment_frames",
        type=int,
        default=LENGTH,
        metavar="N",
        help="output frames that are finished at a time; what a crash may cost "
        "(default: %(default)s)",
    )
    group.add_argument("--dry_run", action="store_true", help="say what would be done, and stop")
    group.add_argument(
        "--resume", action="store_true", help="go on with unfinished work, or stop if there is none"
    )
    group.add_argument("--restart", action="store_true", help="give up unfinished work")


def add_encoding(group: argparse._ActionsContainer) -> None:
    """Add how frames are compressed."""
    group.add_argument(
        "--codec",
        help=f"h264, hevc, av1, vp9, prores, ffv1, any encoder of FFmpeg, or {SAME_CODEC} as the "
        f"input (default: h264)",
    )
    group.add_argument("--crf", type=int, help="quality: lower is better and larger (default: 16)")
    group.add_argument("--preset", help="speed of the encoder (default: medium)")
    group.add_argument("--pix_fmt", help="such as yuv420p or yuv444p10le (default: the input's)")
    group.add_argument("--lossless", action="store_true", help="encode without loss")


def add_judgement(group: argparse._ActionsContainer) -> None:
    """Add when a network is not to be believed, or not to be asked."""
    group.add_argument(
        "--cuts",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="find scene cuts, and do not interpolate across them (default: on)",
    )
    group.add_argument(
        "--cut_threshold",
        type=float,
        default=CUT_THRESHOLD,
        metavar="X",
        help="0 to 1: lower finds more cuts (default: %(default)s)",
    )
    group.add_argument(
        "--at_cuts",
        choices=("hold", "blend"),
        default="hold",
        help="what to show there: the frame before, or a cross-fade (default: %(default)s)",
    )
    group.add_argument(
        "--dedup",
        action="store_true",
        help="take a run of repeated frames (animation on twos) as one frame that lasts longer",
    )
    group.add_argument(
        "--dedup_threshold",
        type=float,
        default=DEDUP_THRESHOLD,
        metavar="X",
        help="0 to 1: how much repeated frames may differ (default: %(default).3f)",
    )
    group.add_argument(
        "--protect_static", action="store_true", help="keep logos, subtitles and bars as they are"
    )
    group.add_argument(
        "--min_reliability",
        type=float,
        metavar="X",
        help="0 to 1: blend where a new frame is worth less (0.3 is a good value), and list the "
        "worst frames in the receipt",
    )


def read_video_options(args: argparse.Namespace) -> VideoOptions:
    """Read what `add_video_options` added, and `--multi`; refuse `--time`."""
    if args.time:
        raise ValueError("--time is for images; of a video say --multi, --fps or --slow.")
    if args.resume and args.restart:
        raise ValueError("Either --resume or --restart, not both.")
    multi = args.multi or (None if args.fps or args.slow else 2)
    return VideoOptions(
        target=Target(multi=multi, fps=args.fps, slow=args.slow),
        encoding=EncodingOptions(
            codec=args.codec,
            crf=args.crf,
            preset=args.preset,
            pix_fmt=args.pix_fmt,
            lossless=args.lossless,
        ),
        cuts=args.cuts,
        cut_threshold=args.cut_threshold,
        at_cuts=args.at_cuts,
        dedup=args.dedup,
        dedup_threshold=args.dedup_threshold,
        protect_static=args.protect_static,
        min_reliability=args.min_reliability,
        compare=args.compare,
        explain=args.explain,
        segment_frames=args.segment_frames,
        dry_run=args.dry_run,
        resume=args.resume,
        restart=args.restart,
    )


def given_video_options(args: argparse.Namespace) -> list[str]:
    """Those of `add_video_options` that differ from their defaults, as they are written."""
    parser = argparse.ArgumentParser()
    add_video_options(parser, parser)
    given = {
        name: value
        for name, default in vars(parser.parse_args([])).items()
        if (value := getattr(args, name)) != default
    }
    return [f"--no-{name}" if value is False else f"--{name}" for name, value in given.items()]


def rate(text: str) -> Fraction:
    """Read 60, 59.94 (which means 60000/1001), or 24000/1001."""
    try:
        value = Fraction(text)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"a rate such as 60 or 24000/1001 is wanted, got {text!r}") from error
    if not 0 < value <= 1000:
        raise ValueError(f"a rate lies above 0 and up to 1000 frames per second, got {text}")
    broadcast = Fraction(round(value * Fraction(1001, 1000)) * 1000, 1001)
    is_rounded = "." in text and value.denominator != 1
    return broadcast if is_rounded and abs(broadcast - value) < Fraction(1, 200) else value
