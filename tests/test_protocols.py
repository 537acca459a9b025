"""What each protocol does to frames, sizes and predictions, and where its samples come from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from sgm_vfi.benchmark.crop_and_resize import (
    crop_middle_half,
    crop_middle_square,
    halve_as_bytes,
    halve_as_floats,
    keep_full_frame,
)
from sgm_vfi.benchmark.evaluation import ProtocolEvaluator, interpolate_at, pad_to_canvas
from sgm_vfi.benchmark.metrics import interpolation_error
from sgm_vfi.benchmark.protocol_and_footage_samples import (
    FrameGroup,
    ProtocolSample,
    find_samples,
    group_by_inputs,
    name_samples,
    read_frame_groups,
    subsample,
)
from sgm_vfi.benchmark.protocols import PROTOCOLS, Protocol
from sgm_vfi.dataset import gopro, middlebury, ucf101, x4k1000fps
from sgm_vfi.dataset.stand_in_data_sets import write_stand_in
from sgm_vfi.dataset.synthetic import SyntheticConfig
from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.dataset.verify import verify_data_set
from sgm_vfi.media.images import write_frame
from sgm_vfi.model import Interpolation, Interpolator

SMALL = SyntheticConfig(textures=12, texture_size=64, masks=10, mask_size=48, blur=0.0)


class Mean(Interpolator):
    """The mean of both frames, whatever the time, and what it was asked."""

    stride = 16
    any_time = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, ...]] = []
        self.scales: list[float] = []

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Tensor:
        self.asked.append(tuple(frame0.shape[-2:]))
        self.scales.append(flow_scale)
        return (frame0 + frame1) / 2

    def interpolate(self, state: Tensor, time: Tensor, *, explain: bool = False) -> Interpolation:
        assert (time == 0.5).all()
        return Interpolation(state)


def predict(*arguments: Any) -> Iterator[Tensor]:
    """The frames of `interpolate_at`."""
    return (result.frame for result in interpolate_at(*arguments))


def evaluator_of(**models: Interpolator) -> ProtocolEvaluator:
    return ProtocolEvaluator(models, {}, {}, {}, torch.device("cpu"))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def moving(height: int, width: int, count: int) -> list[np.ndarray]:
    """Frames of a smooth pattern that moves a pixel a frame, (H, W, 3), bytes."""
    texture = cv2.GaussianBlur(noise(height, width + count, 3), (0, 0), 2)
    return [texture[:, shift : shift + width] for shift in range(count)]


def write_pictures(folder: Path, names: list[str], pictures: list[np.ndarray]) -> list[Path]:
    """Write (H, W, 3) RGB bytes as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(names, pictures, strict=True):
        cv2.imwrite(str(folder / name), picture[..., ::-1])
    return [folder / name for name in names]


# --- views ---------------------------------------------------------------------------------------


def test_halving_as_floats_keeps_what_halving_as_bytes_rounds_up() -> None:
    squares = np.array([[0, 0, 3, 3], [1, 1, 3, 4]], np.uint8)[..., None].repeat(3, axis=-1)
    floats, whole_numbers = halve_as_floats(squares) * 255, halve_as_bytes(squares) * 255
    torch.testing.assert_close(floats, torch.tensor([[[0.5, 3.25]]]).expand(3, 1, 2))
    torch.testing.assert_close(whole_numbers, torch.tensor([[[1.0, 3.0]]]).expand(3, 1, 2))


def test_views_of_published_frames_have_published_sizes() -> None:
    frame = np.broadcast_to(np.uint8(7), (2160, 4096, 3))
    for view in (halve_as_floats, halve_as_bytes, crop_middle_half):
        assert view(frame).shape == (3, 1080, 2048)
    assert crop_middle_square(frame[:720, :1280]).shape == (3, 512, 512)


