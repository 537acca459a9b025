"""Data sets on disk: written, verified, packed, read, sampled, augmented and dealt out."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset import packed, snu_film, vimeo90k, x4k1000fps, xiph
from dataset.__main__ import main
from dataset.augment import Augmentation, Moment, as_triplet
from dataset.frames import FrameError, read_samples, write_frame
from dataset.jitter import jitter_colours
from dataset.lists import place, read_lines
from dataset.loader import ShardSampler, TripletLoader
from dataset.sampling import Draw, TrainingTriplets, any_frame, middle_frame, stream
from dataset.stacks import FileStack, read_bytes
from dataset.synthetic import SyntheticConfig
from dataset.triplet import Triplet, Truth, stack_triplets
from dataset.verify import verify
from dataset.write import write_tree

ROOT = Path(__file__).resolve().parent.parent
SMALL = SyntheticConfig(textures=12, texture_size=64, masks=10, mask_size=48, blur=0.0)
SIZES = {"vimeo90k": (48, 80), "x4k1000fps": (48, 48), "snu-film": (36, 64), "xiph": (36, 64)}
SCENES = {"vimeo90k": 8, "x4k1000fps": 4, "snu-film": 4, "xiph": 8}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One miniature tree per data set, written by our own writer; never changed by a test."""
    folder = tmp_path_factory.mktemp("trees")
    for name, size in SIZES.items():
        write_tree(name, folder / name, scenes=SCENES[name], size=size, config=SMALL)
    write_tree("vimeo90k-septuplets", folder / "septuplets", scenes=4, size=(48, 80), config=SMALL)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def vimeo(trees: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the miniature Vimeo90K, to be damaged."""
    return shutil.copytree(trees["vimeo90k"], tmp_path / "vimeo90k")


# --- written trees -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_written_tree_is_whole(trees: dict[str, Path], name: str) -> None:
    good, report = verify(name, trees[name])
    assert good, report
    height, width = SIZES[name]
    assert f"frames are {width}x{height}; published" in report


def test_written_layouts(trees: dict[str, Path]) -> None:
    """The files that other people's readers would look for."""
    for name, files in {
        "vimeo90k": ["tri_trainlist.txt", "tri_testlist.txt", "sequences/00001/0001/im3.png"],
        "septuplets": ["sep_trainlist.txt", "sep_testlist.txt", "sequences/00001/0001/im7.png"],
        "x4k1000fps": ["train/002/occ000.320/0064.png", "test/Type1/TEST01/0032.png"],
        "snu-film": ["test-easy.txt", "test/GOPRO_test/GOPR0384_11_00/000017.png"],
        "xiph": ["top-half-motion-sufficiency-gap2.txt", "Tango/100.png"],
    }.items():
        for file in files:
            assert (trees[name] / file).is_file(), file


def test_writing_refuses_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        write_tree("xiph", tmp_path / "tree", scenes=1, size=(16, 16), config=SMALL)


def test_writing_is_reproducible(trees: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "again"
    write_tree("snu-film", root, scenes=4, size=SIZES["snu-film"], config=SMALL)
    for old in trees["snu-film"].rglob("*.*"):
        assert old.read_bytes() == (root / old.relative_to(trees["snu-film"])).read_bytes()


def test_command_line(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for a whole tree; 1 and the file otherwise, there by the real command in a process."""
    shutil.copytree(trees["snu-film"], tmp_path / "snu")
    missing = snu_film.triplets(tmp_path / "snu", "hard")[1].target
    missing.unlink()
    assert main(["verify", "snu-film", str(trees["snu-film"])]) == 0
    assert str(missing) not in capsys.readouterr().out
    command = [sys.executable, "-m", "dataset", "verify", "snu-film", tmp_path / "snu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert str(missing) in done.stdout


# --- missing and damaged files -------------------------------------------------------------------


def damage(path: Path) -> None:
    """Spoil the middle of a file and leave its ends alone."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 40 : middle + 40] = bytes(80)
    path.write_bytes(data)


def test_missing_and_cut_off_files_are_named_before_training(vimeo: Path) -> None:
    first, second, third = (stack.files for stack in vimeo90k.file_stacks(vimeo, "train")[:3])
    first[0].unlink()
    second[1].write_bytes(second[1].read_bytes()[:-20])
    third[2].write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 24 files") as caught:
        vimeo90k.training_set(vimeo)
    for file, problem in ((first[0], "missing"), (second[1], "cut off"), (third[2], "empty")):
        assert f"{file} is {problem}" in str(caught.value)


def test_verify_finds_damage_that_ends_do_not_show(vimeo: Path) -> None:
    file = vimeo90k.file_stacks(vimeo, "test")[0].files[1]
    damage(file)
    assert verify("vimeo90k", vimeo, quick=True)[0]
    good, report = verify("vimeo90k", vimeo)
    assert not good
    assert f"{file} is damaged" in report
    assert "23 good" not in report
    assert "toflow" in report  # says how to get it


def test_a_frame_missing_in_the_middle_of_a_clip_is_found(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    """Otherwise all later frames would silently be at wrong times."""
    root = shutil.copytree(trees["x4k1000fps"] / "train", tmp_path / "train")
    missing = x4k1000fps.file_stacks(root)[2].files[31]
    missing.unlink()
    with pytest.raises(ValueError, match=f"{missing} is missing"):
        x4k1000fps.training_set(root)


@pytest.mark.parametrize("name", SIZES)
def test_wrong_root_says_what_is_expected(name: str, tmp_path: Path) -> None:
    good, report = verify(name, tmp_path)
    assert not good
    assert str(tmp_path) in report
    assert "http" in report


def test_short_clips_are_refused(trees: dict[str, Path], tmp_path: Path) -> None:
    root = shutil.copytree(trees["x4k1000fps"] / "val", tmp_path / "val")
    clip = x4k1000fps.file_stacks(root)[0]
    clip.files[-1].unlink()
    with pytest.raises(ValueError, match=f"{clip.name} has 32"):
        x4k1000fps.validation_set(root)


# --- lists ---------------------------------------------------------------------------------------


def test_lists_may_have_blank_lines_and_any_line_ends(vimeo: Path) -> None:
    names = [stack.name for stack in vimeo90k.stacks(vimeo, "train")]
    (vimeo / "tri_trainlist.txt").write_bytes("\r\n\r\n".join(names).encode() + b"\r\n \r\n\r\n")
    assert [stack.name for stack in vimeo90k.stacks(vimeo, "train")] == names


def test_list_paths_are_found_wherever_the_list_was_written(tmp_path: Path) -> None:
    root = tmp_path / "root"
    frame = root / "test" / "a" / "1.png"
    frame.parent.mkdir(parents=True)
    frame.touch()
    for name in ("test/a/1.png", "data/SNU/test/a/1.png", "/elsewhere/test/a/1.png", str(frame)):
        assert place(name, root, ["test"]) == frame
    assert place("D:\\test\\data\\test\\a\\1.png", root, ["test"]) == frame
    assert place("data/test/a/2.png", root, ["test", "a"]) == root / "test" / "a" / "2.png"
    assert place("data/other/1.png", root, ["test"]) == root / "data" / "other" / "1.png"


def test_bad_list_lines_are_named(trees: dict[str, Path], tmp_path: Path) -> None:
    root = shutil.copytree(trees["snu-film"], tmp_path / "snu")
    lines = read_lines(root / "test-hard.txt")
    (root / "test-hard.txt").write_text("\n".join([lines[0], lines[1].rpartition(" ")[0]]))
    with pytest.raises(ValueError, match=r"test-hard.txt, entry 2: .* got 2"):
        snu_film.triplets(root, "hard")
    with pytest.raises(ValueError, match="easy, medium, hard, extreme, hard-l, extreme-l"):
        snu_film.triplets(root, "hardest")


def test_snu_film_gaps_and_halves(trees: dict[str, Path]) -> None:
    """Each list has the gap that its name stands for; an -L list is half of the whole one."""
    for split, gap in snu_film.GAPS.items():
        triplets = snu_film.triplets(trees["snu-film"], split)
        assert len(triplets) == SCENES["snu-film"]
        for triplet in triplets:
            numbers = [int(path.stem) for path in triplet[:3]]
            assert np.diff(numbers).tolist() == [gap, gap]
    for split in ("hard", "extreme"):
        half = snu_film.triplets(trees["snu-film"], f"{split}-l")
        whole = snu_film.triplets(trees["snu-film"], split)
        assert len(half) == len(whole) // 2
        assert set(half) < set(whole)
        others = [change(triplet) for triplet in set(whole) - set(half)]
        assert np.mean([change(triplet) for triplet in half]) > np.mean(others)


def change(triplet: tuple) -> float:
    """How much the picture changes between the outer frames."""
    first, last = (read_samples(path).astype(float) for path in (triplet[0], triplet[2]))
    return float(np.abs(first - last).mean())


def test_xiph_triplets_and_layouts(trees: dict[str, Path], tmp_path: Path) -> None:
    root = trees["xiph"]
    usual = xiph.triplets(root)
    assert len(usual) == 392
    assert [path.name for path in usual[0][:3]] == ["001.png", "002.png", "003.png"]
    listed = xiph.large_motion_triplets(root)
    assert len(listed) == 8 * 48 // 2
    assert set(listed) < set(xiph.triplets(root, gap=2))

    flat = tmp_path / "flat" / "netflix"
    flat.mkdir(parents=True)
    for path in root.glob("*/*.png"):
        (flat / f"{path.parent.name}-{path.name}").symlink_to(path)
    shutil.copy(root / xiph.LARGE_MOTION_LIST, flat.parent)
    assert verify("xiph", flat.parent, quick=True)[0]
    same = xiph.large_motion_triplets(flat.parent)
    assert [path.resolve() for t in same for path in t[:3]] == [p for t in listed for p in t[:3]]


# --- reading -------------------------------------------------------------------------------------


def test_training_samples_are_bytes_of_the_published_frames(trees: dict[str, Path]) -> None:
    """Without augmentation a sample is what the files hold, im2 the target."""
    dataset = vimeo90k.training_set(trees["vimeo90k"], Augmentation())
    sample, stack = dataset[Draw(3)], dataset.stacks[3]
    for frame, file in zip((sample.frame0, sample.target, sample.frame1), stack.files, strict=True):
        assert frame.dtype == torch.uint8
        assert np.array_equal(frame.numpy().transpose(1, 2, 0), read_samples(file))
    assert sample.time.shape == (1, 1, 1)
    assert sample.time.item() == 0.5


def test_sixteen_bit_and_grey_frames_are_read(tmp_path: Path) -> None:
    frame = torch.rand(3, 8, 9)
    write_frame(tmp_path / "deep.png", frame, bits=16)
    assert np.abs(
        read_bytes(tmp_path / "deep.png") / 255 - frame.numpy().transpose(1, 2, 0)
    ).max() <= (0.5 / 255 + 1e-4)


def test_validation_sets_are_fixed(trees: dict[str, Path]) -> None:
    tests = vimeo90k.validation_set(trees["vimeo90k"])
    assert len(tests) == 2
    assert tests[Draw(1)].target.shape == (3, *SIZES["vimeo90k"])
    septuplets = vimeo90k.validation_set(trees["septuplets"], any_time=True)
    assert [moment for _, moment in septuplets.picks] == [Moment(0, 1, 6)]
    assert septuplets[Draw(0)].time.item() == pytest.approx(1 / 6)
    scenes = x4k1000fps.validation_set(trees["x4k1000fps"] / "val", crop=32)
    assert [moment for _, moment in scenes.picks] == [Moment(0, 16, 32)]
    assert torch.equal(scenes[Draw(0, 1, 2)].frame1, scenes[Draw(0)].frame1)
    whole = read_samples(x4k1000fps.triplets(trees["x4k1000fps"] / "val")[0].target)
    assert np.array_equal(scenes[Draw(0)].target.numpy().transpose(1, 2, 0), whole[8:40, 8:40])


def test_septuplets_give_any_time(trees: dict[str, Path]) -> None:
    dataset = vimeo90k.training_set(
        trees["septuplets"], Augmentation(crop=16, reverse_time=True), any_time=True
    )
    times = {round(dataset[Draw(1, epoch)].time.item(), 3) for epoch in range(900)}
    assert {0.5, 0.333, 0.667, 0.167, 0.833} <= times


def test_xtest_moments_cover_a_scene() -> None:
    assert x4k1000fps.moments(33) == [Moment(0, 16, 32)]
    assert x4k1000fps.moments(65) == [Moment(0, 16, 32), Moment(32, 48, 64)]
    eighth = x4k1000fps.moments(33, interval=4)
    assert eighth == [Moment(m, m + 4, m + 8) for m in range(25)]


def test_xtest_multiples(trees: dict[str, Path]) -> None:
    triplets = x4k1000fps.multiple_triplets(trees["x4k1000fps"] / "test")
    assert [triplet.time for triplet in triplets] == [part / 8 for part in range(1, 8)]
    assert [triplet.target.stem for triplet in triplets] == [f"{4 * n:04d}" for n in range(1, 8)]


# --- packed --------------------------------------------------------------------------------------


def test_packed_cache_gives_the_same_samples(trees: dict[str, Path], tmp_path: Path) -> None:
    for name, module, part in (("vimeo90k", vimeo90k, ""), ("x4k1000fps", x4k1000fps, "train")):
        assert main(["pack", name, str(trees[name]), str(tmp_path / name)]) == 0
        augmentation = Augmentation(crop=32, reverse_time=True, rotate=True, flip_vertically=True)
        loose = module.training_set(trees[name] / part, augmentation)
        cached = module.training_set(tmp_path / name / part, augmentation)
        assert isinstance(cached.stacks[0], packed.PackedStack)
        assert len(cached) == len(loose)
        for index in range(len(loose)):
            for one, other in zip(
                loose[Draw(index, 5)][:4], cached[Draw(index, 5)][:4], strict=True
            ):
                assert torch.equal(one, other)


def test_packing_goes_on_with_what_is_missing(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pack", "x4k1000fps", str(trees["x4k1000fps"]), str(tmp_path / "cache")]
    assert main(command) == 0
    shutil.rmtree(tmp_path / "cache" / "val")
    assert main(command) == 0
    assert capsys.readouterr().out.count("packed already") == 2
    assert len(x4k1000fps.validation_set(tmp_path / "cache" / "val", crop=16)) == 1


def test_packed_shards_split_and_are_checked(trees: dict[str, Path], tmp_path: Path) -> None:
    stacks = vimeo90k.stacks(trees["vimeo90k"], "train")
    packed.write_packed(stacks, tmp_path / "cache", shard_bytes=30_000)
    cached = packed.read_packed(tmp_path / "cache")
    assert len({stack.file for stack in cached}) == len(stacks)
    assert [stack.name for stack in cached] == [stack.name for stack in stacks]
    assert np.array_equal(cached[-1][2], stacks[-1][2])
    cached[3].file.write_bytes(cached[3].file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{cached[3].file} has .* not complete"):
        packed.read_packed(tmp_path / "cache")


def test_unfinished_packing_leaves_nothing(vimeo: Path, tmp_path: Path) -> None:
    damage(vimeo90k.file_stacks(vimeo, "train")[5].files[0])
    assert main(["pack", "vimeo90k", str(vimeo), str(tmp_path / "cache")]) == 1
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name != "tri_test"]


# --- choosing frames -----------------------------------------------------------------------------


def test_published_choice_reaches_exactly_the_allowed_frames() -> None:
    """Brute force over a short clip: every (a, a + g, a + 2 g) inside it, and nothing else."""
    length = 9
    allowed = {
        (a, a + g, a + 2 * g) for a in range(length) for g in range(1, length) if a + 2 * g < length
    }
    random = np.random.default_rng(0)
    drawn = Counter(tuple(middle_frame(length, random)) for _ in range(4000))
    assert set(drawn) == allowed


def test_published_choice_is_uniform_in_the_start() -> None:
    """First the start, 0 to 62 of 65 frames alike; then the gap, alike among those that fit."""
    random = np.random.default_rng(1)
    drawn = [middle_frame(65, random) for _ in range(12600)]
    starts = Counter(moment.frame0 for moment in drawn)
    assert set(starts) == set(range(63))
    assert max(abs(count - 200) for count in starts.values()) < 5 * 200**0.5
    gaps = Counter(moment.target - moment.frame0 for moment in drawn if moment.frame0 < 2)
    assert set(gaps) == set(range(1, 33))


def test_any_frame_reaches_all_orders() -> None:
    random = np.random.default_rng(0)
    drawn = {tuple(any_frame(7, random)) for _ in range(4000)}
    assert drawn == {(a, m, b) for a in range(7) for m in range(a + 1, 7) for b in range(m + 1, 7)}
    with pytest.raises(ValueError, match="stack of 2"):
        any_frame(2, random)


# --- augmentation --------------------------------------------------------------------------------


class Painted:
    """A stack whose pixels say where they are: row, column and frame number."""

    name = "painted"

    def __init__(self, side: int = 40, frames: int = 9) -> None:
        self.side, self.frames = side, frames

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> np.ndarray:
        row, column = np.mgrid[: self.side, : self.side]
        return np.stack((row, column, np.full_like(row, 200 + index)), -1).astype(np.uint8)


def test_augmentation_does_the_same_to_all_frames() -> None:
    """Pixels of the three frames come from one place; all that may happen does happen."""
    everything = Augmentation(
        crop=12,
        reverse_colours=True,
        reverse_time=True,
        flip_vertically=True,
        flip_horizontally=True,
        rotate=True,
    )
    dataset = TrainingTriplets([Painted()], everything, any_frame)
    seen = Counter()
    for epoch in range(400):
        sample = dataset[Draw(0, epoch)]
        frames = [frame.long() for frame in sample[:3]]
        reversed_colours = bool(frames[0][0, 0, 0] >= 200)
        row, column, number = torch.stack(
            [frame.flip(0) if reversed_colours else frame for frame in frames]
        ).movedim(1, 0)
        assert (row == row[0]).all()
        assert (column == column[0]).all()
        first, target, last = number.flatten(1).unique(dim=1).squeeze(1).tolist()
        assert sample.time.item() == pytest.approx((target - first) / (last - first))
        places = set(map(tuple, torch.stack((row[0], column[0]), -1).flatten(0, 1).tolist()))
        top, left = row.min().item(), column.min().item()
        assert places == {(top + r, left + c) for r in range(12) for c in range(12)}
        step_down = (row[0, 1, 0] - row[0, 0, 0]).item(), (column[0, 1, 0] - column[0, 0, 0]).item()
        step_right = (
            (row[0, 0, 1] - row[0, 0, 0]).item(),
            (column[0, 0, 1] - column[0, 0, 0]).item(),
        )
        seen["orientation", step_down, step_right] += 1
        seen["colours", reversed_colours] += 1
        seen["time", first > last] += 1
        seen["top", top] += 1
    assert sum(kind[0] == "orientation" for kind in seen) == 8
    assert sum(kind[0] == "top" for kind in seen) == 29
    for switch in ("colours", "time"):
        assert 140 < seen[switch, True] < 260


def test_augmentation_switched_off_changes_nothing() -> None:
    sample = TrainingTriplets([Painted()], Augmentation())[Draw(0)]
    assert np.array_equal(sample.frame0[:2].numpy().transpose(1, 2, 0), Painted()[0][..., :2])


def test_published_augmentations() -> None:
    """Stage 1 does everything; stage 2 neither flips vertically nor reverses colours."""
    vimeo, x4k = vimeo90k.PUBLISHED_AUGMENTATION, x4k1000fps.PUBLISHED_AUGMENTATION
    assert (vimeo.crop, x4k.crop) == (256, 512)
    assert all((vimeo.reverse_time, vimeo.flip_horizontally, vimeo.rotate))
    assert all((vimeo.reverse_colours, vimeo.flip_vertically))
    assert all((x4k.reverse_time, x4k.flip_horizontally, x4k.rotate))
    assert not any((x4k.reverse_colours, x4k.flip_vertically))


def test_jitter_changes_colours_a_little_and_alike() -> None:
    """The same for frames that are the same; grey stays grey; every change has its share."""
    grey = np.mgrid[:16, :16][0].astype(np.uint8)[..., None].repeat(3, axis=2) * 15
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    seen = set()
    for number in range(20):
        images = (grey, red, red)
        changed = jitter_colours(images, 0.05, np.random.default_rng(number))
        assert [image.shape for image in changed] == [(16, 16, 3)] * 3
        assert all(image.dtype == np.uint8 for image in changed)
        assert np.array_equal(changed[1], changed[2])
        assert (changed[0] == changed[0][..., :1]).all()
        assert np.abs(changed[0].astype(int) - grey).max() < 30
        assert np.abs(changed[1].astype(int) - red).max() < 80
        seen.add(tuple(changed[1][0, 0]))
    assert len(seen) > 15
    once, again = (jitter_colours((red,), 0.05, np.random.default_rng(1))[0] for _ in range(2))
    assert np.array_equal(once, again)
    assert np.array_equal(jitter_colours((red,), 0.0, np.random.default_rng(1))[0], red)


def test_impossible_crops_and_turns_are_refused(trees: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="hold no 41x41 crop"):
        TrainingTriplets([Painted()], Augmentation(crop=41))[Draw(0)]
    with pytest.raises(ValueError, match="cannot be turned"):
        vimeo90k.training_set(trees["vimeo90k"], Augmentation(rotate=True))[Draw(0)]


# --- dealing out ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 7), st.integers(0, 5))
def test_training_shards_are_disjoint_even_and_fresh(size: int, world: int, epoch: int) -> None:
    shards = []
    for rank in range(world):
        sampler = ShardSampler(size, rank=rank, world=world, seed=3)
        sampler.set_epoch(epoch)
        shards.append([draw.index for draw in sampler])
        assert len(shards[-1]) == len(sampler) == size // world
    together = [index for shard in shards for index in shard]
    assert len(set(together)) == len(together)
    assert set(together) <= set(range(size))


def test_every_epoch_deals_again() -> None:
    sampler = ShardSampler(64, rank=1, world=2)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        orders.append([draw.index for draw in sampler])
    assert len({tuple(order) for order in orders}) == 4
    assert len({frozenset(order) for order in orders}) == 4


def test_randomness_never_coincides() -> None:
    """Not between purposes, nor between numbers that differ by zeros only."""
    streams = [("a",), ("a", 0), ("a", 0, 0), ("a", 1), ("a", 1, 0), ("a", 0, 1), ("b", 0), ("aa",)]
    firsts = {stream(*arguments).integers(2**62) for arguments in streams}
    assert len(firsts) == len(streams)
    assert stream("a", 3).integers(2**62) == stream("a", 3).integers(2**62)


def test_global_batches_do_not_depend_on_the_number_of_processes() -> None:
    """Two processes with batches of 4 see in each step what one sees with batches of 8."""
    alone = [draw.index for draw in ShardSampler(40, seed=1)]
    halves = [[d.index for d in ShardSampler(40, rank=r, world=2, seed=1)] for r in (0, 1)]
    for step in range(5):
        shared = halves[0][4 * step : 4 * step + 4] + halves[1][4 * step : 4 * step + 4]
        assert set(shared) == set(alone[8 * step : 8 * step + 8])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 6))
def test_validation_shards_cover_everything_once(size: int, world: int) -> None:
    samplers = [ShardSampler(size, rank=r, world=world, training=False) for r in range(world)]
    shards = [[draw.index for draw in sampler] for sampler in samplers]
    assert [len(shard) for shard in shards] == [len(sampler) for sampler in samplers]
    assert sorted(index for shard in shards for index in shard) == list(range(size))


def test_loader_resumes_in_the_middle_of_an_epoch(trees: dict[str, Path]) -> None:
    """Started at batch 2, with real worker processes, it goes on as if never stopped."""
    dataset = vimeo90k.training_set(trees["vimeo90k"], Augmentation(crop=32, rotate=True))
    whole = TripletLoader(dataset, 2, seed=7)
    whole.set_epoch(3)
    batches = list(whole)
    assert len(batches) == len(whole) == 4
    resumed = TripletLoader(dataset, 2, seed=7, workers=2)
    resumed.set_epoch(3, start=2)
    rest = list(resumed)
    assert len(rest) == 2
    for expected, got in zip(batches[2:], rest, strict=True):
        for one, other in zip(expected[:4], got[:4], strict=True):
            assert torch.equal(one, other)
    resumed.set_epoch(4)
    assert len(list(resumed)) == 4  # the workers of the last epoch go on


def test_a_file_that_goes_missing_while_training_is_named(vimeo: Path) -> None:
    """The worker's error comes through with the file's name, whole."""
    dataset = vimeo90k.training_set(vimeo, Augmentation(crop=32))
    missing = dataset.stacks[5].files[1]
    missing.unlink()
    with pytest.raises(FrameError, match=f"Cannot read a frame from {missing}"):
        list(TripletLoader(dataset, 2, workers=1))


def test_loader_leaves_the_global_generators_alone(trees: dict[str, Path]) -> None:
    dataset = vimeo90k.training_set(trees["vimeo90k"], Augmentation(crop=32, rotate=True))
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = next(iter(TripletLoader(dataset, 4)))
    assert np.array_equal(np.random.get_state()[1], before)
    torch.manual_seed(1234)
    assert torch.equal(next(iter(TripletLoader(dataset, 4))).frame0, first.frame0)


def test_loader_refuses_to_give_nothing(trees: dict[str, Path]) -> None:
    dataset = vimeo90k.training_set(trees["vimeo90k"])
    with pytest.raises(ValueError, match=r"8 samples over 4 process\(es\) fill no batch of 3"):
        TripletLoader(dataset, 3, world=4)
    with pytest.raises(ValueError, match="rank 4 of 4"):
        ShardSampler(8, rank=4, world=4)


def test_validation_loader_gives_the_last_batch() -> None:
    dataset = TrainingTriplets([Painted() for _ in range(5)], Augmentation())
    sizes = [len(batch.time) for batch in TripletLoader(dataset, 2, training=False)]
    assert sizes == [2, 2, 1]


# --- triplets ------------------------------------------------------------------------------------


def test_triplets_become_floats_where_they_are_moved() -> None:
    images = [Painted()[number] for number in range(3)]
    batch = stack_triplets([as_triplet(images, 0.25)] * 2)
    moved = batch.to("cpu")
    assert moved.time.flatten().tolist() == [0.25, 0.25]
    assert moved.frame1.shape == (2, 3, 40, 40)
    torch.testing.assert_close(moved.frame1 * 255, batch.frame1.float())
    assert torch.equal(moved.to("cpu").frame0, moved.frame0)


def test_mixed_sizes_are_refused() -> None:
    samples = [as_triplet([Painted(side)[0]] * 3, 0.5) for side in (8, 9)]
    with pytest.raises(ValueError, match=r"\(3, 8, 8\), \(3, 9, 9\)"):
        stack_triplets(samples)


def test_resizing_keeps_motion_true() -> None:
    """Half the size has half the flow; at 1/4 a pixel is the mean of the middle four of sixteen."""
    frame = torch.rand(1, 3, 16, 16)
    flow = torch.tensor((8.0, -4.0)).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    seen = torch.ones(1, 1, 16, 16)
    seen[..., :3] = 0
    truth = Truth(*[flow] * 4, *[seen] * 4)
    small = Triplet(frame, frame, frame, torch.full((1, 1, 1, 1), 0.5), truth).resized(0.25)
    torch.testing.assert_close(small.target[0, :, 1, 2], frame[0, :, 5:7, 9:11].mean((1, 2)))
    assert small.truth.flow_t1[0, :, 2, 2].tolist() == [2.0, -1.0]
    assert small.truth.visible_01[0, 0, 0].tolist() == [0, 1, 1, 1]


def test_file_stack_reads_on_demand(trees: dict[str, Path]) -> None:
    stack = x4k1000fps.file_stacks(trees["x4k1000fps"] / "train")[0]
    assert isinstance(stack, FileStack)
    assert len(stack) == 65
    assert np.array_equal(stack[64], read_samples(stack.files[64]))
