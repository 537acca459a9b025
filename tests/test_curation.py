"""The half of a test set that moves most."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut
from torch import Tensor

from sgm_vfi.benchmark import curation
from sgm_vfi.benchmark.__main__ import main as run_benchmark
from sgm_vfi.benchmark.curation import select_larger_half
from sgm_vfi.benchmark.motion_statistics import MotionStatistics, estimate_motion, flow_statistics
from sgm_vfi.benchmark.row_journal import RowJournal
from sgm_vfi.dataset import snu_film
from sgm_vfi.media.images import as_frame, read_frame, write_frame
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.gmflow_two_scales import SCOPES, GMFlowRefine
from sgm_vfi.model.flow.raft import RAFT
from sgm_vfi.model.weight_io import published_name
from tests.conftest import randomize_weights

SHIFTS = (2, 9, 0, 5, 1, 7, 3)  # pixels per frame, by sequence
PREFIX = "data/SNU-FILM/test/GOPRO_test"


def line_of(number: int, *, prefix: str = PREFIX) -> str:
    return " ".join(f"{prefix}/s{number}/{frame}.png" for frame in range(3))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Seven triplets that move to the left, and an easy and a hard list of them."""
    root = tmp_path / "SNU-FILM"
    for number, shift in enumerate(SHIFTS):
        folder = root / "test" / "GOPRO_test" / f"s{number}"
        folder.mkdir(parents=True)
        for frame in range(3):
            left = 60 + frame * shift
            picture = as_frame(astronaut()[100:196, left : left + 128])
            write_frame(folder / f"{frame}.png", picture)
    lines = [line_of(number) for number in range(len(SHIFTS))]
    (root / "test-hard.txt").write_bytes("\r\n".join(["", *lines, ""]).encode())
    return root


def main(arguments: list[str]) -> None:
    run_benchmark(["curation", *arguments])


def run(root: Path, *arguments: object) -> Path:
    """Curate the hard list; returns where the list of its half stands."""
    output = root / "top-half-motion-sufficiency_test-hard.txt"
    command = ("--list", root / "test-hard.txt", "--path", root, "--output", output)
    main([*map(str, (*command, *arguments))])
    return output


# the statistics
def lengths_as_flow(lengths: Tensor) -> Tensor:
    """A flow of these lengths in some direction or other. Shapes: (H, W) -> (2, H, W)."""
    angles = torch.linspace(0, 20, lengths.numel()).view_as(lengths).double()
    return torch.stack((angles.cos(), angles.sin())) * lengths.double()


def test_motion_by_hand() -> None:
    """Of 45 vectors the two longest count, of 40 too, of 39 one: the least of them."""
    for number, expected in ((39, 39.0), (40, 39.0), (45, 44.0), (60, 58.0), (1, 1.0)):
        lengths = torch.arange(1, number + 1)[torch.randperm(number)]
        motion = flow_statistics(lengths_as_flow(lengths[None]))
        assert motion.sufficiency == pytest.approx(expected)
        assert motion.mean == pytest.approx((number + 1) / 2)


@given(st.integers(1, 400), st.integers(0, 9))
def test_sufficiency_is_what_a_twentieth_reaches(number: int, seed: int) -> None:
    lengths = torch.rand(1, number, generator=torch.Generator().manual_seed(seed)) * 30
    least = flow_statistics(lengths_as_flow(lengths)).sufficiency
    reaching = (lengths >= least - 1e-6).sum().item()
    assert reaching == max(1, number // 20)


def test_a_flow_of_no_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="no numbers"):
        flow_statistics(torch.full((2, 3, 3), torch.nan))


