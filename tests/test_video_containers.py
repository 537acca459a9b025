"""What a file says beside its pictures is in the output, or in the plan's list of what is lost."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from sgm_vfi.media.display_matrix import read_side_data
from sgm_vfi.video.av_frames import HDRMetadata, read_chroma_location, read_hdr_metadata
from sgm_vfi.video.metadata_tags import convert_timecode
from sgm_vfi.video.side_data import SIDE_DATA
from tests.fixtures.containers import (
    PHONE,
    write_alpha,
    write_captions,
    write_cover,
    write_cropped,
    write_dolby_vision,
    write_jpegs,
    write_phone,
    write_silent,
    write_spherical,
)
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, moving_frames, read_packets, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
BY_THE_MUXER = ("handler_name", "vendor_id", "language")
CHAPTER = {"id": 1, "start": 0, "end": 40, "time_base": Fraction(1, 1000), "metadata": {}}
FAST = ("--model", "blend")


def write_plain(path: Path) -> Path:
    return write_clip(
        path, moving_frames(3), audio=0.1, chapters=[CHAPTER], title="T", rotation=90, episode="7"
    )


def write_timecode(path: Path) -> Path:
    return write_clip(path, moving_frames(3), timecode="01:00:00:12")


def write_statistics(path: Path) -> Path:
    clip = write_clip(path.with_suffix(".mp4"), moving_frames(3))
    with av.open(clip) as original, av.open(path, "w") as container:
        stream = container.add_stream_from_template(original.streams.video[0], opaque=True)
        stream.metadata.update({"BPS": "1", "stereo_mode": "left_right", "SCENE": "beach"})
        for packet in original.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return path


CASES: dict[str, tuple[Callable[[Path], Path], str, str, str]] = {  # and a text of what is lost
    "chapters, MP4": (write_plain, "in.mp4", "out.mp4", ""),
    "chapters, to Matroska": (write_plain, "in.mp4", "out.mkv", ""),
    "keys, to MP4": (write_plain, "in.mkv", "out.mp4", ""),
    "timecode, MOV": (write_timecode, "in.mov", "out.mov", ""),
    "timecode, MP4": (write_timecode, "in.mp4", "out.mp4", ""),
    "timecode, to Matroska": (write_timecode, "in.mov", "out.mkv", ""),
    "silence, to MP4": (write_silent, "in.mkv", "out.mp4", "audio stream 1 (aac): it has no sam"),
    "silence, Matroska": (write_silent, "in.mkv", "out.mkv", ""),
    "phone, MOV": (write_phone, "in.mov", "out.mov", ""),
    "phone, to MP4": (write_phone, "in.mov", "out.mp4", ""),
    "captions": (write_captions, "in.mkv", "out.mkv", "closed captions"),
    "alpha": (write_alpha, "in.webm", "out.webm", "transparency"),
    "cover, MP4": (write_cover, "in.mp4", "out.mp4", ""),
    "cover, to Matroska": (write_cover, "in.mp4", "out.mkv", ""),
    "cropping": (write_cropped, "in.mp4", "out.mp4", "cropping by the container"),
    "Dolby Vision": (write_dolby_vision, "in.mp4", "out.mp4", "Dolby Vision configuration"),
    "spherical": (write_spherical, "in.mp4", "out.mp4", ""),
    "spherical, to Matroska": (write_spherical, "in.mp4", "out.mkv", ""),
    "EXIF": (write_jpegs, "in.avi", "out.mp4", "side data of a kind that is not known"),
    "statistics": (write_statistics, "in.mkv", "out.mkv", ""),
}


def read_facts(path: Path) -> dict[str, object]:
    """All that a file says beside its pictures, by the words that name it in a plan."""
    facts: dict[str, object] = {}
    with av.open(path) as container:
        video = container.streams.video[0]
        for scope in (container, video):
            tags = {key.lower(): text for key, text in scope.metadata.items()}
            facts |= {k: v for k, v in tags.items() if k not in (*OF_THE_CONTAINER, *BY_THE_MUXER)}
        if facts.get("alpha_mode") == "1":
            facts["transparency"] = True
        if "timecode" in facts:  # the same instant at another rate
            clock, frames = str(facts["timecode"])[:8], int(str(facts["timecode"])[9:])
            facts["timecode"] = (clock, Fraction(frames) / round(video.average_rate))
        facts["chapters"] = len(container.chapters())
        for stream in list(container.streams)[1:]:
            if "timecode" not in stream.metadata and stream.name != "bin_data":
                facts[f"stream {stream.index}"] = (
                    stream.type,
                    stream.name,
                    stream.disposition & ~Disposition.default,
                )
        av.logging.set_level(av.logging.INFO)
        text = container.dumps_format()
        av.logging.set_level(None)
    facts |= {w: True for w in ("Dolby Vision configuration", "cropping")
              if {"cropping": "Frame Cropping"}.get(w, "DOVI configuration") in text}  # fmt: skip
    for name, data in read_side_data(decode_pictures(path)[0]).items():
        if name != "SEI_UNREGISTERED":  # x264's own settings
            facts[SIDE_DATA[name].name] = data
    return facts


@pytest.mark.parametrize("case", CASES)
def test_every_difference_is_in_the_list(case: str) -> None:
    """Input and output side by side."""
    write, name, output, lost = CASES[case]
    source = write(Path(name))
    run(source, "--output", output, *FAST)
    said = receipt(output)
    before, after = read_facts(source), read_facts(Path(output))
    texts = " ".join([*said["lost"], *said["notes"]]).lower()
    differences = [name for name, value in before.items() if after.get(name) != value]
    assert [name for name in differences if name.lower() not in texts] == []
    assert lost in " ".join(said["lost"])
    assert bool(lost) == bool(said["lost"]), said["lost"]
    assert after.get("alpha_mode") != "1"
    assert "bps" not in after


def test_vp9_keeps_hdr10_and_the_place_of_chroma() -> None:
    """In the header of the file: VP9 has neither in its own stream."""
    options = {"preset": "ultrafast", "x264-params": "chromaloc=2:cll=1000,400:mastering-display="
               "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"}  # fmt: skip
    source = write_clip(Path("in.mkv"), moving_frames(2), options=options, tags=(9, 1, 9, 16))
    before = decode_pictures(source)[0]
    for output in ("out.webm", "out.mp4"):
        run(source, "--output", output, *FAST)
        picture = decode_pictures(Path(output))[0]
        assert receipt(output)["lost"] == []
        assert read_hdr_metadata(picture) == read_hdr_metadata(before) != HDRMetadata(None, None)
        assert read_chroma_location(picture) == "topleft"


def test_quicktime_keys_stay_one_by_one() -> None:
    run(write_phone(Path("in.mov")), "--output", "out.mov", *FAST)
    with av.open("out.mov") as container:
        assert {k: v for k, v in container.metadata.items() if k in PHONE} == PHONE


def test_a_timecode_counts_the_new_frames() -> None:
    run(write_timecode(Path("in.mov")), "--output", "out.mov", *FAST)
    with av.open("out.mov") as container:
        assert [stream.metadata["timecode"] for stream in container.streams] == 2 * ["01:00:00:24"]


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        ("01:00:00:12", Fraction(25), Fraction(50), "01:00:00:24"),
        ("01:00:00;03", Fraction(30000, 1001), Fraction(60000, 1001), "01:00:00;06"),
        ("01:00:00;03", Fraction(30000, 1001), Fraction(25), "01:00:00:02"),
        ("01:00:00;03", Fraction(30000, 1001), Fraction(60), "01:00:00:06"),
        ("00:00:10:59", Fraction(60), Fraction(24), "00:00:10:23"),
        ("no time", Fraction(60), Fraction(24), None),
    ],
)
def test_timecodes_by_hand(before: str, old: Fraction, new: Fraction, after: str | None) -> None:
    assert convert_timecode(before, old, new) == after


def test_streams_are_left_out_on_request() -> None:
    Path("words.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nHello\n")
    source = write_clip(Path("in.mkv"), moving_frames(3), audio=0.1, subtitle=Path("words.srt"))
    run(source, "--output", "out.mkv", "--drop", "audio", *FAST)
    assert read_packets(Path("out.mkv"), "subtitle") != []
    assert receipt("out.mkv")["lost"] == ["audio stream 1 (aac): left out by --drop"]
    run(source, "--output", "bare.mkv", "--drop", "1,subtitle", *FAST)
    with av.open("bare.mkv") as container:
        assert len(container.streams) == 1
    with pytest.raises(SystemExit, match=r"--drop 7: no such stream; .* audio stream 1 \(aac\)"):
        run(source, "--output", "no.mkv", "--drop", "7", *FAST)


def test_a_folder_of_images_says_what_it_loses() -> None:
    run(write_phone(Path("in.mov")), "--output", "frames", *FAST)
    assert any("quicktime.make" in text for text in receipt("frames")["lost"])
    run(write_captions(Path("in.mkv")), "--output", "words", *FAST)
    assert any("closed captions" in text for text in receipt("words")["lost"])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its input by FFmpeg's command")
def test_telemetry_of_one_packet_is_known_at_planning() -> None:
    """FFmpeg writes a track of one packet without a duration, which it reads as empty."""
    Path("telemetry.bin").write_bytes(bytes(4000))
    write_clip(Path("in.mp4"), moving_frames(3))
    command = "ffmpeg -v error -i in.mp4 -f data -i telemetry.bin -map 0 -map 1 -c copy -tag:d gpmd"
    subprocess.run([*command.split(), "in.mov"], check=True)
    run(Path("in.mov"), "--output", "out.mov", *FAST)
    assert "data stream 1 (bin_data): it has no samples" in receipt("out.mov")["lost"][0]


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_a_lost_layout_of_channels_is_listed(suffix: str) -> None:
    """Matroska has no layout of uncompressed sound; QuickTime has."""
    write_clip(Path("film.mkv"), moving_frames(3))
    with av.open("film.mkv") as film, av.open("quad.mov", "w") as container:
        video = container.add_stream_from_template(film.streams.video[0], opaque=True)
        sound = container.add_stream("pcm_s16le", rate=48000, layout="quad")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4 * 960), np.int16), "s16", "quad")
        samples.sample_rate = 48000
        container.mux(sound.encode(samples))
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
    run("quad.mov", "--model", "blend", "--output", f"out.{suffix}")
    lost = " ".join(receipt(f"out.{suffix}")["lost"])
    with av.open(f"out.{suffix}") as clip:
        assert ("the channel layout quad" in lost) == (clip.streams.audio[0].layout.name != "quad")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_that_an_edit_list_hides_stays_hidden(suffix: str) -> None:
    whole = write_clip(Path("whole.mkv"), moving_frames(12), audio=0.48)
    with av.open(whole) as clip, av.open("trimmed.mp4", "w") as container:
        copies = [container.add_stream_from_template(s, opaque=True) for s in clip.streams]
        for packet in clip.demux():
            if packet.size:
                cut = round(Fraction(6, 25) / packet.time_base)
                packet.pts, packet.dts = packet.pts - cut, packet.dts - cut
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    run("trimmed.mp4", "--model", "blend", "--output", f"out.{suffix}")
    with av.open(f"out.{suffix}") as clip:
        packets = [packet for packet in clip.demux(audio=0) if packet.size]
        pictures = clip.streams.video[0]
        assert pictures.start_time * pictures.time_base < Fraction(1, 20)
        assert 10 <= len(packets) <= 13  # of 1024 samples, in 0.24 s
