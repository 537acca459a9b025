"""The work of the page: a clip or a pair of images, by the functions of the command line."""

import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import torch

from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.model import Interpolator, load_interpolator
from sgm_vfi.model.cli_options import describe_weights
from sgm_vfi.video.av_frames import apply_orientation
from sgm_vfi.video.command import parse_arguments
from sgm_vfi.video.job import run_plan
from sgm_vfi.video.job_paths import default_output, receipt_path, worst_frames_path
from sgm_vfi.video.job_plan import VideoPlan, plan_video
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.options_from_dataclass_fields import parse_rate, parse_slow
from sgm_vfi.video.output_timestamps import Target
from sgm_vfi.video.pair_job import interpolate_pair
from sgm_vfi.video.pipeline import decode_rgb
from sgm_vfi.video.progress_and_cancel import JobMonitor, Progress
from sgm_vfi.video.segment_writers import EXPLAIN, MAIN
from sgm_vfi.video.slow_sound import SlowSound
from sgm_vfi.video.trim import parse_position

MULTIPLES = {"2x": 2, "3x": 3, "4x": 4}
FPS, SLOW = "frames per second", "slow motion"
RATES = (*MULTIPLES, FPS, SLOW)


class Result(NamedTuple):
    """What a finished job shows."""

    summary: str
    files: Sequence[Path]  # to download
    before: Path | None = None  # pictures for the slider
    after: Path | None = None
    video: Path | None = None
    views: Sequence[tuple[Path, str]] = ()  # of flow and reliability, with captions


def read_clip_options(
    rate: str,
    amount: str,
    slow_sound: SlowSound,
    start: str,
    end: str,
    *,
    explain: bool,
    find_worst: bool,
) -> VideoOptions:
    """Return the options of a clip from what was typed.

    Args:
        rate: one of `RATES`.
        amount: frames per second or times as long, for the last two.
        find_worst: measure the reliability of new frames, and replace none.

    Raises:
        ValueError: a text is no rate or no position.
    """
    if rate in MULTIPLES:
        target = Target(multi=MULTIPLES[rate])
    elif rate == FPS:
        target = Target(fps=parse_rate(amount.strip()))
    else:
        target = Target(slow=parse_slow(amount.strip()))
    return VideoOptions(
        target=target,
        slow_sound=slow_sound if target.slow else "drop",
        start=parse_position(start.strip()) if start.strip() else None,
        end=parse_position(end.strip()) if end.strip() else None,
        explain=explain,
        min_reliability=0.0 if find_worst else None,
        overwrite=True,
    )


class JobRunner:
    """Plans and runs jobs, and keeps the network of the last one.

    Args:
        device: where networks compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._loaded: tuple[str, Interpolator] | None = None
        self._lock = threading.Lock()

    def load(self, model: str) -> Interpolator:
        """Load a network by its name, unless it is the last one."""
        with self._lock:
            if self._loaded is None or self._loaded[0] != model:
                self._loaded = model, load_interpolator(model).to(self.device)
            return self._loaded[1]

    def plan_clip(
        self, clip: str | None, model: str, options: VideoOptions, folder: Path
    ) -> VideoPlan:
        """Read a clip, and plan its job.

        Raises:
            ValueError: there is no clip, or it cannot be read.
            FileNotFoundError: the weights of the network are not here.
        """
        if clip is None:
            raise ValueError("No clip yet: drop a video into the field Clip.")
        describe_weights(model)  # raises before a long clip is read
        path = Path(clip)
        return plan_video(path, folder / default_output(path, options, model).name, options)

    def run_clip(
        self, plan: VideoPlan, model: str, progress: Progress, cancel: threading.Event
    ) -> Result:
        """Do the work of a plan.

        Raises:
            InterpolationCancelled: `cancel` is set; the same plan continues.
        """
        network = self.load(model)
        receipt = run_plan(plan, network, progress=progress, cancel=cancel)
        made, seconds = receipt["frames made in this run"], receipt["seconds"]
        summary = f"{made} frames in {seconds:.1f} s, checked against the plan."
        if worst := receipt.get("least reliable"):
            summary += f" Least reliable: {worst[0]['score']:.2f}, at {worst[0]['seconds']:.2f} s."
        before, after = write_slider_pictures(plan)
        views = [(worst_frames_path(plan.output), "The least reliable frames")] if worst else []
        if EXPLAIN in plan.outputs:
            views.append((plan.outputs[EXPLAIN], "Flow and the network's other steps"))
        return Result(
            summary=summary,
            files=[*plan.outputs.values(), receipt_path(plan.output)],
            before=before,
            after=after,
            video=plan.outputs[MAIN],
            views=views,
        )

    def run_pair(
        self,
        images: Sequence[str | None],
        model: str,
        multi: int,
        folder: Path,
        *,
        progress: Progress,
        cancel: threading.Event,
    ) -> Result:
        """Make the frames between two images, and pictures of how they were made.

        Args:
            multi: there are multi - 1 new frames.

        Raises:
            ValueError: an image is missing or cannot be read, or the two do not fit.
            InterpolationCancelled: `cancel` is set.
        """
        first, second = images
        if first is None or second is None:
            raise ValueError("Two images are needed: drop one into each of the two fields above.")
        describe_weights(model)
        folder = Path(mkdtemp(dir=folder))
        typed = [first, second, "--output", str(folder), "--model", model]
        typed += ["--multi", str(multi), "--explain", "--overwrite", "--device", str(self.device)]
        args = parse_arguments(typed, "sgm-vfi app")
        args.network = self.load(model)
        with torch.inference_mode():
            made = interpolate_pair(args, JobMonitor(progress, cancel))
        average = folder / "average.png"
        write_frame(average, (read_frame(first) + read_frame(second)) / 2)
        reliability = "" if made.reliability is None else f" Reliability {made.reliability:.2f}."
        count = "1 new frame" if multi == 2 else f"{multi - 1} new frames"
        return Result(
            summary=f"{count} in {made.seconds:.1f} s.{reliability}",
            files=made.files,
            before=average,
            after=made.middle,
            views=[(path, path.stem.capitalize()) for path in made.pictures],
        )


def write_slider_pictures(plan: VideoPlan) -> tuple[Path, Path] | tuple[None, None]:
    """Write the middle one of the new frames, and the source frame that was shown then."""
    new = [(n, frame) for n, frame in enumerate(plan.output_frames()) if plan.is_new(frame)]
    if not new:
        return None, None
    number, frame = new[len(new) // 2]
    before, after = (
        plan.output.with_name(f"{plan.output.stem}_{name}.png") for name in ("before", "after")
    )
    ((_, source),) = decode_rgb(plan.source, [frame.left], torch.device("cpu"))
    write_frame(before, apply_orientation(source, plan.source.orientation)[0].clamp(0, 1))
    ((_, made),) = VideoReader(plan.output.name, plan.output).read_frames({number})
    write_frame(after, made)
    return before, after
