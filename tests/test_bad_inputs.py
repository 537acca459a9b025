"""Files that are damaged or made to do harm, and absurd values: one sentence each."""

import json
import os
import struct
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sgm_vfi import cli
from sgm_vfi.benchmark.tables import protect_cell
from sgm_vfi.media.charts import put_text
from sgm_vfi.media.frame_readers import find_frame_readers
from sgm_vfi.media.image_header import read_declared_size
from sgm_vfi.media.image_output_paths import require_writable_path
from sgm_vfi.media.images import FrameError, read_frame, write_frame
from sgm_vfi.model.weight_io import CheckpointError, read_weights, save_weights
from sgm_vfi.model.zoo import build_interpolator, load_interpolator
from tests.fixtures.videos import moving_frames, write_clip
from tests.stress.fuzz import fuzz


def test_mutated_files_end_in_a_sentence(tmp_path: Path) -> None:
    """The short form of `python -m tests.stress fuzz`."""
    outcomes = fuzz(tmp_path, 24, seed=1, processes=1)
    assert len(outcomes) == 24
    assert [outcome for outcome in outcomes if outcome.problem] == []


def png(width: int, height: int) -> bytes:
    """A small file that declares a size and holds next to nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [body, b"IDAT" + zlib.compress(b"\0" * 64), b"IEND"]
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff(width: int, height: int) -> bytes:
    tags = struct.pack("<H", 2) + struct.pack("<HHII", 256, 4, 1, width)
    return b"II*\0" + struct.pack("<I", 8) + tags + struct.pack("<HHIII", 257, 4, 1, height, 0)


@pytest.mark.parametrize("make", [png, tiff])
def test_a_picture_that_declares_gigabytes_is_refused(make: object, tmp_path: Path) -> None:
    path = tmp_path / f"bomb.{make.__name__}"
    path.write_bytes(make(30_000, 30_000))
    with pytest.raises(FrameError, match="declares 30000x30000 pixels"):
        read_frame(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".ppm"])
def test_the_declared_size_is_that_of_the_picture(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    write_frame(path, torch.rand(3, 20, 30))
    assert read_declared_size(path.read_bytes()) == (20, 30)


def test_a_folder_that_contains_itself_is_read_once(tmp_path: Path) -> None:
    write_frame(tmp_path / "1.png", torch.rand(3, 8, 8))
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(".")
    assert len(find_frame_readers([tmp_path])) == 1


def test_weights_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**24))
    with pytest.raises(CheckpointError, match="unpack to 16777216 bytes"):
        read_weights(bomb)


def test_weights_of_other_tools_are_read(tmp_path: Path) -> None:
    """Most write the metadata {"format": "pt"}, which is no JSON."""
    network = build_interpolator("ifrnet_s")
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    own = {"network": json.dumps("ifrnet"), "config": json.dumps(asdict(network.config))}
    path = tmp_path / "net.safetensors"
    save_file(state, path, own | {"format": "pt"})
    assert type(load_interpolator(path)) is type(network)


@pytest.mark.parametrize("widths", [[40000, 40000, 40000, 40000], [10**9, 10**9, 10**9, 10**9]])
def test_weights_that_describe_a_huge_network_are_refused(
    widths: list[int], tmp_path: Path
) -> None:
    network = build_interpolator("ifrnet_s")
    config = asdict(network.config) | {"widths": widths}
    path = tmp_path / "net.safetensors"
    save_weights(network, path, {"network": "ifrnet", "config": config})
    with pytest.raises(CheckpointError, match="describes a network that is not known here"):
        load_interpolator(path)


def test_clips_whose_names_are_not_utf8_are_drawn_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV crashed on such texts."""
    monkeypatch.chdir(tmp_path)
    write_clip(Path(os.fsdecode(b"caf\xe9.mp4")), moving_frames(3))
    arguments = ["--model", "repeat", "--metrics", "psnr", "--output", "r.json"]
    cli.main(["benchmark", "footage", "--path", ".", *arguments])
    assert all(r"caf\udce9.mp4" in Path(f"r.{kind}").read_text() for kind in ("json", "html"))
    assert (
        put_text(np.zeros((20, 90, 3), np.uint8), os.fsdecode(b"caf\xe9"), 2, 12, (9, 9, 9)) is None
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\tx"])
def test_cells_that_begin_as_formulas_are_quoted(text: str) -> None:
    assert protect_cell(text) == f"'{text}"


def test_other_cells_stay(tmp_path: Path) -> None:
    assert [protect_cell(cell) for cell in ("a=b", -1.5, None, np.pi)] == ["a=b", -1.5, None, np.pi]


def test_a_name_without_room_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="its name has 254 bytes"):
        require_writable_path(tmp_path / ("a" * 250 + ".mp4"))


ABSURD = ("--multi 100000000", "--fps 1/1000000", "--fps 1e12", "--fps 1e999999999", "--slow 1e9")


@pytest.mark.parametrize("given", [*ABSURD, f"--multi {'9' * 5000}", "--time 1e-999999999"])
def test_absurd_values_are_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="error: argument --"):
        cli.main(["interpolate", "clip.mp4", *given.split()])
    assert len(capsys.readouterr().err) < 6000


RESULTS = {
    "deep": "[" * 200_000,
    "a model is a number": '{"metrics":["psnr"],"rows":[{"model":5,"psnr":1.0}]}',
    "means are numbers": '{"metrics":["psnr"],"means":[5],"rows":[{"model":"a","psnr":1.0}]}',
    "a metric is a text": '{"metrics":["psnr"],"rows":[{"model":"a","psnr":"much"}]}',
    "metrics are a number": '{"metrics":5,"rows":[{"model":"a","psnr":1.0}]}',
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_of_another_structure_are_named(case: str, workdir: Path) -> None:
    Path("x.json").write_text(RESULTS[case])
    with pytest.raises(SystemExit, match=r"x\.json is no file of results"):
        cli.main(["benchmark", "report", "x.json", "--output", "r.html"])
    assert os.listdir() == ["x.json"]
