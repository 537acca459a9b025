"""Data sets on disk: written, verified, listed and read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sgm_vfi.dataset import snu_film, vimeo90k, x4k1000fps, xiph
from sgm_vfi.dataset.__main__ import main
from sgm_vfi.dataset.augment import Augmentation, TripletIndices
from sgm_vfi.dataset.clip_frames import read_8_bit
from sgm_vfi.dataset.stand_in_data_sets import write_stand_in
from sgm_vfi.dataset.triplet import read_lines, resolve_listed_path
from sgm_vfi.dataset.triplet_sampling import SampleKey
from sgm_vfi.dataset.verify import verify_data_set
from sgm_vfi.media.images import read_samples, write_frame
from tests.fixtures.data_sets import SCENES, SIZES, SMALL, damage
from tests.fixtures.processes import ROOT, python

# ---- written trees -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_written_tree_is_whole(trees: dict[str, Path], name: str) -> None:
    good, report = verify_data_set(name, trees[name])
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
        write_stand_in("xiph", tmp_path / "tree", scenes=1, size=(16, 16), config=SMALL)


def test_writing_is_reproducible(trees: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "again"
    write_stand_in("snu-film", root, scenes=4, size=SIZES["snu-film"], config=SMALL)
    for old in trees["snu-film"].rglob("*.*"):
        assert old.read_bytes() == (root / old.relative_to(trees["snu-film"])).read_bytes()


def test_command_errors(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for a whole tree; 1 and the file otherwise, there by the real command in a process."""
    shutil.copytree(trees["snu-film"], tmp_path / "snu")
    missing = snu_film.find_triplets(tmp_path / "snu", "hard")[1].target
    missing.unlink()
    assert main(["verify", "snu-film", str(trees["snu-film"])]) == 0
    assert str(missing) not in capsys.readouterr().out
    process = python(
        "-m", "dataset", "verify", "snu-film", tmp_path / "snu", cwd=ROOT, merges=False
    )
    output, errors = process.communicate()
    assert process.returncode == 1, errors
    assert str(missing) in output


# ---- missing and damaged files -------------------------------------------------------------------


def test_missing_and_cut_off_files_are_named_before_training(vimeo: Path) -> None:
    first, second, third = (stack.files for stack in vimeo90k.find_image_stacks(vimeo, "train")[:3])
    first[0].unlink()
    second[1].write_bytes(second[1].read_bytes()[:-20])
    third[2].write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 24 files") as caught:
        vimeo90k.build_training_set(vimeo)
    for file, problem in ((first[0], "missing"), (second[1], "cut off"), (third[2], "empty")):
        assert f"{file} is {problem}" in str(caught.value)


def test_verify_finds_damage_that_ends_do_not_show(vimeo: Path) -> None:
    file = vimeo90k.find_image_stacks(vimeo, "test")[0].files[1]
    damage(file)
    assert verify_data_set("vimeo90k", vimeo, quick=True)[0]
    good, report = verify_data_set("vimeo90k", vimeo)
    assert not good
    assert f"{file} is damaged" in report
    assert "23 good" not in report
    assert "toflow" in report  # says how to get it