def test_middles_are_cut_out_evenly() -> None:
    picture = noise(24, 40, 3)
    assert torch.equal(crop_middle_half(picture), keep_full_frame(picture)[:, 6:-6, 10:-10])
    assert torch.equal(crop_middle_square(picture), keep_full_frame(picture))
    wide = noise(520, 514, 3)
    assert torch.equal(crop_middle_square(wide), keep_full_frame(wide)[:, 4:-4, 1:-1])


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "height", "width", "flow_scale"),
    [
        ("xtest-l-2k", 1088, 2048, 1 / 2),
        ("xtest-l-4k", 2176, 4096, 1 / 4),
        ("snu-film-easy", 720, 1280, 4 / 5),
        ("snu-film-l-extreme", 720, 1280, 4 / 5),
        ("xiph-l-2k", 1088, 2048, 1 / 2),
        ("xiph-l-4k", 1088, 2048, 1 / 2),
        ("vimeo90k", 256, 448, 1),
        ("ucf101-8bit", 256, 256, 1),
        ("middlebury", 480, 640, 1),
        ("gopro-8x", 512, 512, 1),
    ],
)
def test_networks_see_frames_padded_as_published(
    name: str, height: int, width: int, flow_scale: float
) -> None:
    """Of the published size, and no larger for the multiples that our networks ask for."""
    protocol, network = PROTOCOLS[name], Mean()
    frame = protocol.view(np.zeros((*protocol.size, 3), np.uint8))[None]
    [prediction] = predict(network, protocol, frame, frame, [0.5])
    assert network.asked == [(height, width)]
    assert network.scales == [flow_scale]
    assert prediction.shape == frame.shape


def test_published_values_are_of_what_their_protocol_measures() -> None:
    for protocol in PROTOCOLS.values():
        for model, known in protocol.published.items():
            assert known.where, model
            assert set(known.values) <= set(protocol.metrics)


def test_rules_say_how_protocols_differ() -> None:
    """No two rows of one data set state the same rules."""
    rules = [str((p.data_set, p.rules())) for p in PROTOCOLS.values()]
    assert len(set(rules)) == len(PROTOCOLS)
    assert PROTOCOLS["xtest-l-2k"].rules()["view"].startswith("Halve the size, averaging after")


# --- measuring -----------------------------------------------------------------------------------


def psnr_of(error: np.ndarray) -> float:
    return -10 * np.log10(np.square(error.astype(np.float64)).mean())


def measured(name: str, folder: Path, pictures: list[np.ndarray]) -> dict[str, float]:
    """One row of the mean of two pictures against the one between, from files."""
    files = write_pictures(folder, ["0.png", "1.png", "2.png"], pictures)
    samples = [ProtocolSample("it", TripletPaths(*files))]
    [group] = read_frame_groups(PROTOCOLS[name], [samples])
    [row] = evaluator_of(mean=Mean()).measure(group, PROTOCOLS[name], lambda _: False)
    return row


def test_snu_film_measures_floats(tmp_path: Path) -> None:
    before, truth, after = pictures = moving(40, 48, 3)
    row = measured("snu-film-hard", tmp_path, pictures)
    error = (before / 255.0 + after / 255.0) / 2 - truth / 255.0
    assert row["psnr"] == pytest.approx(psnr_of(error), abs=1e-4)


def test_pervfi_rounds_the_prediction_down(tmp_path: Path) -> None:
    before, truth, after = pictures = moving(40, 48, 3)
    row = measured("vimeo90k-truncated", tmp_path, pictures)
    error = (before // 2 + after // 2 + (before & after & 1)) / 255.0 - truth / 255.0
    assert row["psnr"] == pytest.approx(psnr_of(error), abs=1e-4)
    grid = torch.arange(256) / 255
    assert torch.equal(PROTOCOLS["vimeo90k-truncated"].round_prediction(grid), grid)


def test_xtest_rounds_the_prediction_and_leaves_the_truth(tmp_path: Path) -> None:
    pictures = moving(40, 48, 3)
    row = measured("xtest-l-2k", tmp_path, pictures)
    before, truth, after = (
        cv2.resize(p.astype(np.float32) / 255, (24, 20), interpolation=cv2.INTER_AREA)
        for p in pictures
    )
    prediction = ((before + after) / 2 * 255).clip(0, 255).round() / 255
    assert row["psnr"] == pytest.approx(psnr_of(prediction - truth), abs=1e-4)
    rounded_truth = (truth * 255).round() / 255
    assert abs(row["psnr"] - psnr_of(prediction - rounded_truth)) > 1e-3


def test_xiph_measures_bytes(tmp_path: Path) -> None:
    pictures = moving(40, 48, 3)
    row = measured("xiph-l-2k", tmp_path, pictures)
    before, truth, after = (cv2.resize(p, (24, 20), interpolation=cv2.INTER_AREA) for p in pictures)
    mean = (before.astype(np.float32) / 255 + after.astype(np.float32) / 255) / 2
    prediction = (mean * 255).round().astype(np.uint8)
    assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, prediction), abs=1e-4)
    similarity = structural_similarity(truth, prediction, channel_axis=-1, data_range=255)
    assert row["ssim_uniform"] == pytest.approx(similarity, abs=1e-9)


