"""Sound of slow motion: as long as the pictures, at its pitch or a lower one."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sgm_vfi.video.slow_sound import SlowSound, stretch_sound, tempo_filters
from sgm_vfi.video.source_video import probe_video
from sgm_vfi.video.trim import WHOLE, Trim, parse_position
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import moving_frames, read_timestamps, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

PACKET = 1024 / 48000  # seconds
TONE = 220  # Hz, of the clips


def decode_sound(path: Path) -> np.ndarray:
    """Samples of the left channel, at 48 kHz."""
    with av.open(path) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def measure_pitch(samples: np.ndarray) -> float:
    """Frequency of the loudest tone, in Hz."""
    return np.abs(np.fft.rfft(samples)).argmax() * 48000 / len(samples)


@pytest.mark.parametrize("part", [WHOLE, Trim(parse_position("0.4"), parse_position("1.6"))])
@pytest.mark.parametrize(("how", "codec"), [
    ("stretch", "aac"), ("stretch", "libopus"), ("pitch", "aac")
])  # fmt: skip
@pytest.mark.parametrize("ratio", [Fraction(5), Fraction(3, 2)])
def test_sound_lasts_as_long_as_the_pictures(
    part: Trim, how: SlowSound, codec: str, ratio: Fraction
) -> None:
    clip = write_clip(Path("in.mp4"), moving_frames(50, 16, 16), audio=2.0)
    source = probe_video(clip, trim=part)
    made = stretch_sound(source, 1, Path("sound.mka"), codec, how=how, ratio=ratio)
    samples = decode_sound(made.path)
    assert len(samples) / 48000 == pytest.approx(source.end * ratio, abs=PACKET)
    wanted = TONE if how == "stretch" else TONE / ratio
    assert measure_pitch(samples[4000:-4000]) == pytest.approx(wanted, abs=1)
    assert made.start == 0


def test_a_small_tempo_is_a_chain() -> None:
    """FFmpeg's atempo is no slower than half."""
    tempos = [float(value) for _, value in tempo_filters("stretch", Fraction(10), 48000)]
    assert min(tempos) >= 0.5
    assert np.prod(tempos) == pytest.approx(0.1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_slow_motion_with_sound(suffix: str) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(25, 32, 32), audio=1.0)
    output = f"out{suffix}"
    options = ("--slow", "1.5", "--slow_sound", "stretch", "--model", "blend")
    run(source, *options, "--output", output)
    assert receipt(output)["lost"] == []
    length = len(decode_sound(Path(output))) / 48000
    shown = read_timestamps(Path(output))
    assert length == pytest.approx(len(shown) / 25, abs=2 * PACKET)
    assert len(shown) in (37, 38)


def test_sound_is_left_out_without_the_option_and_kept_without_slow_motion() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(5, 32, 32), audio=0.2)
    run(source, "--slow", "2", "--model", "blend", "--output", "out.mp4")
    assert "--slow_sound keeps it" in receipt("out.mp4")["lost"][0]
    with pytest.raises(SystemExit, match=r"--slow_sound stretch is for --slow"):
        run(source, "--slow_sound", "stretch", "--model", "blend")
