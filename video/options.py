"""Options of a video job, on the command line and in Python."""

import argparse
from collections.abc import Collection
from dataclasses import Field, dataclass, field
from math import inf
from typing import Any, get_args

from sgm_vfi.media.scene_cuts import THRESHOLD as CUT_THRESHOLD
from sgm_vfi.video.comparison_views import CompareLayout
from sgm_vfi.video.duplicates import THRESHOLD as DEDUP_THRESHOLD
from sgm_vfi.video.encoding_options import EncodingOptions
from sgm_vfi.video.long_gaps import HOLD_GAPS
from sgm_vfi.video.options_from_dataclass_fields import (
    add_options,
    format_given,
    option,
    read_options,
)
from sgm_vfi.video.other_streams import KINDS, parse_drop
from sgm_vfi.video.output_timestamps import Target
from sgm_vfi.video.produce_output_frames import ProducerOptions
from sgm_vfi.video.reliability import Fallback
from sgm_vfi.video.slow_sound import SlowSound
from sgm_vfi.video.source_options import SourceOptions

UNIT_INTERVAL = ("cut_threshold", "dedup_threshold", "min_reliability")


@dataclass(frozen=True, kw_only=True)
class VideoOptions(SourceOptions):
    """All options of a video job except those of the network."""

    target: Target = field(default_factory=lambda: Target(multi=2))
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    cuts: bool = field(
        default=True,
        metadata=option(
            "detect scene cuts and do not interpolate across them",
            changes_frames=False,  # the cuts that were found are saved instead
            for_pipes=True,
        ),
    )
    cut_threshold: float = field(
        default=CUT_THRESHOLD,
        metadata=option(
            "0 to 1: a lower value detects more cuts",
            metavar="X",
            changes_frames=False,
            for_pipes=True,
        ),
    )
    at_cuts: Fallback = field(
        default="hold",
        metadata=option(
            "repeat the frame before a cut, or cross-fade",
            choices=get_args(Fallback),
            for_pipes=True,
        ),
    )
    loop: bool = field(
        default=False,
        metadata=option(
            "also interpolate from the last frame to the first, for animations and videos that "
            "repeat without a jump",
            is_common=True,
        ),
    )
    hold_gaps: float = field(
        default=HOLD_GAPS,
        metadata=option(
            "variable rate: a gap longer than X times the usual (median) one holds its frame, and "
            "motion takes the last usual gap of it; 0: never",
            metavar="X",
        ),
    )
    slow_sound: SlowSound = field(
        default="drop",
        metadata=option(
            "sound of slow motion: leave it out, stretch it at its pitch, or lower its pitch too",
            choices=get_args(SlowSound),
            changes_frames=False,
            is_common=True,
        ),
    )
    dedup: bool = field(
        default=False,
        metadata=option(
            "treat a run of repeated frames (animation on twos) as one longer frame", for_pipes=True
        ),
    )
    dedup_threshold: float = field(
        default=DEDUP_THRESHOLD,
        metadata=option(
            "0 to 1: largest difference of repeated frames", metavar="X", for_pipes=True
        ),
    )
    protect_static: bool = field(
        default=False,
        metadata=option("keep logos, subtitles and black bars unchanged", for_pipes=True),
    )
    min_reliability: float | None = field(
        default=None,
        metadata=option(
            "0 to 1: cross-fade where a new frame scores less, list the worst frames in the "
            "receipt, and show them in OUTPUT_worst.jpg; 0.3 is a good value (default: off)",
            metavar="X",
            parse=float,
            for_pipes=True,
        ),
    )
    compare: CompareLayout | None = field(
        default=None,
        metadata=option(
            "also write OUTPUT_compare: repeated and interpolated frames, side by side or "
            "split (default: off)",
            choices=get_args(CompareLayout),
            is_common=True,
        ),
    )
    compare_model: str | None = field(
        default=None,
        metadata=option(
            "compare with the frames of this network instead of repeated ones (default: repeated "
            "ones); side by side unless --compare says otherwise",
            metavar="NAME_OR_PATH",
        ),
    )
    explain: bool = field(
        default=False,
        metadata=option(
            "also show the steps of the network, as a picture or as a video OUTPUT_explain",
            for_videos=False,
        ),
    )
    drop: tuple[str, ...] | None = field(
        default=None,
        metadata=option(
            f"leave streams out, by kind ({', '.join(KINDS)}) or by index, as in data,3 "
            "(default: none)",
            metavar="STREAMS",
            parse=parse_drop,
            changes_frames=False,
        ),
    )
    segment_frames: int | None = field(
        default=None,
        metadata=option(
            "output frames per finished segment: the most work that a crash loses (default: about "
            "a minute of work)",
            metavar="N",
            parse=int,
        ),
    )
    dry_run: bool = field(
        default=False,
        metadata=option("print the plan and stop", changes_frames=False, is_common=True),
    )
    resume: bool = field(
        default=False,
        metadata=option("continue unfinished work, or stop if there is none", changes_frames=False),
    )
    restart: bool = field(
        default=False, metadata=option("discard unfinished work", changes_frames=False)
    )

    wait: bool = field(
        default=False,
        metadata=option(
            "if another process works on the same output, wait until it has finished",
            changes_frames=False,
            for_videos=False,
        ),
    )
    overwrite: bool = field(
        default=False,
        metadata=option(
            "replace result files that exist already",
            changes_frames=False,
            for_videos=False,
            is_common=True,
        ),
    )

    def __post_init__(self) -> None:
        for name in UNIT_INTERVAL:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value:g}.")
        if self.hold_gaps and not 1 < self.hold_gaps < inf:
            raise ValueError(f"hold_gaps is a number above 1, or 0, got {self.hold_gaps:g}.")
        if self.segment_frames is not None and self.segment_frames < 1:
            raise ValueError(f"segment_frames is 1 or more, got {self.segment_frames}.")
        if self.slow_sound != "drop" and self.target.slow is None:
            raise ValueError(
                f"--slow_sound {self.slow_sound} is for --slow; sound is kept without."
            )
        if self.compare_model is not None and self.compare is None:
            object.__setattr__(self, "compare", "side")
        if self.resume and self.restart:
            raise ValueError("Either --resume or --restart, not both.")

    def producer_options(self, cuts: Collection[int]) -> ProducerOptions:
        """Return the options of the frame producer.

        Args:
            cuts: indices of source frames that begin a scene.
        """
        return ProducerOptions(
            cuts=cuts,
            at_cuts=self.at_cuts,
            min_reliability=self.min_reliability,
            protect_static=self.protect_static,
            explain=self.explain,
        )


