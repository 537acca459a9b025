"""Names of results: none costs what is read, and none that cannot be written is found late."""

from pathlib import Path

import pytest

from tests.demo_runs import run
from tests.small_videos import moving, write_clip

pytestmark = pytest.mark.usefixtures("here")

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
    clip = write_clip(Path("in.mp4"), moving(3))
    given = clip.replace(name).read_bytes()
    with pytest.raises(SystemExit, match=r"name another output"):
        run(Path(name).resolve(), "--output", "foo.mp4", *options, *FAST)
    assert Path(name).read_bytes() == given
