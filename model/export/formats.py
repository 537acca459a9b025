"""Export formats: how a graph is written as ONNX, TorchScript, pt2 or ncnn, and run again."""

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from sgm_vfi.model.export.ncnn_format import FOR_NCNN, open_ncnn, write_ncnn

INPUTS = ("frame0", "frame1", "time")
FOR_ONNX = (("onnx", "1.23.2"), ("onnxscript", "0.7.2"), ("onnxruntime", "1.31.1"))
ONNX_VERSION = 18  # of its operators

Run = Callable[..., Tensor]  # the inputs of a file -> its frame


class ExportError(ValueError):
    """A network that cannot be exported; the message says why."""


class ExportFormat(NamedTuple):
    """How files of one format are written and run."""

    ending: str
    write: Callable[[ExportedProgram, tuple[Tensor, ...], Path, dict[str, str]], None]
    open: Callable[[Path], tuple[Run, str]]  # and the name of the runtime
    packages: tuple[tuple[str, str], ...] = ()  # required besides PyTorch, with versions

    def require_packages(self) -> None:
        """Raise ExportError with all missing packages."""
        missing = [name for name, _ in self.packages if find_spec(name) is None]
        if missing:
            pins = " ".join(f"{name}=={version}" for name, version in self.packages)
            raise ExportError(
                f"Such files are written and compared with the help of packages that are not "
                f"installed here ({', '.join(missing)}): pip install {pins}"
            )


def first_line(error: Exception) -> str:
    """Return the first line of an error, without a full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def write_torchscript(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, about: dict[str, str]
) -> None:
    """Write a file for `torch.jit.load`, also in C++, on the same kind of device."""
    script = torch.jit.trace(program.module(), inputs, check_trace=False)
    torch.jit.save(script, path, _extra_files={"about.json": json.dumps(about)})


def open_torchscript(path: Path) -> tuple[Run, str]:
    """Open the file with this PyTorch."""
    return torch.jit.load(path), f"TorchScript of PyTorch {torch.__version__}"


def write_pt2(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, about: dict[str, str]
) -> None:
    """Write a file for `torch.export.load`."""
    torch.export.save(program, path, extra_files={"about.json": json.dumps(about)})


def open_pt2(path: Path) -> tuple[Run, str]:
    """Open the file with this PyTorch."""
    return torch.export.load(path).module(), f"torch.export of PyTorch {torch.__version__}"


def write_onnx(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, about: dict[str, str]
) -> None:
    """Write one ONNX file with its weights."""
    try:
        written = torch.onnx.export(
            program,
            inputs,
            input_names=INPUTS[: len(inputs)],
            output_names=["frame"],
            opset_version=ONNX_VERSION,
            custom_translation_table={torch.ops.aten.sort.stable: sort_in_onnx},
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        missing = re.search(
            r"No ONNX function found for (?:<OpOverload\(op=)?'?([\w.]+)", str(error)
        )
        reason = f"ONNX knows nothing like {missing[1]}" if missing else first_line(error)
        raise ExportError(f"It cannot be exported to ONNX: {reason}.") from error
    assert written is not None
    written.model.metadata_props.update(about)
    written.save(path)


def sort_in_onnx(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Translate a stable sort to TopK, which ONNX defines as stable."""
    from onnxscript import opset18 as op

    count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def open_onnx(path: Path) -> tuple[Run, str]:
    """Open the file with ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensor:
        """Return the frame of one run."""
        given = {name: tensor.cpu().numpy() for name, tensor in zip(INPUTS, inputs, strict=False)}
        (frame,) = session.run(None, given)
        return torch.from_numpy(frame).to(inputs[0].device)

    return run, f"onnxruntime {onnxruntime.__version__}"


def write_archive(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, about: dict[str, str]
) -> None:
    """Write an archive of the files that ncnn loads."""
    try:
        write_ncnn(program, inputs, path, about)
    except ValueError as error:
        raise ExportError(f"It cannot be exported to ncnn: {first_line(error)}.") from error
    except (RuntimeError, IndexError, TypeError) as error:
        raise ExportError(
            f"It cannot be exported to ncnn, which has no batch axis, as it does more with the "
            f"batch than stack both frames ({first_line(error)}). IFRNet and RIFE can be exported."
        ) from error


FORMATS = {
    "onnx": ExportFormat(".onnx", write_onnx, open_onnx, FOR_ONNX),
    "torchscript": ExportFormat(".pt", write_torchscript, open_torchscript),
    "pt2": ExportFormat(".pt2", write_pt2, open_pt2),
    "ncnn": ExportFormat(".ncnn.zip", write_archive, open_ncnn, FOR_NCNN),
}
