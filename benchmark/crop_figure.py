"""Draw a figure for a paper: the same crop of every model's frame, flow and error."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.benchmark.evaluation import add_random_weights, deterministic_float32, load_models
from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.benchmark.sample_figures import ERROR_RANGE, draw_error_map
from sgm_vfi.media.images import read_frame, require_image_format, write_frame
from sgm_vfi.media.visualise import (
    Picture,
    fit_to_box,
    flow_to_image,
    join_images,
    make_grid,
    measure_flow_range,
)
from sgm_vfi.model import Interpolation, time_like
from sgm_vfi.model.automatic_precision import resolve_precision
from sgm_vfi.model.cli_options import (
    MODELS_HELP,
    add_acceleration,
    add_device_option,
    add_flow_scale,
    argument_type,
    parse_time,
)
from sgm_vfi.model.inference.bisection import support_times
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import Window

CELL_WIDTH = 300  # pixels of a column
BORDER = (1.0, 0.8, 0.0)  # of the crop in the whole frame: red, green, blue


class Example(NamedTuple):
    """The frames of a figure. Shapes: (1, 3, H, W)."""

    frame0: Tensor
    frame1: Tensor
    truth: Tensor | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark figure`."""
    add = parser.add_argument
    add(
        "--path",
        type=Path,
        nargs="+",
        required=True,
        metavar="IMAGE",
        help="the two frames and, if there is one, the true frame between them",
    )
    add("--model", nargs="+", required=True, metavar="NAME_OR_PATH", help=MODELS_HELP)
    add_random_weights(parser)
    add(
        "--crop",
        type=argument_type(parse_crop),
        metavar="X,Y,W,H",
        help="left, top, width and height of the crop in pixels (default: the whole frame)",
    )
    add(
        "--time",
        type=argument_type(parse_time),
        default=0.5,
        help="of the new frame (default: 0.5)",
    )
    add_flow_scale(parser)
    add(
        "--output",
        type=Path,
        default=Path("output/figure.png"),
        help="image file (default: %(default)s)",
    )
    add_device_option(parser)
    add_acceleration(parser)


def run(args: argparse.Namespace) -> None:
    """Interpolate with each model, and write the figure."""
    require_image_format(args.output)
    example = read_example(args.path)
    window = choose_window(args.crop, example.frame0)
    args.precision = resolve_precision(args.precision, args.device)
    with torch.inference_mode(), deterministic_float32():
        models, _ = load_models(list(dict.fromkeys(args.model)), args.device, args)
        results = {}
        for name, model in models.items():
            network = Padded(support_times(model, [args.time]))
            frames = (example.frame0.to(args.device), example.frame1.to(args.device))
            state = network.prepare(*frames, args.flow_scale)
            results[name] = network.interpolate(
                state, time_like(frames[0], args.time), explain=True
            )
        figure = draw_figure(example, results, window)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_frame(args.output, figure)
    print(f"{args.output}: {figure.shape[-1]}x{figure.shape[-2]}, crop {format_crop(window)}")


