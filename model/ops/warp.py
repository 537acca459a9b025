"""Backward warping."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.pixel_grid import pixel_grid
from sgm_vfi.model.ops.resize import halve, resize

WORTH_SHARING = 2**14  # pixels: one thread is faster below this


def backward_warp(
    source: Tensor,
    flow: Tensor,
    padding: str = "border",
    origin: tuple[int, int] = (0, 0),
    *,
    mode: str = "bilinear",
) -> Tensor:
    """Read each output pixel from where its flow vector points in `source`.

        out(x, y) = source(x + u, y + v)    with    flow(x, y) = (u, v)

    Convention: flow is in pixels, channel 0 to the right and channel 1 down; pixel centres
    are at integer coordinates (`align_corners=True`). Outside of the source the nearest edge pixel
    is read (`padding="border"`), or zero (`"zeros"`). NaN vectors are replaced, because PyTorch's
    gradient on the CPU would access memory out of bounds.

    Args:
        origin: (y, x) of the flow's first pixel in the source, where the flow covers only a
            window of it.
        mode: how to read between pixels; "bicubic" keeps more detail and may leave [0, 1].

    Shapes: source (B, C, H, W), flow (B, 2, h, w) -> (B, C, h, w); h, w = H, W without a window.
    """
    x, y = pixel_grid(flow)
    top, left = origin
    return _sample(source, flow, x + left, y + top, padding, mode)


def _sample(
    source: Tensor,
    flow: Tensor,
    x: Tensor,
    y: Tensor,
    padding: str = "border",
    mode: str = "bilinear",
) -> Tensor:
    """Read the source at x + u and y + v. Shapes: flow (B, 2, h, w), x (1, w), y (h, 1)."""
    lines = zip((x, y), flow.unbind(1), (source.shape[-1], source.shape[-2]), strict=True)
    axes = []  # in [-1, 1] inside the frame
    for line, offset, size in lines:
        scale = 2 / max(size - 1, 1)
        axes.append((line + offset).mul_(scale).sub_(1))  # rounded once before the scale
    grid = torch.stack(axes, dim=1).nan_to_num_(nan=-2, posinf=2, neginf=-2)
    grid = grid.permute(0, 2, 3, 1)  # not copied: rows of x and of y are read faster than pairs
    if should_split_rows(source, grid):
        pairs = zip(source.split(1), grid.split(1), strict=True)
        sampled = [grid_sample_in_bands(*pair, mode, padding) for pair in pairs]
        return sampled[0] if len(sampled) == 1 else torch.cat(sampled)
    return F.grid_sample(source, grid, mode, padding, align_corners=True)


def should_split_rows(source: Tensor, grid: Tensor) -> bool:
    """Return whether to split rows among threads: PyTorch gives each sample to one CPU thread.

    Not with gradients, which would be summed over bands, and not in traces.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    learns = torch.is_grad_enabled() and (source.requires_grad or grid.requires_grad)
    few = grid.device.type == "cpu" and len(grid) < torch.get_num_threads()
    return few and not learns and grid[0, ..., 0].numel() >= WORTH_SHARING


def grid_sample_in_bands(source: Tensor, grid: Tensor, mode: str, padding: str) -> Tensor:
    """Apply `grid_sample` to one image with rows split among threads; bitwise equal.

    Shapes: source (1, C, H, W), grid (1, h, w, 2) -> (1, C, h, w).
    """
    height = grid.shape[1]
    count = max(n for n in range(1, torch.get_num_threads() + 1) if height % n == 0)
    bands = grid[0].unflatten(0, (count, -1))
    sources = source.expand(count, -1, -1, -1)  # no copies
    sampled = F.grid_sample(sources, bands, mode, padding, align_corners=True)
    return sampled.transpose(0, 1).flatten(1, 2)[None]


def warp_pair(frames: Tensor, flow: Tensor, reduction: float = 1) -> Tensor:
    """Warp two frames, stacked on the batch axis, each by its half of the flow, and resize them.

    Args:
        reduction: the warped frames are resized by 1 / reduction. Bilinear resizing by an even
            factor reads the two middle pixels of each row of `reduction`: only those are warped,
            except in graphs for other programs.

    Shapes: frames (2B, C, H, W), flow (B, 4, H, W) -> (2B, C, H / reduction, W / reduction).
    """
    flow = stack_flows(flow)
    is_plain = reduction % 2 or torch.compiler.is_compiling()
    if is_plain or any(side % reduction for side in flow.shape[-2:]):
        return resize(backward_warp(frames, flow), 1 / reduction)
    x, y = pixel_grid(flow)
    x, y = _middle_pixels(x, reduction, dim=1), _middle_pixels(y, reduction, dim=0)
    flow = _middle_pixels(_middle_pixels(flow, reduction, dim=2), reduction, dim=3)
    return halve(_sample(frames, flow, x, y))


def stack_flows(flow: Tensor) -> Tensor:
    """Stack both flows on the batch axis. Shapes: (B, 4, H, W) -> (2B, 2, H, W)."""
    if torch.compiler.is_compiling():  # other programs know this better
        return torch.cat(flow.chunk(2, dim=1))
    return flow.unflatten(1, (2, 2)).transpose(0, 1).flatten(0, 1)  # a view for one pair


def _middle_pixels(tensor: Tensor, count: float, dim: int) -> Tensor:
    """Select the two middle pixels of each `count` along an axis."""
    rows = tensor.unflatten(dim, (-1, int(count)))
    return rows.narrow(dim + 1, int(count) // 2 - 1, 2).flatten(dim, dim + 1)
