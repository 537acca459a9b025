"""Footage as training data: no triplet crosses a cut, and frames are those of the file."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sgm_vfi.dataset.augment import Augmentation
from sgm_vfi.dataset.footage import (
    build_training_set,
    build_validation_set,
    list_windows,
    scan_clips,
    split_clips,
)
from sgm_vfi.dataset.triplet_sampling import SampleKey
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.images import write_frame
from sgm_vfi.media.open_local_media import VideoError
from tests.fixtures.processes import ROOT
from tests.fixtures.training_runs import run_script
from tests.fixtures.videos import moving_frames, write_clip

PLAIN = Augmentation()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with a cut after 14 frames and keyframes every 6, and a folder of frames."""
    folder = tmp_path_factory.mktemp("footage")
    frames = moving_frames(26, 64, 80)
    other = [1 - frame.flip(-1, -2) for frame in frames[:12]]
    options = {"preset": "ultrafast", "g": "6", "crf": "1"}
    write_clip(folder / "a.mp4", [*frames[:14], *other], options=options)
    (folder / "b").mkdir()
    for number, frame in enumerate(frames[:9]):
        write_frame(folder / "b" / f"{number}.png", frame[0])
    return folder


def test_scenes_and_windows(clips: Path) -> None:
    by_name = {clip.reader.name: clip for clip in scan_clips(clips)}
    assert by_name["a.mp4"].scenes == (range(14), range(14, 26))
    assert by_name["b"].scenes == (range(9),)
    for gaps in ((1,), (2, 4), (6,)):
        for window in list_windows(clips, gaps):
            assert any(set(window.numbers) <= set(scene) for scene in window.clip.scenes)
            assert len(window) > 2 * min(gaps)


def test_frames_are_those_of_the_file_in_any_order(clips: Path) -> None:
    """Also far behind a keyframe, and with pts that do not find their frames."""
    [clip] = [one for one in scan_clips(clips) if one.reader.name == "a.mp4"]
    assert isinstance(clip.reader, VideoReader)
    every = dict(clip.reader.read_samples())
    for numbers in ([5, 3, 4], [25, 24, 23], [0, 8, 16], [13]):
        for read in (clip, type(clip)(clip.reader, clip.scenes, None)):
            for number, samples in zip(numbers, read.read(numbers), strict=True):
                assert np.array_equal(samples, every[number])


@pytest.mark.parametrize(("gaps", "any_time"), [((1,), False), ((2, 3), False), ((2,), True)])
def test_triplets_have_the_gaps_that_are_asked_for(
    clips: Path, gaps: tuple[int, ...], any_time: bool
) -> None:
    data = build_training_set(clips, PLAIN, gaps=gaps, any_time=any_time)
    seen = set()
    for epoch in range(3):
        for item in range(len(data)):
            key = SampleKey(item, epoch)
            chosen = data.choose(len(data.stacks[item]), key.random())
            assert (chosen.frame1 - chosen.frame0) / 2 in gaps
            seen.add(chosen.target - chosen.frame0)
            assert any_time or chosen.time == 0.5
    assert seen == set(gaps) if not any_time else seen > set(gaps)
    assert data[SampleKey(0)].frame0.shape == (3, 64, 80)


def test_clips_for_validation_are_not_trained_on(clips: Path, tmp_path: Path) -> None:
    training, validation = split_clips(clips, (1,))
    assert not {one.clip for one in training} & {one.clip for one in validation}
    fixed = build_validation_set(clips, holds_training=True, crop=48, limit=3)
    assert len(fixed) <= 3
    assert fixed[SampleKey(0)].target.shape == (3, 48, 48)
    write_clip(tmp_path / "one.mp4", moving_frames(24, 64, 64))  # a single clip: its end
    training, validation = split_clips(tmp_path, (1,))
    trained = {number for one in training for number in one.numbers}
    assert trained
    assert trained.isdisjoint({number for one in validation for number in one.numbers})


def test_footage_that_is_too_short_is_said(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", moving_frames(4, 64, 64))
    with pytest.raises(VideoError, match="7 frames of a triplet at gap 3"):
        list_windows(tmp_path, (3,))
    with pytest.raises(VideoError, match="one clip, whose scenes are too short"):
        split_clips(tmp_path, (1,))
    with pytest.raises(ValueError, match=r"data\.gaps"):
        list_windows(tmp_path, (0,))


def test_a_smoke_training_on_a_folder_of_footage(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    options = ["--config", "smoke", "--data_path", clips, "--output", tmp_path, "--device", "cpu"]
    changes = ["data.source=footage", "workers=0", "training.epochs=1", "training.loss=l1"]
    run_script(monkeypatch, ROOT / "train_base.py", *options, "--set", *changes)
    rows = read_rows(tmp_path / "log" / "smoke-local")
    assert [row["loss"] for row in rows if "loss" in row]
    assert any("psnr" in row for row in rows)