def parse_crop(text: str) -> Window:
    """Parse left, top, width and height of a crop."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"expected X,Y,W,H in pixels, such as 100,50,96,96, got {text!r}")
    left, top, width, height = map(int, parts)
    if not width or not height:
        raise ValueError(f"a crop has a width and a height above 0, got {text!r}")
    return Window(top, top + height, left, left + width)


def format_crop(window: Window) -> str:
    """Return a window as `--crop` takes it."""
    sides = (window.right - window.left, window.bottom - window.top)
    return ",".join(map(str, (window.left, window.top, *sides)))


def read_example(paths: Sequence[Path]) -> Example:
    """Read two frames and, if it is given, the true one.

    Raises:
        ValueError: there are not two or three images, or they are not of one size.
    """
    if len(paths) not in (2, 3):
        raise ValueError(
            f"--path takes the two frames and, if there is one, the true frame between them; got "
            f"{len(paths)} images."
        )
    frames = [read_frame(path)[None] for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            sizes = (f"{one.shape[-1]}x{one.shape[-2]}" for one in (frames[0], frame))
            raise ValueError(f"{paths[0]} is {next(sizes)}, {path} is {next(sizes)}.")
    return Example(frames[0], frames[1], frames[2] if len(frames) == 3 else None)


def choose_window(crop: Window | None, frame: Tensor) -> Window:
    """Return the crop, or the whole frame; raise ValueError where it leaves the frame."""
    height, width = frame.shape[-2:]
    if crop is None:
        return Window(0, height, 0, width)
    if crop.bottom > height or crop.right > width:
        raise ValueError(f"--crop {format_crop(crop)} leaves the frame, which is {width}x{height}.")
    return crop


def draw_figure(example: Example, results: dict[str, Interpolation], window: Window) -> Tensor:
    """Draw the whole frame with the crop in it, then rows of crops. Shapes: -> (3, h, w)."""
    references = 1 + (example.truth is not None)
    columns = references + len(results)
    blank = Picture("", torch.ones(3, window.bottom - window.top, window.right - window.left))
    average = (example.frame0 + example.frame1) / 2
    top = [Picture("both frames", window.crop(average)[0])]
    if example.truth is not None:
        top.append(Picture("truth", window.crop(example.truth)[0]))
    top += [
        Picture(describe(name, result, example.truth), window.crop(result.frame)[0].cpu())
        for name, result in results.items()
    ]
    rows = [top, draw_flows(results, window, [blank] * references)]
    if example.truth is not None:
        rows.append(draw_errors(example, results, window, [blank]))
    pictures = [picture for row in rows if any(p is not blank for p in row) for picture in row]
    grid = make_grid(pictures, columns, CELL_WIDTH * columns)
    whole = fit_to_box(outline(average[0], window), grid.shape[-1], grid.shape[-1])
    margin = torch.ones(3, whole.shape[-2], grid.shape[-1] - whole.shape[-1])
    return join_images([torch.cat((whole, margin), dim=-1), grid], -2).clamp(0, 1)


def describe(name: str, result: Interpolation, truth: Tensor | None) -> str:
    """Return the name of a model, with its PSNR where the truth is known."""
    if truth is None:
        return name
    return f"{name}, {psnr(result.frame.cpu().clamp(0, 1), truth).item():.2f} dB"


def draw_flows(
    results: dict[str, Interpolation], window: Window, references: list[Picture]
) -> list[Picture]:
    """Draw the flow of each model to frame 0, all on one scale; blank for models without."""
    flows = {
        name: window.crop(result.explanation["flow"])[0, :2].cpu()
        for name, result in results.items()
        if result.explanation and "flow" in result.explanation
        if result.explanation["flow"].any()  # the blend has a flow of zero
    }
    largest = max((measure_flow_range(flow) for flow in flows.values()), default=1.0)
    return references + [
        Picture("flow to frame 0", flow_to_image(flows[name], largest), largest)
        if name in flows
        else references[0]
        for name in results
    ]


def draw_errors(
    example: Example, results: dict[str, Interpolation], window: Window, blank: list[Picture]
) -> list[Picture]:
    """Draw the error of the average and of each model."""
    assert example.truth is not None
    truth = window.crop(example.truth)[0]
    average = window.crop((example.frame0 + example.frame1) / 2)[0]
    first = Picture(f"error, brightest from {ERROR_RANGE:g}", draw_error_map(average, truth))
    return [first, *blank] + [
        Picture("error", draw_error_map(window.crop(result.frame)[0].cpu(), truth))
        for result in results.values()
    ]


def outline(frame: Tensor, window: Window) -> Tensor:
    """Draw the border of a window into a frame. Shapes: (3, H, W) -> the same."""
    thickness = max(1, max(frame.shape[-2:]) // 300)
    height, width = window.bottom - window.top, window.right - window.left
    if (height, width) == tuple(frame.shape[-2:]):
        return frame
    drawn = frame.clone()
    outer = window.expanded(thickness, frame[None])
    drawn[:, outer.top : outer.bottom, outer.left : outer.right] = frame.new_tensor(BORDER)[
        :, None, None
    ]
    drawn[:, window.top : window.bottom, window.left : window.right] = window.crop(frame)
    return drawn
