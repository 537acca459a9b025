"""Command-line options that choose an interpolator and wrap it."""

import argparse
import re
import textwrap
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TypeVar

import torch

from sgm_vfi.model.automatic_precision import AUTO, resolve_precision
from sgm_vfi.model.import_by_name import is_reference
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.tiling import Tiled
from sgm_vfi.model.interpolator import Interpolator, flow_scale_fraction
from sgm_vfi.model.malloc_settings import keep_freed_memory
from sgm_vfi.model.network_from_weights import keypoint_ratio
from sgm_vfi.model.precision_and_compile import PRECISIONS, compile_modules, set_inference_precision
from sgm_vfi.model.zoo import (
    ZOO,
    default_interpolator,
    find_weights,
    load_interpolator,
    needs_weights,
)
from sgm_vfi.short_help import RareHelp

T = TypeVar("T")
MAX_MULTIPLE = 1000  # of the frame rate
DIGITS, SIDE_DIGITS = 12, 5  # of whole numbers, and of the sides of frames
NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,2}|/\d{1,15})?")
LARGEST_FLOW_SCALE = 4  # of all networks
MODELS_HELP = "names of networks, files of weights, or classes of yours, file.py:Class"
CUDA_GRAPHS = "CUDA graphs"  # value of `--compile`


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add `--model` and the other options that `load_network` reads."""
    names = textwrap.fill(", ".join(ZOO), width=76, break_on_hyphens=False)
    group = parser.add_argument_group("network", f"Names:\n{textwrap.indent(names, '  ')}")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--model",
        default=default_interpolator(),
        metavar="NAME_OR_PATH",
        help="name of a network, file of weights, or class of yours, file.py:Class or module:Class "
        "(default: %(default)s)",
    )
    which.add_argument(
        "--exp_name",
        dest="model",
        metavar="NAME",
        help=RareHelp("name of an experiment, whose weights are log/NAME/ckpt/NAME.pth"),
    )
    add_scale_and_points(group)
    group.add_argument(
        "--tile",
        type=argument_type(parse_whole),
        metavar="PIXELS",
        help=RareHelp(
            "synthesise in tiles of this size, with equal results and less memory (default: off)"
        ),
    )
    group.add_argument(
        "--flip_ensemble",
        action="store_true",
        help=RareHelp(
            "average with the prediction of rotated frames: slightly better, twice the time"
        ),
    )
    add_acceleration(group)
    add_device_option(group)


def format_default(values: Iterable[object]) -> str:
    """Return the default of an option with several values as one types it."""
    return " ".join(map(str, values))


def add_scale_and_points(parser: argparse._ActionsContainer) -> None:
    """Add `--num_key_points` and `--flow_scale`."""
    parser.add_argument(
        "--num_key_points",
        type=argument_type(parse_key_points),
        metavar="SHARE",
        help=RareHelp(
            "share of cells matched globally, 0 to 1, or -1 for all (default: as trained)"
        ),
    )
    add_flow_scale(parser)


def add_flow_scale(parser: argparse._ActionsContainer) -> None:
    """Add `--flow_scale`."""
    parser.add_argument(
        "--flow_scale",
        type=argument_type(parse_flow_scale),
        default=1.0,
        metavar="RATIO",
        help="estimate motion on frames resized by this: 1/2 for 2K, 1/4 for 4K; RIFE also "
        "supports 2 and 4, for small motion (default: 1)",
    )


def add_device_option(
    parser: argparse._ActionsContainer,
    *,
    default: str | None = None,
    help: str = "such as cpu, cuda or cuda:1 (default: %(default)s)",
) -> None:
    """Add `--device`; by default it is a GPU if there is one."""
    parser.add_argument(
        "--device",
        type=argument_type(parse_device),
        default=default or ("cuda" if torch.cuda.is_available() else "cpu"),
        help=help,
    )


def add_acceleration(parser: argparse._ActionsContainer) -> None:
    """Add the options that `accelerate` reads."""
    parser.add_argument(
        "--precision",
        choices=(*PRECISIONS, AUTO),
        default="fp32",
        help=RareHelp(
            "precision of convolutions and attention; all but fp32 change the result slightly; "
            "auto: bf16 where the device computes in it and is faster (default: %(default)s)"
        ),
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help=RareHelp("compile the network: slow to start, then faster"),
    )
    parser.add_argument(
        "--cuda_graphs",
        dest="compile",
        action="store_const",
        const=CUDA_GRAPHS,
        help=RareHelp("--compile with CUDA graphs, recorded for each frame size; NVIDIA GPUs only"),
    )


def accelerate(network: Interpolator, precision: str, compiled: bool | str) -> None:
    """Apply `--precision` and `--compile` to a network; the defaults are exact.

    Args:
        compiled: True, False, or `CUDA_GRAPHS` for CUDA graphs of what is compiled.
    """
    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # by default PyTorch rounds convolutions on GPUs
    if compiled:
        parts = list(network.compute_modules())
        if not parts:
            raise ValueError(
                f"{type(network).__name__} has no compute modules to compile; leave --compile out."
            )
        kind = next(parts[0].parameters()).device.type
        if compiled == CUDA_GRAPHS and kind != "cuda":
            raise ValueError(
                f"--cuda_graphs is for NVIDIA GPUs, the network is on {kind}; take --compile."
            )
        compile_modules(parts, graphs=compiled == CUDA_GRAPHS)  # before the precision is set
    set_inference_precision(network, precision)


def load_bare_network(args: argparse.Namespace) -> Interpolator:
    """Load the network of `--model` to its device, accelerated as the options say.

    The second call with the same arguments returns the same network.
    """
    if "network" in args:
        loaded: Interpolator = args.network
        return loaded
    network = load_interpolator(args.model, num_key_points=args.num_key_points).to(args.device)
    flow_scale_fraction(args.flow_scale, network.largest_flow_scale)
    if args.precision == AUTO:
        has_modules = next(iter(network.compute_modules()), None) is not None
        args.precision = resolve_precision(AUTO, args.device) if has_modules else "fp32"
    accelerate(network, args.precision, args.compile)
    args.network = network
    return network


def load_network(args: argparse.Namespace) -> Interpolator:
    """Load the network of `--model` and wrap it as the options say, for frames of any size."""
    network = load_bare_network(args)
    if args.tile is not None:
        try:
            network = Tiled(network, args.tile)
        except TypeError as error:
            raise ValueError(f"--tile {args.tile} with {args.model}: {error}") from error
    if args.flip_ensemble:
        network = FlipEnsemble(network)
    return Padded(network)


def describe_weights(name_or_path: str) -> str:
    """Describe a network by its name and the file of its weights."""
    if is_reference(name_or_path):
        return f"{name_or_path} (Python code)"
    if not needs_weights(name_or_path):
        return f"{name_or_path} (needs no weights)"
    return f"{name_or_path} (weights: {find_weights(name_or_path)})"


def argument_type(convert: Callable[[str], T]) -> Callable[[str], T]:
    """Make a parser an argparse type whose errors show the reason."""

    def converted(text: str) -> T:
        """Convert `text`, and report a ValueError as a refused argument."""
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return converted


def parse_fraction(text: str) -> Fraction:
    """Parse a number such as 0.5 or 1/2 exactly; refuse those of hundreds of digits."""
    try:
        if not NUMBER.fullmatch(text):
            raise ValueError("of another form")
        return Fraction(text)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"expected a number such as 0.5 or 1/2, got {text[:40]!r}") from error


def parse_number(text: str) -> float:
    """Parse a number such as 0.5 or 1/2."""
    return float(parse_fraction(text))


def parse_whole(text: str) -> int:
    """Parse a whole number of a few digits, which may be negative."""
    if not text.removeprefix("-").isdecimal() or len(text) > DIGITS:
        raise ValueError(f"expected a whole number, got {text[:40]!r}")
    return int(text)


def parse_time(text: str) -> float:
    """Parse a time between two frames."""
    value = parse_number(text)
    if not 0 < value < 1:
        raise ValueError(f"a time lies between 0 and 1, both excluded, got {text}")
    return value


def parse_multiple(text: str) -> int:
    """Parse the factor of the frame rate."""
    if not (text.isdecimal() and len(text) <= DIGITS and 2 <= int(text) <= MAX_MULTIPLE):
        raise ValueError(f"expected a whole number from 2 to {MAX_MULTIPLE}, got {text[:40]!r}")
    return int(text)


def parse_positive(text: str) -> int:
    """Parse a whole number from 1 up."""
    if not text.isdecimal() or len(text) > DIGITS or not int(text):
        raise ValueError(f"a whole number from 1 up is wanted, got {text[:40]!r}")
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Parse a size in pixels, WIDTHxHEIGHT as in FFmpeg, into (height, width)."""
    width, _, height = text.partition("x")
    sides = (width, height)
    if not all(side.isdecimal() and len(side) <= SIDE_DIGITS and int(side) for side in sides):
        raise ValueError(f"expected WIDTHxHEIGHT in pixels, such as 1280x720, got {text[:40]!r}")
    return int(height), int(width)


def parse_flow_scale(text: str) -> float:
    """Parse a flow scale; the network checks its own limit."""
    return float(flow_scale_fraction(parse_number(text), LARGEST_FLOW_SCALE))


def parse_key_points(text: str) -> float:
    """Parse a share of key points as the published code counts them."""
    value = parse_number(text)
    keypoint_ratio(value)
    return value


def parse_device(text: str) -> torch.device:
    """Parse a device, and check that it is available."""
    try:
        wanted = torch.device(text)
        torch.zeros(1, device=wanted).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"there is no device {text!r} here ({reason})") from error
    return wanted
