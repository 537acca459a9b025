"""Several videos in one command: which they are, their results, and a summary."""

from pathlib import Path

import pytest

from sgm_vfi.media.images import write_frame
from sgm_vfi.video.batch import expand_inputs, find_batch
from tests.fixtures.demo import run
from tests.fixtures.videos import decode_pictures, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

FAST = ("--model", "blend", "--preset", "ultrafast")


def clips(*names: str) -> list[Path]:
    paths = [Path(name) for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        write_clip(path, moving_frames(3))
    return paths


def test_a_folder_of_videos_is_a_batch_and_a_failure_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clips("clips/a2.mp4", "clips/a10.mkv")
    Path("clips/broken.mp4").write_bytes(b"no video")
    Path("clips/notes.txt").write_text("no video")
    with pytest.raises(SystemExit) as stopped:
        run("clips", "--output", "results", *FAST)
    assert stopped.value.code == 1
    for name in ("a2_2x_blend.mp4", "a10_2x_blend.mkv"):
        assert len(decode_pictures(Path("results", name))) == 6
    head, *rows, last = capsys.readouterr().out.strip().splitlines()[-5:]
    assert head.split() == ["video", "frames", "seconds", "result"]
    assert [row.split()[0] for row in rows] == ["clips/a2.mp4", "clips/a10.mkv", "clips/broken.mp4"]
    assert rows[0].split()[1] == "6"
    assert "FAILED: clips/broken.mp4" in rows[2]
    assert last == "2 of 3 videos are done, 1 failed"


def test_a_batch_goes_on_after_what_is_finished(capsys: pytest.CaptureFixture[str]) -> None:
    """Patterns that the shell did not expand are expanded."""
    clips("a.mp4", "b.mp4")
    run("a.mp4", *FAST)
    made = Path("output/a_2x_blend.mp4").stat().st_mtime_ns
    with pytest.raises(SystemExit) as stopped:
        run("*.mp4", *FAST)
    assert stopped.value.code == 0
    assert Path("output/a_2x_blend.mp4").stat().st_mtime_ns == made
    assert Path("output/b_2x_blend.mp4").is_file()
    said = capsys.readouterr().out
    assert "a_2x_blend.mp4 exists already; --overwrite" in said
    assert "2 of 2 videos are done, 0 failed" in said


def test_what_is_a_batch() -> None:
    a, b = clips("clips/a.mp4", "clips/b.mkv")
    Path("frames").mkdir()
    for number, frame in enumerate(moving_frames(2)):
        write_frame(Path("frames", f"{number}.png"), frame[0])
    picture = Path("frames/0.png")
    assert find_batch([Path("clips")]) == [a, b]
    assert find_batch([b, a, b]) == [b, a]
    assert find_batch([a]) is None  # one video
    assert find_batch([Path("frames")]) is None
    assert find_batch([picture, Path("frames/1.png")]) is None
    assert expand_inputs([Path("clips/*.m*"), picture]) == [a, b, picture]
    with pytest.raises(ValueError, match=r"No file matches x\*\.mp4"):
        expand_inputs([Path("x*.mp4")])
    write_frame(Path("clips/still.png"), moving_frames(1)[0][0])
    with pytest.raises(ValueError, match=r"clips holds images and videos, such as a\.mp4"):
        find_batch([Path("clips")])
    with pytest.raises(ValueError, match=r"frames is no video, as "):
        find_batch([a, Path("frames")])


def test_a_batch_needs_a_folder() -> None:
    clips("a.mp4", "b.mp4")
    with pytest.raises(SystemExit):
        run("a.mp4", "b.mp4", "--output", "c.mp4", *FAST)
    assert not Path("c.mp4").exists()
