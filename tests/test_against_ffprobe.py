"""What ffprobe says of a file is said of its interpolated one too, or is listed as lost.

The inputs are made by FFmpeg's commands; the other tests of containers need neither.
"""

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fixtures.containers import write_captions, write_dolby_vision, write_spherical
from tests.fixtures.demo import receipt, run

pytestmark = [
    pytest.mark.usefixtures("workdir"),
    pytest.mark.skipif(
        not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="needs FFmpeg's commands"
    ),
]

# Sizes, rates, positions, settings of encoders, and habits of muxers.
CHANGES = """
    filename nb_streams nb_programs format_name format_long_name duration size bit_rate index id
    probe_score profile level has_b_frames codec_tag codec_tag_string refs start_pts start_time
    time_base r_frame_rate avg_frame_rate duration_ts nb_frames is_avc nal_length_size sample_fmt
    bits_per_raw_sample extradata_size coded_width coded_height ts_id ts_packetsize codec_name
    display_aspect_ratio major_brand minor_version compatible_brands encoder closed_captions
    film_grain codec_long_name vendor_id handler_name language default mimetype"""
BY_NATURE = frozenset(CHANGES.split())
SAME_AS_UNSTATED = ({}, "progressive", "tv")
NAMES = {  # in a plan, of what ffprobe calls otherwise
    "ATSC A53 Part 4 Closed Captions": "closed captions",
    "Stereo 3D": "views of a 3d video",
    "DOVI configuration record": "dolby vision configuration",
    "AVPanScan": "pan and scan",
    "GOP timecode": "timecodes of groups",
    "CPB properties": "",  # of the encoder
    "H.26[45] User Data Unregistered SEI message": "",
    "pix_fmt": "pixels become",
    "field_order": "interlaced",
    "interlaced_frame": "interlaced",
    "alpha_mode": "transparency",
    "stereo_mode": "",  # side data says the same
}
CLIP = "-f lavfi -i testsrc2=s=64x48:r=25:d=0.12"
SOUND = "-f lavfi -i sine=d=0.12"
H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
HDR10 = (
    "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:chromaloc=2:"
    "max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)
COMMANDS = {  # input -> how FFmpeg makes it
    "camera.mov": f"{CLIP} {SOUND} -i chapters.txt -map 0 -map 1 -map_metadata 2 {H264} "
    "-aspect 16:9 -c:a aac -movflags use_metadata_tags -timecode 01:00:00:12 "
    "-metadata com.apple.quicktime.make=A -metadata:s:a title=Ton -metadata:s:v rotate=90 "
    "-metadata creation_time=2024-05-01T10:20:30Z",
    "cover.m4v": f"{CLIP} {SOUND} -i cover.png -map 0 -map 1 -map 2 {H264} -c:v:1 copy "
    "-disposition:v:1 attached_pic -c:a aac -metadata title=T -metadata artist=Me",
    "full.mkv": f"{CLIP} {SOUND} -i words.srt -i chapters.txt -map 0 -map 1 -map 2 -map_metadata 3 "
    f"{H264} -c:a libopus -c:s srt -attach cover.png -metadata:s:t mimetype=image/png "
    "-attach words.srt -metadata:s:t:1 mimetype=text/plain -disposition:s:0 forced "
    "-metadata:s:s language=eng -metadata:s:a title=Words -metadata:s:v SCENE=beach",
    "stereo.mkv": f"{CLIP} {H264} -metadata:s:v stereo_mode=left_right",
    "alpha.webm": f"{CLIP} {SOUND} -vf format=yuva420p,colorchannelmixer=aa=0.5 -c:v libvpx-vp9 "
    "-auto-alt-ref 0 -c:a libopus",
    "hdr10.mkv": f"{CLIP} -c:v libx265 -pix_fmt yuv420p10le -x265-params {HDR10}",
    "keys.mp4": f"{CLIP} {H264} -movflags use_metadata_tags -metadata com.example.key=v "
    "-metadata location=+10.0+020.0/ -chroma_sample_location topleft",
    "broadcast.ts": f"-i captions.mkv {SOUND} -map 0 -map 1 -c:v copy -c:a mp2 "
    "-metadata service_name=S",
    "tape.mxf": f"{CLIP} -vf setfield=tff -flags +ilme+ildct -c:v mpeg2video -pix_fmt yuv422p",
    "camera.avi": f"{CLIP} {SOUND} -c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le -metadata title=T",
}
CASES = (
    *("camera.mov mov", "camera.mov mkv", "cover.m4v mkv", "full.mkv mkv", "full.mkv mp4"),
    *("stereo.mkv mp4", "alpha.webm webm", "hdr10.mkv mp4", "keys.mp4 mp4", "broadcast.ts mkv"),
    *("tape.mxf mov", "camera.avi mp4", "spherical.mp4 mkv", "dolby.mp4 mp4"),
)
MADE = {"spherical.mp4": write_spherical, "dolby.mp4": write_dolby_vision}


def make_input(name: str) -> None:
    """Write the input of a case, and what it is made of."""
    if name in MADE:
        MADE[name](Path(name))
        return
    Path("words.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nHello\n")
    chapter = "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=80\ntitle=One\n"
    Path("chapters.txt").write_text(f";FFMETADATA1\n{chapter}")
    Image.new("RGB", (32, 32), "red").save("cover.png")
    if name == "broadcast.ts":
        write_captions(Path("captions.mkv"))
    subprocess.run(["ffmpeg", "-v", "fatal", *COMMANDS[name].split(), name], check=True)


def probe(file: str, *what: str) -> dict[str, Any]:
    """Return what ffprobe says."""
    command = ["ffprobe", "-v", "error", "-of", "json", *what, file]
    return dict(json.loads(subprocess.check_output(command)))


def describe(value: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names and the values of what is said, numbers as fractions."""
    for key, inner in value.items():
        if key.lower() in BY_NATURE or inner in SAME_AS_UNSTATED:
            continue
        if isinstance(inner, Mapping):
            yield from describe(inner, name)
        elif isinstance(inner, list):
            for data in inner:
                yield from describe(data, data.get("side_data_type", ""))
                yield data.get("side_data_type", ""), True
        else:
            try:
                yield f"{name} {key.lower()}".strip(), Fraction(str(inner))
            except (ValueError, ZeroDivisionError):
                yield f"{name} {key.lower()}".strip(), inner


def read_facts(file: str) -> dict[str, Any]:
    """Return all that ffprobe says of a file, by the words that name it in a plan."""
    said = probe(file, "-show_format", "-show_streams", "-show_chapters", "-show_programs")
    pictures = probe(file, "-show_frames", "-select_streams", "v", "-read_intervals", "%+#1")
    fields = ("side_data_list", "interlaced_frame")
    frame = {name: pictures["frames"][0].get(name, 0) for name in fields}
    frame["side_data_list"] = frame["side_data_list"] or []
    covers = [s for s in said["streams"] if s["disposition"]["attached_pic"]]
    film = next(s for s in said["streams"] if s["codec_type"] == "video" and s not in covers)
    facts = dict(describe(said["format"])) | dict(describe(frame)) | dict(describe(film))
    for program in said["programs"]:
        facts |= {f"{key}": text for key, text in program.get("tags", {}).items()}
    for chapter in said["chapters"]:
        facts[f"chapter {chapter['start_time']}"] = (chapter["end_time"], chapter.get("tags"))
    if "420" not in film["pix_fmt"]:
        facts.pop("chroma_location", None)
    others: dict[str, list[Any]] = defaultdict(list)
    for stream in said["streams"]:
        is_written_anew = {"timecode", "bin_data"} & {
            *stream.get("tags", ()),
            stream.get("codec_name"),
        }
        if stream is not film and not is_written_anew:
            kind = "cover" if stream in covers else stream["codec_type"]
            kept = {
                key: stream.get(key, {})
                for key in ("channels", "sample_rate", "disposition", "tags")
            }
            others[f"{kind} stream"].append(dict(describe(kept)))
    facts |= others
    if timecode := facts.pop("timecode", None):
        clock, _, frames = str(timecode).rpartition(":")
        facts["timecode"] = (clock, Fraction(frames) / Fraction(film["r_frame_rate"]))
    if date := facts.get("creation_time"):
        facts["creation_time"] = str(date).replace(".000000", "")
    return facts


@pytest.mark.parametrize("case", CASES)
def test_every_difference_is_listed(case: str) -> None:
    name, suffix = case.split()
    make_input(name)
    run(name, "--model", "blend", "--output", f"out.{suffix}")
    said = receipt(f"out.{suffix}")
    texts = " ".join([*said["lost"], *said["notes"]]).lower()
    before, after = read_facts(name), read_facts(f"out.{suffix}")
    changed = [fact for fact, value in before.items() if after.get(fact) != value]
    unsaid = [
        (fact, before[fact], after.get(fact))
        for fact in changed
        if not any(fact.startswith(known) and text in texts for known, text in NAMES.items())
        and fact.lower() not in texts
    ]
    assert unsaid == [], texts
