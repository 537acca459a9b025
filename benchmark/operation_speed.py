"""Measure operations of the networks beside plain PyTorch that computes the same."""

import argparse
from collections.abc import Callable
from itertools import product
from statistics import median
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark.evaluation import select_device
from sgm_vfi.benchmark.profiler import time_call
from sgm_vfi.benchmark.tables import markdown_table
from sgm_vfi.media.images import parse_size
from sgm_vfi.model.cli_options import add_device_option, argument_type, parse_positive
from sgm_vfi.model.ops.global_matching import attention, blockwise_attention
from sgm_vfi.model.ops.instance_norm import instance_norm_relu

Call: TypeAlias = Callable[[], Tensor]
CHANNELS = 128  # of features
DOWNSCALE = 8  # of features, relative to frames
TOLERANCE = 1e-3  # largest difference of both results


def build_matching(tokens: Tensor, features: Tensor) -> tuple[Call, Call]:
    """Global matching: softmax over all pairs of cells, in blocks and whole."""
    positions = torch.rand(tokens.shape[1], 2, device=tokens.device)

    def plain() -> Tensor:
        """Store all scores."""
        scores = tokens @ tokens.transpose(1, 2) * CHANNELS**-0.5
        return scores.softmax(dim=-1) @ positions

    return lambda: blockwise_attention(tokens, tokens, positions), plain


def build_attention(tokens: Tensor, features: Tensor) -> tuple[Call, Call]:
    """Attention of feature vectors, fused and whole."""

    def plain() -> Tensor:
        """Store all scores."""
        scores = tokens @ tokens.transpose(1, 2) * CHANNELS**-0.5
        return scores.softmax(dim=-1) @ tokens

    return lambda: attention(tokens, tokens, tokens), plain


def build_normalisation(tokens: Tensor, features: Tensor) -> tuple[Call, Call]:
    """Instance normalisation and ReLU, in one pass and in two."""
    return lambda: instance_norm_relu(features.clone()), lambda: F.instance_norm(features).relu()


OPERATIONS = {
    "global matching": build_matching,
    "attention": build_attention,
    "instance norm and ReLU": build_normalisation,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark operations`."""
    parser.add_argument(
        "--size",
        nargs="+",
        default=[(544, 960)],
        type=argument_type(parse_size),
        metavar="WIDTHxHEIGHT",
        help=f"of the frames; features are at 1/{DOWNSCALE} (default: 960x544)",
    )
    parser.add_argument(
        "--runs", type=argument_type(parse_positive), default=5, help="(default: %(default)s)"
    )
    add_device_option(parser)


@torch.inference_mode()
def run(args: argparse.Namespace) -> None:
    """Print the table; raise if two results differ."""
    device, rows = select_device(args.device), []
    for (height, width), (name, build) in product(args.size, OPERATIONS.items()):
        generator = torch.Generator().manual_seed(0)
        shape = (2, CHANNELS, -(-height // DOWNSCALE), -(-width // DOWNSCALE))
        features = torch.randn(shape, generator=generator).to(device)
        tokens = features.flatten(2).transpose(1, 2).contiguous()
        own, plain = build(tokens, features)
        difference = (own() - plain()).abs().max().item()
        if not difference < TOLERANCE:
            raise ValueError(f"{name} differs from plain PyTorch by {difference:.2g}.")
        seconds = [(time_call(own, device), time_call(plain, device)) for _ in range(args.runs)]
        ours, theirs = (median(one) for one in zip(*seconds, strict=True))
        ratio = median(b / a for a, b in seconds)
        figures = (f"{1e3 * ours:.3g}", f"{1e3 * theirs:.3g}", f"{ratio:.2f}")
        rows.append([name, f"{width}x{height}", *figures, f"{difference:.1g}"])
    head = ["operation", "frames", "ms", "plain PyTorch, ms", "times as fast", "difference"]
    print(markdown_table(head, rows))
