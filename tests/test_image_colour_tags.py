"""Colours of PNG files as the colour tags of a video, and back."""

import struct
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from sgm_vfi.media.image_colour_information import ImageColours
from sgm_vfi.media.images import write_frame
from sgm_vfi.media.png_colour_chunks import Chunk, insert_chunks, read_colour_chunks
from sgm_vfi.video.av_frames import ColourTags, HDRMetadata, read_colour_tags
from sgm_vfi.video.image_colour_tags import (
    find_image_tags,
    read_image_hdr_metadata,
    to_colour_chunks,
)
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

NO_TAGS = ColourTags(0, 2, 2, 2)
PQ = ("cICP", bytes([9, 16, 0, 1]))
SRGB_PLACES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
HDR = HDRMetadata((35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450, 1, 10000000), (1000, 400))


def gamma(value: int) -> Chunk:
    return ("gAMA", struct.pack(">I", value))


@pytest.mark.parametrize(
    ("chunks", "tags", "num_notes"),
    [
        ((PQ, gamma(45455)), (9, 16), 0),  # cICP overrides all
        ((("sRGB", b"\0"), gamma(45455)), (1, 13), 0),
        ((gamma(100000), ("cHRM", struct.pack(">8I", *SRGB_PLACES))), (1, 8), 0),
        ((gamma(12345), ("cHRM", bytes(32))), (2, 2), 2),
        ((), (2, 2), 0),
    ],
)
def test_tags_of_chunks(chunks: tuple[Chunk, ...], tags: tuple[int, int], num_notes: int) -> None:
    found, notes = find_image_tags(ImageColours(None, chunks), NO_TAGS)
    assert ((found.primaries, found.transfer), len(notes)) == (tags, num_notes)


def test_tags_of_profiles() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found, notes = find_image_tags(ImageColours(srgb), NO_TAGS)
    assert (found.primaries, found.transfer, notes) == (1, 13, ())
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    found, notes = find_image_tags(ImageColours(lab), NO_TAGS)
    assert found == NO_TAGS
    assert "no equal among the colour tags" in notes[0]


def test_hdr_metadata_is_the_same_after_both_ways() -> None:
    chunks = to_colour_chunks(ColourTags(9, 1, 9, 16), HDR)
    assert [name for name, _ in chunks] == ["cICP", "mDCV", "cLLI"]
    assert read_image_hdr_metadata(ImageColours(None, chunks)) == HDR
    assert to_colour_chunks(NO_TAGS, HDR) == ()


def test_hdr_images_become_an_hdr_video_and_back() -> None:
    """The tags of the video are those of the images, and those of its frames are again the same."""
    Path("frames").mkdir()
    for number, frame in enumerate(moving_frames(3)):
        file = Path("frames", f"{number}.png")
        write_frame(file, frame[0], 16)
        file.write_bytes(insert_chunks(file.read_bytes(), [PQ]))
    run("frames", "--model", "blend", "--rate", 24, "--output", "out.mkv", "--pix_fmt",
        "yuv420p10le")  # fmt: skip
    tags = read_colour_tags(decode_pictures(Path("out.mkv"))[0])
    assert tags == (9, 1, 9, 16)
    run("out.mkv", "--model", "blend", "--output", "again")
    written = sorted(Path("again").glob("*.png"))
    assert len(written) == 12
    assert {read_colour_chunks(file) for file in written} == {(PQ,)}


def test_frames_of_an_untagged_video_state_nothing() -> None:
    run(write_clip(Path("in.mkv"), moving_frames(2)), "--model", "blend", "--output", "frames")
    assert read_colour_chunks(Path("frames/000001.png")) == ()


def test_a_single_tag_that_png_cannot_state_is_listed() -> None:
    run(write_clip(Path("in.mkv"), moving_frames(2), tags=(6, 1, 9, 2)), "--output", "frames",
        "--model", "blend")  # fmt: skip
    assert receipt("frames")["lost"] == [
        "the tags of its colours (primaries 9, transfer 2 of ITU-T H.273): PNG states both or none"
    ]


def test_opaque_animations_lose_no_transparency() -> None:
    colours = [Image.new("RGBA", (32, 32), (50 * k, 90, 20, 255)) for k in range(3)]
    clear = [picture.copy() for picture in colours]
    clear[0].paste((0, 0, 0, 0), (0, 0, 9, 9))
    for name, pictures, lost in (("a", colours, []), ("b", clear, ["its transparency"])):
        pictures[0].save(f"{name}.gif", save_all=True, append_images=pictures[1:], duration=40)
        run(f"{name}.gif", "--model", "blend", "--output", f"{name}.mp4")
        assert receipt(f"{name}.mp4")["lost"] == lost