class Constant(FlowEstimator):
    """The same flow everywhere, and a memory of what it was asked about."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        self.seen = (source, target)
        return source.new_tensor([3.0, 4.0])[:, None, None].expand(1, 2, *source.shape[-2:])


@pytest.mark.parametrize(
    ("max_side", "size", "length"),
    [(200, (60, 100), 5.0), (100, (60, 100), 5.0), (50, (30, 50), 10.0), (33, (20, 33), None)],
)
def test_lengths_are_pixels_of_the_whole_frames(
    max_side: int, size: tuple[int, int], length: float | None
) -> None:
    estimator = Constant()
    first, last = torch.rand(2, 1, 3, 60, 100)
    motion = estimate_motion(estimator, first, last, max_side)
    assert estimator.seen[0].shape[-2:] == size
    expected = length or np.hypot(3 * 100 / 33, 4 * 3)
    assert motion.mean == pytest.approx(expected)
    if max_side >= 100:
        assert torch.equal(estimator.seen[0], first)
        assert torch.equal(estimator.seen[1], last)


# the choice
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_the_larger_half(values: list[float]) -> None:
    chosen = select_larger_half(values)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == len(values) // 2
    left = [place for place in range(len(values)) if place not in chosen]
    for place in chosen:
        for other in left:
            assert (values[place], -place) > (values[other], -other)


# the command
def test_from_a_list_to_its_harder_half(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The three fastest of seven, in the list's order and words, which the data set can read."""
    output = run(root, "--flow", "classical")
    assert output.read_text() == "".join(f"{line_of(number)}\n" for number in (1, 3, 5))
    assert "OpenCV's DIS, not RAFT as published" in capsys.readouterr().out
    listed = snu_film.find_triplets(root, "hard-l")
    assert [triplet.frame1.parent.name for triplet in listed] == ["s1", "s3", "s5"]
    assert all(path.is_file() for triplet in listed for path in triplet[:3])

    rows = list(csv.DictReader(output.with_suffix(".csv").open()))
    assert [row["triplet"] for row in rows] == [line_of(number) for number in range(7)]
    assert [row["chosen"] for row in rows] == list("0101010")
    for row, shift in zip(rows, SHIFTS, strict=True):
        assert float(row["sufficiency"]) == pytest.approx(2 * shift, abs=0.6)

    about = json.loads(output.with_suffix(".json").read_text())
    assert about["flow"].startswith("classical")
    assert about["max_side"] == 1280
    assert about["counts"] == {"triplets": 7, "chosen": 3}
    values = [float(row["sufficiency"]) for row in rows]
    assert about["statistics"]["all"]["sufficiency"]["median"] == pytest.approx(np.median(values))
    chosen = about["statistics"]["chosen"]["mean"]
    assert chosen["mean"] == pytest.approx(np.mean([float(rows[n]["mean"]) for n in (1, 3, 5)]))
    assert read_frame(output.with_suffix(".png")).shape == (3, 840, 1100)
    assert not list(root.glob("*.jsonl"))


def test_raft_with_named_weights(root: Path, tmp_path: Path) -> None:
    """Its numbers are those of the estimator itself, at the resolution that is asked for."""
    network = randomize_weights(RAFT(iterations=2)).eval()
    torch.save(network.network.state_dict(), tmp_path / "raft.pth")
    (root / "test-hard.txt").write_text(f"{line_of(0)}\n{line_of(1)}\n")
    arguments = ("--weights", tmp_path / "raft.pth", "--iterations", 2, "--max_side", 64)
    output = run(root, *arguments)
    about = json.loads(output.with_suffix(".json").read_text())
    assert (about["flow"], about["iterations"], about["weights"]) == ("RAFT", 2, "raft.pth")
    assert len(about["weights_sha256"]) == 64
    folder = root / "test" / "GOPRO_test" / "s1"
    first, last = (read_frame(folder / f"{frame}.png")[None] for frame in (0, 2))
    expected = estimate_motion(network, first, last, 64)
    row = list(csv.DictReader(output.with_suffix(".csv").open()))[1]
    assert float(row["mean"]) == pytest.approx(expected.mean)
    assert float(row["sufficiency"]) == pytest.approx(expected.sufficiency)


def test_gmflow_refine_with_named_weights(root: Path, tmp_path: Path) -> None:
    estimator = GMFlowRefine().eval()
    state = {published_name(name, SCOPES): x for name, x in estimator.state_dict().items()}
    torch.save(state, tmp_path / "flownet.pkl")
    (root / "test-hard.txt").write_text(f"{line_of(0)}\n{line_of(1)}\n")
    arguments = ("--flow", "gmflow_refine", "--weights", tmp_path / "flownet.pkl")
    about = json.loads(run(root, *arguments, "--max_side", 64).with_suffix(".json").read_text())
    assert about["flow"].startswith("gmflow_refine")
    assert about["weights"] == "flownet.pkl"


