"""Video jobs that are killed, interrupted or shared go on, and lose nothing."""

import re
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from sgm_vfi import demo_2x
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.video.work_folder import WorkFolder
from tests.conftest import randomize_weights
from tests.fixtures.demo import receipt, run
from tests.fixtures.processes import python, wait_for
from tests.fixtures.training_runs import start_as_ranks
from tests.fixtures.videos import (
    decode_pictures,
    decode_samples,
    moving_frames,
    read_packets,
    read_timestamps,
    write_clip,
)

pytestmark = pytest.mark.usefixtures("workdir")

SCRIPT = demo_2x.__file__
FAST = ("--model", "blend", "--preset", "ultrafast")


def test_killed_and_started_again_gives_the_same_frames() -> None:
    """kill -9 when some segments are finished; the same command makes only what is missing."""
    source = write_clip(Path("in.mp4"), moving_frames(60, 48, 64), audio=1.0)
    command = [str(source), "--segment_frames", "6", *FAST, "--output"]
    process = python(SCRIPT, *command, "killed.mp4")
    wait_for(Path("killed.mp4.parts/00012.json"), process)
    process.kill()
    process.wait()
    assert not Path("killed.mp4").exists()
    with pytest.raises(SystemExit, match=r"other settings: .*multi \(2, now 3\)"):
        run(*command, "killed.mp4", "--multi", 3)
    run(*command, "killed.mp4")
    run(*command, "undisturbed.mp4")
    made = receipt("killed.mp4")["frames made in this run"]
    assert 0 < made <= 120 - 3 * 6
    assert decode_samples(Path("killed.mp4")) == decode_samples(Path("undisturbed.mp4"))
    assert read_timestamps(Path("killed.mp4")) == read_timestamps(Path("undisturbed.mp4"))
    assert read_packets(Path("killed.mp4"), "audio") == read_packets(source, "audio")
    assert not Path("killed.mp4.parts").exists()


def test_other_weights_are_another_run(tiny: SGM) -> None:
    """A network that was trained on meanwhile does not go on with its predecessor's work."""
    source = write_clip(Path("in.mp4"), moving_frames(3, 96, 96))
    config = {"network": "sgm", "config": asdict(tiny.config)}
    save_weights(tiny, Path("weights.safetensors"), config)
    command = (source, "--model", "weights.safetensors", "--preset", "ultrafast", "--overwrite")
    run(*command, "--output", "out.mkv")
    assert receipt("out.mkv")["frames made by the network"] == 2
    settings = receipt("out.mkv")["settings"]
    WorkFolder(Path("out.mkv.parts"), ".mkv").open(settings)
    save_weights(randomize_weights(tiny, seed=1), Path("weights.safetensors"), config)
    with pytest.raises(SystemExit, match=r"other settings: weights \("):
        run(*command, "--output", "out.mkv")
    run(*command, "--output", "out.mkv", "--restart", "--explain", "--min_reliability", "0")
    assert len(receipt("out.mkv")["least reliable"]) == 2


def test_interrupted_ends_cleanly_and_goes_on() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(120, 32, 48, step=1))
    command = [str(source), "--segment_frames", "4", *FAST, "--output", "out.mp4"]
    process = python(SCRIPT, *command)
    wait_for(Path("out.mp4.parts/00004.json"), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    found = re.search(r"interrupted\. (\d+) of 240 frames are kept in out\.mp4\.parts\.", said)
    assert found, said
    assert "Traceback" not in said
    assert not list(Path("out.mp4.parts").glob(".*.mkv"))
    run(*command, "--resume")
    assert receipt("out.mp4")["frames made in this run"] == 240 - int(found[1])
    assert len(decode_pictures(Path("out.mp4"))) == 240


def test_two_processes_share_the_work() -> None:
    """As under torchrun: each makes every second segment, the first joins; the same frames."""
    source = write_clip(Path("in.mp4"), moving_frames(40, 32, 48), audio=1.0)
    command = [str(source), "--segment_frames", "8", *FAST, "--output"]
    processes = start_as_ranks(SCRIPT, *command, "shared.mp4", processes=2, merges=False)[::-1]
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0] == ""  # the first process speaks for all
    run(*command, "alone.mp4")
    assert decode_samples(Path("shared.mp4")) == decode_samples(Path("alone.mp4"))
    assert read_packets(Path("shared.mp4"), "audio") == read_packets(source, "audio")
    assert 0 < receipt("shared.mp4")["frames made in this run"] < 80
    assert not Path("shared.mp4.parts").exists()
