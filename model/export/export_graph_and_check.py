"""Export of an interpolator as one graph for one frame size, with a check of the result."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import ExportedProgram

from sgm_vfi.model.baselines.pervfi.normalizing_flow import ConditionalNormalizingFlow
from sgm_vfi.model.export.formats import FORMATS, ExportError, ExportFormat, first_line
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import Interpolator, time_like
from sgm_vfi.storage.atomic_write import replace_atomically

COMPARED_TIMES = (1 / 4, 1 / 2, 7 / 8)  # times at which a file is compared with its network
LARGEST_MEAN = 1 / 510  # half a level of 8 bits: a file that is further off is not kept
OBSTACLES = {
    DISFlow: "its flow is OpenCV's, which computes outside of PyTorch",
    ConditionalNormalizingFlow: "it draws noise by a seed, and no format keeps such a generator",
}


class FixedSizeNetwork(nn.Module):
    """The exported network: tensors in, one tensor out."""

    def __init__(self, network: Interpolator, scale: float) -> None:
        super().__init__()
        self.network, self.scale = Padded(network), scale
        self.times = COMPARED_TIMES if network.any_time else (0.5,)

    def forward(self, frame0: Tensor, frame1: Tensor, time: Tensor | None = None) -> Tensor:
        """Shapes: frames (1, 3, H, W), time (1, 1, 1, 1), none where it is 1/2 -> frame."""
        if time is None:
            time = torch.tensor([[[[0.5]]]])  # not `time_like`: known to be 1/2 while captured
        return self.network(frame0, frame1, time.to(frame0), self.scale).frame


class ExportComparison(NamedTuple):
    """Differences between an exported file and its network, for frames in [0, 1]."""

    largest: float
    mean: float
    runner: str
    times: tuple[float, ...]


def export(
    network: Interpolator,
    kind: str,
    size: tuple[int, int],
    path: Path,
    *,
    scale: float = 1.0,
    about: dict[str, str] | None = None,
) -> ExportComparison:
    """Export a network to `path` in one of `FORMATS`, and compare the file with it.

    Args:
        size: height and width of the frames.
        scale: the `flow_scale` of the graph.
        about: metadata of the file.

    Raises:
        ExportError: the export fails or its result differs. No file is left.
    """
    form = FORMATS[kind]
    obstacles = {type(part): OBSTACLES.get(type(part)) for part in network.modules()}
    for reason in filter(None, obstacles.values()):
        raise ExportError(f"It cannot be exported: {reason}.")
    form.require_packages()
    if path.is_dir():
        raise ExportError(f"{path} is a folder: name the file to write in it.")
    fixed = FixedSizeNetwork(network, scale).eval()
    where = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    with torch.no_grad(), warnings.catch_warnings(), replace_atomically(path) as file:
        warnings.simplefilter("ignore")  # of what would matter for other sizes
        inputs = next(build_test_inputs(fixed, size, where))
        program = capture_graph(fixed, inputs)
        form.write(program, inputs, file, about or {})
        agreement = compare_with_network(fixed, form, file, size, where)
        if not agreement.mean <= LARGEST_MEAN:
            raise ExportError(
                f"What it would compute as {kind} differs from the network by {agreement.mean:.2g} "
                f"of [0, 1] on average, up to {agreement.largest:.2g}: something in it depends on "
                f"values in a way that {kind} does not keep."
            )
    return agreement


def capture_graph(fixed: FixedSizeNetwork, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """Capture the graph for inputs of these sizes."""
    try:
        return torch.export.export(fixed, inputs)
    except RuntimeError as error:
        raise ExportError(f"It cannot be exported: {first_line(error)}") from error


def build_test_inputs(
    fixed: FixedSizeNetwork, size: tuple[int, int], where: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """Yield random frames, one a shift of the other, for each compared time."""
    generator = torch.Generator().manual_seed(0)
    for time in fixed.times:
        coarse = torch.rand(1, 3, *(max(side // 16, 2) for side in size), generator=generator)
        frame0 = F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1).to(where)
        frame1 = frame0.roll((2, 3), dims=(2, 3))
        yield (
            frame0,
            frame1,
            *([time_like(frame0, time)] if fixed.times == COMPARED_TIMES else []),
        )


def compare_with_network(
    fixed: FixedSizeNetwork,
    form: ExportFormat,
    file: Path,
    size: tuple[int, int],
    where: torch.device,
) -> ExportComparison:
    """Run the file and the network, and compare their frames."""
    run, runner = form.open(file)
    errors = [
        (run(*given) - fixed(*given)).abs() for given in build_test_inputs(fixed, size, where)
    ]
    largest, mean = (max(f(error).item() for error in errors) for f in (torch.max, torch.mean))
    return ExportComparison(largest, mean, runner, fixed.times)