def test_an_interrupted_run_goes_on_where_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {path.suffix: path.read_bytes() for path in siblings(run(root, "--flow", "classical"))}
    for path in root.glob("top-half*"):
        path.unlink()

    append, measure, seen = RowJournal.append, curation.estimate_motion, []

    def interrupted(self: RowJournal, row: dict[str, Any]) -> None:
        if len(self.rows) == 4:
            raise KeyboardInterrupt
        append(self, row)

    def counted(estimator: FlowEstimator, *what: Any) -> MotionStatistics:
        seen.append(what)
        return measure(estimator, *what)

    monkeypatch.setattr(RowJournal, "append", interrupted)
    with pytest.raises(SystemExit) as caught:
        run(root, "--flow", "classical")
    assert caught.value.code == 130
    assert [path.suffix for path in root.glob("top-half*")] == [".jsonl"]

    monkeypatch.setattr(RowJournal, "append", append)
    with pytest.raises(SystemExit) as caught:
        run(root, "--flow", "classical", "--max_side", 64)
    assert caught.value.code == 2  # another measurement
    monkeypatch.setattr(curation, "estimate_motion", counted)
    output = run(root, "--flow", "classical")
    assert len(seen) == 3
    for path in siblings(output):
        if path.suffix != ".json":  # that holds the date
            assert path.read_bytes() == whole[path.suffix]


def siblings(output: Path) -> list[Path]:
    return [output.with_suffix(suffix) for suffix in (".txt", ".csv", ".json", ".png")]


def test_xiph_needs_no_list(tmp_path: Path) -> None:
    """Frames two apart of one sequence; the lines name them from the root on."""
    root = tmp_path / "xiph"
    (root / "Tango").mkdir(parents=True)
    for number in range(1, 101):
        shift = 4 if number > 50 else 0
        picture = astronaut()[100:164, 60 + shift * (number % 8) : 124 + shift * (number % 8)]
        write_frame(root / "Tango" / f"{number:03d}.png", as_frame(picture))
    output = tmp_path / "gap2.txt"
    arguments = ("--path", root, "--xiph_gap", 2, "--flow", "classical", "--output", output)
    main([*map(str, arguments)])
    lines = output.read_text().splitlines()
    assert len(lines) == 48 // 2
    form = r"Tango/\d{3}\.png Tango/\d{3}\.png Tango/\d{3}\.png"
    assert all(re.fullmatch(form, line) for line in lines)
    numbers = [[int(n) for n in re.findall(r"\d{3}", line)] for line in lines]
    assert all((b - a, c - b) == (2, 2) for a, b, c in numbers)
    assert min(a for a, _, _ in numbers) >= 47


# what goes wrong
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "none.pth"), r"(?s)No file of weights at none\.pth.*--flow classical"),
        (("--flow", "classical", "--weights", "x.pth"), "classical takes no --weights"),
        (("--flow", "classical", "--output", "half.json"), r"--output ends in \.txt"),
        (("--flow", "classical", "--max_side", "0"), "a whole number from 1 up"),
        (("--flow", "classical", "--list", "missing.txt"), "There is no list file missing.txt"),
    ],
)
def test_an_error_is_a_message_before_any_work(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(root)
    before = sorted(root.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        main(["--list", "test-hard.txt", "--path", str(root), *arguments])
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(root.rglob("*")) == before


def test_a_set_is_looked_through_before_any_work(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "test/GOPRO_test/s4/1.png").unlink()
    (root / "test/GOPRO_test/s6/2.png").unlink()
    with pytest.raises(SystemExit):
        run(root, "--flow", "classical")
    assert re.search("2 of 21 frames are missing; the first one is .*s4", capsys.readouterr().err)
    (root / "test-hard.txt").write_text(f"{line_of(0)}\n{line_of(1)}\n{line_of(0)}\n")
    with pytest.raises(SystemExit):
        run(root, "--flow", "classical")
    assert "got 3, 2 of them different" in capsys.readouterr().err
    write_frame(root / "test/GOPRO_test/s0/2.png", torch.zeros(3, 40, 40))
    (root / "test-hard.txt").write_text(f"{line_of(0)}\n{line_of(1)}\n")
    with pytest.raises(SystemExit):
        run(root, "--flow", "classical")
    assert "one size, got 128x96 and 40x40" in capsys.readouterr().err


def test_classical_flow_is_told_by_the_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    main(["--list", "test-hard.txt", "--path", str(root), "--flow", "classical"])
    assert (root / "output" / "top-half-motion-sufficiency-classical_test-hard.txt").is_file()
    motion = estimate_motion(DISFlow(), *torch.zeros(2, 1, 3, 40, 40), 1280)
    assert motion == (0.0, 0.0)
