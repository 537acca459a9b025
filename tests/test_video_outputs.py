"""Names of results: none costs what is read, and none that cannot be written is found late."""

import re
from pathlib import Path
from unittest.mock import patch

import pytest

from sgm_vfi.video.work_folder import WorkFolder
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

FAST = ("--model", "blend", "--preset", "ultrafast")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("foo.mp4", ()),
        ("foo_compare.mp4", ("--compare", "side")),
        ("foo_explain.mp4", ("--explain",)),
        ("foo.mp4.json", ()),
        ("foo.mp4.parts/whole.mp4", ("--restart",)),
    ],
)
def test_no_result_replaces_the_input(name: str, options: tuple[str, ...]) -> None:
    """Nor do views of it, the receipt, or the folder of segments, by any way to write its name."""
    Path(name).parent.mkdir(exist_ok=True)
    clip = write_clip(Path("in.mp4"), moving_frames(3))
    given = clip.replace(name).read_bytes()
    with pytest.raises(SystemExit, match=r"name another output"):
        run(Path(name).resolve(), "--output", "foo.mp4", *options, *FAST)
    assert Path(name).read_bytes() == given


def test_a_finished_video_is_replaced_on_request_only() -> None:
    """Nor is another network's: its name is part of the default output."""
    source = write_clip(Path("in.mp4"), moving_frames(3))
    run(source, *FAST)
    output = Path("output/in_2x_blend.mp4")
    before = output.read_bytes()
    with pytest.raises(SystemExit, match=r"in_2x_blend\.mp4 exists.*another --output.*--overwrite"):
        run(source, *FAST)
    run(source, "--model", "repeat", "--preset", "ultrafast")
    assert output.read_bytes() == before
    run(source, *FAST, "--overwrite", "--crf", 40)
    assert output.read_bytes() != before
    Path("out_compare.mp4").touch()
    with pytest.raises(SystemExit, match=r"out_compare\.mp4 exists already"):
        run(source, "--output", "out.mp4", "--compare", "side", *FAST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--output", "/proc/foo/x.mp4"), r"foo/x\.mp4: no file can be made in /proc \("),
        (("--output", "/proc/foo"), r"Cannot write /proc/foo/.*: no file can be made in /proc \("),
        (("--output", "in.mp4/x.mp4"), r"Cannot write in\.mp4/x\.mp4: .*in\.mp4 is a file"),
        (("--output", "folder.mp4"), r"Cannot write folder\.mp4: it is a folder"),
        (("--output", "a.mp4", "--compare", "side"), r"a_compare\.mp4: it is a folder"),
        (("--output", "b.mp4"), r"b\.mp4\.parts is a file, no folder"),
    ],
)
def test_what_cannot_be_written_is_said_first(
    workdir: Path, options: tuple[str, ...], message: str
) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(3))
    for name in ("folder.mp4", "a_compare.mp4"):
        Path(name).mkdir()
    Path("b.mp4.parts").touch()
    before = sorted(workdir.rglob("*"))
    with pytest.raises(SystemExit, match=message):
        run(source, *options, "--dry_run", "--model", "blend")
    assert sorted(workdir.rglob("*")) == before


def test_full_disk_is_explained_and_costs_no_finished_segment() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(6))
    command = (source, "--output", "out.mp4", "--segment_frames", 4, *FAST)
    temporary_path = WorkFolder.temporary_path

    def full(work: WorkFolder, number: int, view: str = "") -> Path:
        return Path("/dev/full") if number == 4 else temporary_path(work, number, view)

    message = (
        r"^demo_2x.py: error: The disk is full\..*kept in out\.mp4\.parts: make room.* goes on\.$"
    )
    with patch.object(WorkFolder, "temporary_path", full), pytest.raises(SystemExit, match=message):
        run(*command)
    run(*command)
    assert receipt("out.mp4")["frames made in this run"] == 8
    assert len(decode_pictures(Path("out.mp4"))) == 12


def test_views_are_part_of_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """Their names, and the disk that they take."""
    source = write_clip(Path("in.mp4"), moving_frames(30, 192, 256))
    needed = []
    for options in ((), ("--compare", "split"), ("--compare", "side"), ("--explain",)):
        run(source, "--output", "out.mp4", "--dry_run", *options, *FAST)
        said = capsys.readouterr().out
        needed += [float(count) for count in re.findall(r"disk .*about ([\d.]+) MB", said)]
        assert said.count("\nalso ") == bool(options)
        assert ("also    out_compare.mp4, beside" in said) == ("--compare" in options)
        assert ("also    out_explain.mp4, with the steps" in said) == ("--explain" in options)
    assert needed == sorted(set(needed))
    assert needed[2] == pytest.approx(3 * needed[0], rel=0.1)


def test_the_encoder_of_av1_prints_nothing(capfd: pytest.CaptureFixture) -> None:
    clip = write_clip(Path("in.mp4"), moving_frames(3, 64, 64))
    run(clip, "--output", "out.mp4", "--codec", "av1", "--model", "blend", "--preset", "12")
    printed = "".join(capfd.readouterr())
    assert "checked against the plan" in printed
    assert "svt" not in printed.replace("libsvtav1", "").lower()