def test_middlebury_pads_with_black_to_the_right_and_below() -> None:
    frame = torch.rand(1, 3, 3, 4) + 0.1
    canvas = pad_to_canvas(frame, (5, 7))
    assert torch.equal(canvas[..., :3, :4], frame)
    assert canvas.sum().item() == pytest.approx(frame.sum().item())
    with pytest.raises(ValueError, match="canvas of 7x5, got 4x6"):
        pad_to_canvas(torch.rand(1, 3, 6, 4), (5, 7))


def test_interpolation_error_counts_levels_of_rounded_frames() -> None:
    target = torch.zeros(1, 3, 2, 2)
    frame = target.clone()
    frame[0, 0, 0, 0] = 5.6 / 255  # counts as 6 levels, in one of twelve numbers
    frame[0, 1, 1, 1] = 0.4 / 255  # counts as none
    assert interpolation_error(frame, target).item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["xtest-8x-2k", "gopro-8x"])
def test_halving_three_times_reaches_every_eighth(name: str) -> None:
    """Between black and white the mean of the mean of the mean is the time itself."""
    protocol, network = PROTOCOLS[name], Mean()
    black, white = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
    frames = predict(network, protocol, black, white, protocol.times)
    for time, frame in zip(protocol.times, frames, strict=True):
        torch.testing.assert_close(frame, torch.full_like(frame, time))
    assert len(network.asked) == 7  # each midpoint is made once


def test_predictions_that_are_no_numbers_are_refused() -> None:
    class Broken(Mean):
        def interpolate(
            self, state: Tensor, time: Tensor, *, explain: bool = False
        ) -> Interpolation:
            return Interpolation(state * torch.nan)

    sample = ProtocolSample("it", TripletPaths(Path("a"), Path("b"), Path("c")))
    frame = torch.rand(1, 3, 32, 32)
    group = FrameGroup([sample], frame, frame, [frame])
    rows = evaluator_of(bad=Broken()).measure(group, PROTOCOLS["vimeo90k"], lambda _: False)
    with pytest.raises(ValueError, match="bad predicts values that are not numbers"):
        next(rows)


# --- samples -------------------------------------------------------------------------------------


def test_samples_have_names_of_their_own() -> None:
    root = Path("data")
    one = TripletPaths(root / "s/0.png", root / "s/1.png", root / "s/2.png")
    wider = TripletPaths(root / "s/0.png", root / "s/1.png", root / "s/4.png")
    away = TripletPaths(Path("/x/0.png"), Path("/x/1.png"), Path("/x/2.png"))
    up = TripletPaths(root / "../0.png", root / "../1.png", root / "../2.png")
    names = [sample.name for sample in name_samples([one, wider, one, away, up], root)]
    assert names == ["s/0_1_2", "s/0_1_4", "s/0_1_2#2", "x/0_1_2", "0_1_2"]


def test_limited_samples_are_spread_and_pairs_stay_together(tmp_path: Path) -> None:
    write_stand_in("gopro", tmp_path / "g", scenes=1, size=(16, 16), config=SMALL)
    protocol = PROTOCOLS["gopro-8x"]
    job = find_samples(protocol, tmp_path / "g")
    assert [len(group) for group in group_by_inputs(job.samples)] == [7, 7]
    some = find_samples(protocol, tmp_path / "g", 4)
    assert some.samples == subsample(job.samples, 4)
    groups = list(read_frame_groups(protocol, group_by_inputs(some.samples)))
    assert [len(group.targets) for group in groups] == [2, 2]
    for group in groups:
        for sample, target in zip(group.samples, group.targets, strict=True):
            picture = cv2.imread(str(sample.paths.target))[..., ::-1]
            assert torch.equal(target[0], keep_full_frame(np.ascontiguousarray(picture)))


def test_a_triplet_of_mixed_sizes_is_named(tmp_path: Path) -> None:
    pictures = [noise(20, 24, 3), noise(20, 24, 3), noise(20, 26, 3)]
    with pytest.raises(ValueError, match=r"one size, got .*0.png 24x20, .*2.png 26x20"):
        measured("vimeo90k", tmp_path, pictures)