def add_video_options(parser: argparse.ArgumentParser, times: argparse._ActionsContainer) -> None:
    """Add the options of `VideoOptions` to a parser.

    Args:
        times: a group of mutually exclusive options, for the output rate.
    """
    add_options(times, Target)
    group = parser.add_argument_group("video")
    add_options(group, EncodingOptions)
    add_options(group, VideoOptions)


def read_video_options(args: argparse.Namespace) -> VideoOptions:
    """Return the options that `add_video_options` added; refuse `--time`."""
    if args.time:
        raise ValueError("--time is for images; of a video say --multi, --fps or --slow.")
    target = read_options(Target, args)
    if not any(target.values()):
        target["multi"] = 2
    values: dict[str, Any] = read_options(VideoOptions, args)
    encoding = EncodingOptions(**read_options(EncodingOptions, args))
    return VideoOptions(target=Target(**target), encoding=encoding, **values)


def given_video_options(args: argparse.Namespace) -> list[str]:
    """Return the options for videos that were given, such as `--codec`."""

    def is_for_videos(declared: Field[Any]) -> bool:
        """Tell whether only videos take the option."""
        return bool(declared.metadata["for_videos"])

    return [
        text for cls in (Target, EncodingOptions, VideoOptions)
        for text in format_given(args, cls, is_for_videos)
    ]  # fmt: skip


def describe_options(options: VideoOptions) -> str:
    """Return the options of a job that differ from their defaults, for its plan."""

    def is_shown(declared: Field[Any]) -> bool:
        """Tell whether the option changes frames."""
        return bool(declared.metadata["changes_frames"])

    return " ".join(format_given(options, VideoOptions, is_shown))
