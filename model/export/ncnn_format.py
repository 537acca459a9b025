"""ncnn: a graph without a batch axis, which pnnx converts and ncnn runs.

ncnn has no batch axis, while networks stack both frames on it. `PerSampleGraph` runs every
operation once per sample, and leaves out what has no effect in inference.
"""

import json
import operator
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

FOR_NCNN = (("pnnx", "20261020"), ("ncnn", "1.0.20261020"))
NAME = "network"  # of the files in the archive
MAX_SECONDS = 900  # for the conversion
ATEN = torch.ops.aten
NEUTRAL = ("nan_to_num", "nan_to_num_", "alias", "to", "detach", "_assert_tensor_metadata")


class Samples(tuple[Tensor, ...]):
    """The samples of a batch, (1, ...) each."""


class PerSampleGraph(nn.Module):
    """Computes a captured graph sample by sample. Shapes: as the graph, for a batch of one."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the graph."""
        result = PerSampleInterpreter(self.graph).run(*inputs)
        frame: Tensor = result[0] if isinstance(result, tuple) else result
        return frame


class PerSampleInterpreter(fx.Interpreter):
    """Runs every operation once for each sample of a batch."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation; concatenation and division of the batch only regroup samples."""
        name = target.__name__.partition(".")[0]
        if name in NEUTRAL:
            return args[0] if args else None
        if name == "cat":
            return self._concatenate(*args)
        if name == "chunk" and isinstance(args[0], Samples) and len(args) == 2:
            return tuple(args[0])
        if target is operator.getitem:
            return _select_output(*args)
        if name == "unbind" and args[1] == 1:  # keeps the axis, as ncnn aligns others differently
            parts = _first(args[0]).shape[1]
            return tuple(self._slice(args[0], part) for part in range(parts))
        if name == "stack" and args[1] == 1:
            return self._per_sample(ATEN.cat.default, args, kwargs)
        if name == "lerp":  # which ncnn lacks
            start, end, weight = args
            change = self.call_function(ATEN.sub.Tensor, (end, start), {})
            step = self.call_function(ATEN.mul.Tensor, (change, weight), {})
            return self.call_function(ATEN.add.Tensor, (start, step), {})
        if name in ("add", "sub", "mul"):
            args = tuple(_align(args))
        return self._per_sample(target, args, kwargs)

    def _concatenate(self, parts: list[Any], dim: int = 0) -> Any:
        """Concatenate; without empty tensors, on which pnnx never ends."""
        parts = [part for part in parts if _first(part).numel()]
        if dim == 0:
            samples = [part if isinstance(part, Samples) else (part,) for part in parts]
            return Samples(sample for part in samples for sample in part)
        return self._per_sample(ATEN.cat.default, (parts, dim), {})

    def _slice(self, tensor: Any, channel: int) -> Any:
        return self._per_sample(ATEN.slice.Tensor, (tensor, 1, channel, channel + 1), {})

    def _per_sample(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        count = max((len(part) for part in _find_samples(args)), default=0)
        run = super().call_function
        if not count:
            return run(target, args, kwargs)
        results = [run(target, _choose_sample(args, index), kwargs) for index in range(count)]
        if isinstance(results[0], Tensor):
            return Samples(results)
        return [Samples(parts) for parts in zip(*results, strict=True)]  # several outputs


def _select_output(outputs: Any, index: int) -> Any:
    return outputs[index]


def _first(value: Any) -> Tensor:
    """Return a tensor, or the first sample of a batch."""
    tensor: Tensor = value[0] if isinstance(value, Samples) else value
    return tensor


def _find_samples(value: Any) -> Iterator[Samples]:
    """Yield all batches in nested arguments."""
    if isinstance(value, Samples):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _find_samples(part)


def _choose_sample(value: Any, index: int) -> Any:
    """Return nested arguments with one sample of each batch."""
    if isinstance(value, Samples):
        return value[index]
    if isinstance(value, list | tuple):
        return type(value)(_choose_sample(part, index) for part in value)
    return value


def _align(operands: tuple[Any, ...]) -> Iterator[Any]:
    """Yield operands of a sum or product with equal numbers of axes."""
    tensors = [_first(part) for part in operands if isinstance(part, Tensor | Samples)]
    most = max(tensor.ndim for tensor in tensors)
    for part in operands:
        if isinstance(part, Tensor) and 0 < part.ndim < most:
            part = part.reshape((1,) * (most - part.ndim) + part.shape)
        yield part


def write_ncnn(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, about: dict[str, str]
) -> None:
    """Write an archive of the two files that ncnn loads."""
    with TemporaryDirectory() as folder:
        graph = PerSampleGraph(program.module())
        traced = torch.jit.trace(graph, inputs, check_trace=False)
        torch.jit.save(traced, Path(folder, f"{NAME}.pt"))
        convert(Path(folder), inputs)
        with ZipFile(path, "w") as archive:
            for ending in ("param", "bin"):
                archive.write(Path(folder, f"{NAME}.ncnn.{ending}"), f"{NAME}.{ending}")
            archive.writestr("about.json", json.dumps(about))


def convert(folder: Path, inputs: tuple[Tensor, ...]) -> None:
    """Convert the traced network in a folder.

    Raises:
        ValueError: pnnx fails, takes too long, or ncnn lacks an operation.
    """
    import pnnx

    shapes = ",".join(f"[{','.join(map(str, tensor.shape))}]f32" for tensor in inputs)
    command = [pnnx.EXEC_PATH, f"{NAME}.pt", f"inputshape={shapes}", "fp16=0"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=MAX_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"pnnx did not end within {MAX_SECONDS} s") from error
    param = folder / f"{NAME}.ncnn.param"
    if done.returncode or not param.is_file():
        last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise ValueError(f"pnnx ended with status {done.returncode}: {last}")
    kinds = {line.split()[0] for line in param.read_text().splitlines()[2:]}
    if unknown := sorted(kind for kind in kinds if not kind.isalnum()):
        raise ValueError(f"ncnn knows nothing like {', '.join(unknown)}")


def open_ncnn(path: Path) -> tuple[Any, str]:
    """Open the archive with ncnn on the CPU."""
    import ncnn

    network = ncnn.Net()
    for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{half}", False)
    with TemporaryDirectory() as folder, ZipFile(path) as archive:
        archive.extractall(folder)
        if network.load_param(f"{folder}/{NAME}.param") or network.load_model(
            f"{folder}/{NAME}.bin"
        ):
            raise ValueError(f"ncnn cannot load {path}.")

    def run(*inputs: Tensor) -> Tensor:
        """Return the frame of one run."""
        extractor = network.create_extractor()
        for number, tensor in enumerate(inputs):
            samples = np.ascontiguousarray(tensor[0].cpu().numpy())
            extractor.input(f"in{number}", ncnn.Mat(samples).clone())
        status, frame = extractor.extract("out0")
        if status:
            raise ValueError(f"ncnn cannot run {path}: status {status}.")
        return torch.from_numpy(np.array(frame))[None].to(inputs[0].device)

    return run, f"ncnn {ncnn.__version__}"