def test_a_frame_missing_in_the_middle_of_a_clip_is_found(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    """Otherwise all later frames would silently be at wrong times."""
    root = shutil.copytree(trees["x4k1000fps"] / "train", tmp_path / "train")
    missing = x4k1000fps.find_image_stacks(root)[2].files[31]
    missing.unlink()
    with pytest.raises(ValueError, match=f"{missing} is missing"):
        x4k1000fps.build_training_set(root)


@pytest.mark.parametrize("name", SIZES)
def test_wrong_root_says_what_is_expected(name: str, tmp_path: Path) -> None:
    good, report = verify_data_set(name, tmp_path)
    assert not good
    assert str(tmp_path) in report
    assert "http" in report


def test_short_clips_are_refused(trees: dict[str, Path], tmp_path: Path) -> None:
    root = shutil.copytree(trees["x4k1000fps"] / "val", tmp_path / "val")
    clip = x4k1000fps.find_image_stacks(root)[0]
    clip.files[-1].unlink()
    with pytest.raises(ValueError, match=f"{clip.name} has 32"):
        x4k1000fps.build_validation_set(root)


# ---- lists ---------------------------------------------------------------------------------------


def test_lists_may_have_blank_lines_and_any_line_ends(vimeo: Path) -> None:
    names = [stack.name for stack in vimeo90k.open_stacks(vimeo, "train")]
    (vimeo / "tri_trainlist.txt").write_bytes("\r\n\r\n".join(names).encode() + b"\r\n \r\n\r\n")
    assert [stack.name for stack in vimeo90k.open_stacks(vimeo, "train")] == names


def test_list_paths_are_found_wherever_the_list_was_written(tmp_path: Path) -> None:
    root = tmp_path / "root"
    frame = root / "test" / "a" / "1.png"
    frame.parent.mkdir(parents=True)
    frame.touch()
    for name in ("test/a/1.png", "data/SNU/test/a/1.png", "/elsewhere/test/a/1.png", str(frame)):
        assert resolve_listed_path(name, root, ["test"]) == frame
    assert resolve_listed_path("D:\\test\\data\\test\\a\\1.png", root, ["test"]) == frame
    assert (
        resolve_listed_path("data/test/a/2.png", root, ["test", "a"])
        == root / "test" / "a" / "2.png"
    )
    assert (
        resolve_listed_path("data/other/1.png", root, ["test"]) == root / "data" / "other" / "1.png"
    )


def test_bad_list_lines_are_named(trees: dict[str, Path], tmp_path: Path) -> None:
    root = shutil.copytree(trees["snu-film"], tmp_path / "snu")
    lines = read_lines(root / "test-hard.txt")
    (root / "test-hard.txt").write_text("\n".join([lines[0], lines[1].rpartition(" ")[0]]))
    with pytest.raises(ValueError, match=r"test-hard.txt, entry 2: .* got 2"):
        snu_film.find_triplets(root, "hard")
    with pytest.raises(ValueError, match="easy, medium, hard, extreme, hard-l, extreme-l"):
        snu_film.find_triplets(root, "hardest")


def test_snu_film_gaps_and_halves(trees: dict[str, Path]) -> None:
    """Each list has the gap that its name stands for; an -L list is half of the whole one."""
    for split, gap in snu_film.GAPS.items():
        triplets = snu_film.find_triplets(trees["snu-film"], split)
        assert len(triplets) == SCENES["snu-film"]
        for triplet in triplets:
            numbers = [int(path.stem) for path in triplet[:3]]
            assert np.diff(numbers).tolist() == [gap, gap]
    for split in ("hard", "extreme"):
        half = snu_film.find_triplets(trees["snu-film"], f"{split}-l")
        whole = snu_film.find_triplets(trees["snu-film"], split)
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
    usual = xiph.find_triplets(root)
    assert len(usual) == 392
    assert [path.name for path in usual[0][:3]] == ["001.png", "002.png", "003.png"]
    listed = xiph.find_large_motion_triplets(root)
    assert len(listed) == 8 * 48 // 2
    assert set(listed) < set(xiph.find_triplets(root, gap=2))

    flat = tmp_path / "flat" / "netflix"
    flat.mkdir(parents=True)
    for path in root.glob("*/*.png"):
        (flat / f"{path.parent.name}-{path.name}").symlink_to(path)
    shutil.copy(root / xiph.LARGE_MOTION_LIST, flat.parent)
    assert verify_data_set("xiph", flat.parent, quick=True)[0]
    same = xiph.find_large_motion_triplets(flat.parent)
    assert [path.resolve() for t in same for path in t[:3]] == [p for t in listed for p in t[:3]]


# ---- reading -------------------------------------------------------------------------------------


def test_training_samples_are_bytes_of_the_published_frames(trees: dict[str, Path]) -> None:
    """Without augmentation a sample is what the files hold, im2 the target."""
    dataset = vimeo90k.build_training_set(trees["vimeo90k"], Augmentation())
    sample, stack = dataset[SampleKey(3)], dataset.stacks[3]
    for frame, file in zip((sample.frame0, sample.target, sample.frame1), stack.files, strict=True):
        assert frame.dtype == torch.uint8
        assert np.array_equal(frame.numpy().transpose(1, 2, 0), read_samples(file))
    assert sample.time.shape == (1, 1, 1)
    assert sample.time.item() == 0.5


def test_sixteen_bit_and_grey_frames_are_read(tmp_path: Path) -> None:
    frame = torch.rand(3, 8, 9)
    write_frame(tmp_path / "deep.png", frame, bits=16)
    assert np.abs(
        read_8_bit(tmp_path / "deep.png") / 255 - frame.numpy().transpose(1, 2, 0)
    ).max() <= (0.5 / 255 + 1e-4)


def test_validation_sets_are_fixed(trees: dict[str, Path]) -> None:
    tests = vimeo90k.build_validation_set(trees["vimeo90k"])
    assert len(tests) == 2
    assert tests[SampleKey(1)].target.shape == (3, *SIZES["vimeo90k"])
    septuplets = vimeo90k.build_validation_set(trees["septuplets"], any_time=True)
    assert [moment for _, moment in septuplets.picks] == [TripletIndices(0, 1, 6)]
    assert septuplets[SampleKey(0)].time.item() == pytest.approx(1 / 6)
    scenes = x4k1000fps.build_validation_set(trees["x4k1000fps"] / "val", crop=32)
    assert [moment for _, moment in scenes.picks] == [TripletIndices(0, 16, 32)]
    assert torch.equal(scenes[SampleKey(0, 1, 2)].frame1, scenes[SampleKey(0)].frame1)
    whole = read_samples(x4k1000fps.find_triplets(trees["x4k1000fps"] / "val")[0].target)
    assert np.array_equal(scenes[SampleKey(0)].target.numpy().transpose(1, 2, 0), whole[8:40, 8:40])


def test_septuplets_give_any_time(trees: dict[str, Path]) -> None:
    dataset = vimeo90k.build_training_set(
        trees["septuplets"], Augmentation(crop=16, reverse_time=True), any_time=True
    )
    times = {round(dataset[SampleKey(1, epoch)].time.item(), 3) for epoch in range(900)}
    assert {0.5, 0.333, 0.667, 0.167, 0.833} <= times


def test_xtest_moments_cover_a_scene() -> None:
    assert x4k1000fps.select_triplets(33) == [TripletIndices(0, 16, 32)]
    assert x4k1000fps.select_triplets(65) == [TripletIndices(0, 16, 32), TripletIndices(32, 48, 64)]
    eighth = x4k1000fps.select_triplets(33, interval=4)
    assert eighth == [TripletIndices(m, m + 4, m + 8) for m in range(25)]


def test_xtest_multiples(trees: dict[str, Path]) -> None:
    triplets = x4k1000fps.find_multi_frame_triplets(trees["x4k1000fps"] / "test")
    assert [triplet.time for triplet in triplets] == [part / 8 for part in range(1, 8)]
    assert [triplet.target.stem for triplet in triplets] == [f"{4 * n:04d}" for n in range(1, 8)]