def test_deep_and_grey_frames_count_as_eight_bits_of_colour(tmp_path: Path) -> None:
    """The same picture in 8 bits, in 16, and as one grey channel, gives the same row."""
    pictures = [p[..., :1].repeat(3, axis=-1).clip(0, 254) for p in moving(20, 24, 3)]
    row = measured("vimeo90k", tmp_path, pictures)
    for number, picture in enumerate(pictures):
        deep = picture.astype(np.uint16) * np.uint16(257) + np.uint16(100 * number)
        cv2.imwrite(str(tmp_path / f"{number}.png"), deep if number < 2 else picture[..., 0])
    protocol = PROTOCOLS["vimeo90k"]
    files = TripletPaths(*(tmp_path / f"{number}.png" for number in range(3)))
    [group] = read_frame_groups(protocol, [[ProtocolSample("it", files)]])
    [other] = evaluator_of(mean=Mean()).measure(group, protocol, lambda _: False)
    assert other == row


# --- readers of UCF101, Middlebury and GoPro -----------------------------------------------------


@pytest.mark.parametrize("name", ["ucf101", "middlebury", "gopro"])
def test_written_trees_are_whole_and_miss_what_is_taken_away(name: str, tmp_path: Path) -> None:
    scenes = len(middlebury.SEQUENCES) if name == "middlebury" else 2
    write_stand_in(name, tmp_path / name, scenes=scenes, size=(16, 24), config=SMALL)
    good, report = verify_data_set(name, tmp_path / name)
    assert good, report
    [protocol, *_] = [p for p in PROTOCOLS.values() if p.data_set == name]
    missing = protocol.triplets(tmp_path / name)[1].target
    missing.unlink()
    good, report = verify_data_set(name, tmp_path / name)
    assert not good
    assert f"{missing} is missing" in report
    with pytest.raises(ValueError, match=f"{missing.name} is missing"):
        find_samples(protocol, tmp_path / name)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_wrong_root_is_named(protocol: Protocol, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        find_samples(protocol, tmp_path)


def test_ucf101_is_read_in_the_order_of_numbers(tmp_path: Path) -> None:
    for number in (101, 11, 1):
        write_pictures(tmp_path / str(number), list(ucf101.FRAMES), 3 * [noise(8, 8, 3)])
    triplets = ucf101.find_triplets(tmp_path)
    assert [paths.target.parent.name for paths in triplets] == ["1", "11", "101"]
    assert triplets[0].frame1.name == "frame_02.png"


def test_middlebury_takes_the_truth_from_its_own_folder(tmp_path: Path) -> None:
    write_stand_in("middlebury", tmp_path / "m", scenes=3, size=(16, 16), config=SMALL)
    triplets = middlebury.find_triplets(tmp_path / "m")
    assert [paths.target.relative_to(tmp_path / "m").as_posix() for paths in triplets] == [
        f"other-gt-interp/{name}/frame10i11.png" for name in ("Beanbags", "Dimetrodon", "DogDance")
    ]


def test_gopro_windows_share_their_ends_and_leave_out_the_rest(tmp_path: Path) -> None:
    names = [f"{number:06d}.png" for number in range(4, 25)]  # 21 frames: two windows, 4 left
    write_pictures(tmp_path / "test/GOPR0001", names, len(names) * [noise(8, 8, 3)])
    triplets = gopro.find_triplets(tmp_path)
    assert [paths.time for paths in triplets] == 2 * [part / 8 for part in range(1, 8)]
    inputs = {(int(paths.frame0.stem), int(paths.frame1.stem)) for paths in triplets}
    assert inputs == {(4, 12), (12, 20)}
    assert [int(paths.target.stem) for paths in triplets] == [*range(5, 12), *range(13, 20)]


def test_xtest_refuses_scenes_that_end_too_early(tmp_path: Path) -> None:
    folder = tmp_path / "Type1/TEST01"
    folder.mkdir(parents=True)
    for number in range(32):  # one short
        write_frame(folder / f"{number:04d}.png", torch.zeros(3, 8, 8))
    for read in (x4k1000fps.find_triplets, x4k1000fps.find_multi_frame_triplets):
        with pytest.raises(ValueError, match="Type1/TEST01 has 32"):
            read(tmp_path)
