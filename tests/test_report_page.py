"""The report page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from skimage.data import astronaut

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.benchmark.report_page import add_images, format_page
from sgm_vfi.benchmark.result_summary import (
    read_results,
)
from sgm_vfi.benchmark.row_journal import ReportError
from sgm_vfi.benchmark.sample_figures import (
    build_figure,
)
from sgm_vfi.dataset.stand_in_data_sets import write_stand_in
from sgm_vfi.dataset.synthetic import SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import as_frame, write_frame
from sgm_vfi.model import Interpolation, time_like
from tests.fixtures.result_rows import result_of, row

VOID = {"meta", "img", "br", "line", "circle", "polyline"}


class Elements(HTMLParser):
    """Every element with its attributes, and proof that each one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def triplet_of(height: int, width: int) -> Triplet:
    frames = [as_frame(astronaut()[n : n + height, 2 * n : 2 * n + width])[None] for n in (0, 3, 6)]
    return Triplet(*frames, time_like(frames[0], 0.5))


# the page
def test_the_page_is_whole_and_loads_nothing() -> None:
    rows = [
        row(model, f"<b>{n}</b>", 30.0 + n, motion=float(n), ssim=0.9)
        for model in ("m & m", "n")
        for n in range(30)
    ]
    about = {
        "rules": ["a < b"],
        "commit": "abc",
        "device": 'a "device"',
        "weights": {"m": "</pre>"},
    }
    shown = build_figure(
        "<i>", "note", triplet_of(40, 60), {"m": Interpolation(torch.rand(1, 3, 40, 60))}
    )
    text = format_page("A <title>", [result_of(rows, **about)], [shown])
    elements = Elements(text)
    assert not elements.all("script")
    assert not elements.all("link")
    assert not elements.all("b")
    assert not elements.all("i") or all(set(i) == {"style"} for i in elements.all("i"))
    assert len(elements.all("circle")) == 2 * 2 * 30
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in elements.all("img"))
    assert len(elements.all("img")) == 6 + 3
    assert not re.search(r"https?://|url\(|@import", text)
    assert "m &amp; m" in text
    assert any(e.get("name") == "viewport" for e in elements.all("meta"))
    assert "prefers-color-scheme: dark" in text


def test_published_values_are_listed_with_their_source() -> None:
    about = {"published": {"RIFE": {"psnr": 35.615}}, "published_in": {"RIFE": "a <page>"}}
    text = format_page("t", [result_of([row("m", "a", 30.0, ssim=0.9)], **about)])
    assert "<td>RIFE</td><td>35.615</td><td></td><td>a &lt;page&gt;</td>" in text
    assert "Published" not in format_page("t", [result_of([row("m", "a", 30.0)])])


def test_rows_without_motion_have_no_plot() -> None:
    text = format_page("t", [result_of([row("m", "a", 30.0)])])
    assert "<svg" not in text
    assert "<table" in text


def test_footage_leaves_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the worst of both gaps and the median ones; reading its rows again gives its tables."""
    (tmp_path / "clip").mkdir()
    for number in range(7):
        picture = as_frame(astronaut()[100:164, 100 + 3 * number : 180 + 3 * number])
        write_frame(tmp_path / "clip" / f"{number}.png", picture)
    output = tmp_path / "out" / "r.json"
    command = ("--path", tmp_path / "clip", "--model", "blend", "classical", "--gap", 1, 2)
    main(["footage", *map(str, (*command, "--output", output))])
    text = output.with_suffix(".html").read_text()
    elements = Elements(text)
    headings = re.findall("<h3>(.*?)</h3>", text)
    assert [heading.split(":")[0] for heading in headings[1:]] == ["worst"] * 2 + ["median"] * 2
    captions = [image["alt"] for image in elements.all("img")]
    assert captions.count("truth") == captions.count("final flow") == 4  # the classical model's
    assert captions.count("prediction") == 4 * 2
    rows = json.loads(output.read_text())["rows"]
    for one in rows:
        assert one["motion"] == pytest.approx(6.0 * one["gap"], rel=0.2)
    capsys.readouterr()
    again = tmp_path / "new" / "again.html"
    main(["report", str(output), "--output", str(again)])
    tables = [re.findall("<table>.*?</table>", page) for page in (text, again.read_text())]
    assert tables[0] == tables[1] != []
    assert "| classical | 2 | 3 | " in capsys.readouterr().out
    assert len(text) < 2_000_000
    with pytest.raises(SystemExit) as caught:
        main(["report", str(output), "--output", str(output)])
    assert caught.value.code == 2


@pytest.fixture
def middlebury(tmp_path: Path) -> Path:
    """Results of two models on three scenes of a miniature tree."""
    small = SyntheticConfig(textures=6, texture_size=64, masks=4, mask_size=48, blur=0.0)
    write_stand_in("middlebury", tmp_path / "data", scenes=3, size=(48, 64), config=small)
    arguments = ("--path", tmp_path / "data", "--model", "repeat", "classical")
    main(["middlebury", *map(str, (*arguments, "--output", tmp_path / "results"))])
    return tmp_path / "results"


def test_a_protocols_pictures_come_from_its_data(middlebury: Path) -> None:
    """Three scenes are the worst, the middle one the median; the truth is the file's."""
    output = middlebury.parent / "page.html"
    main(["report", str(middlebury), "--pictures", "--output", str(output)])
    text = output.read_text()
    [result] = read_results([middlebury])
    assert text.count("<circle") == 2 * 3 * len(result.metrics)
    headings = re.findall("<h3>(.*?)</h3>", text)[1:]
    assert [heading.split(":")[0] for heading in headings] == [
        *(["worst of middlebury"] * 3),
        "median of middlebury",
    ]
    assert headings[1].split(": ")[1] == headings[3].split(": ")[1]
    again, shown = add_images(result, torch.device("cpu"))
    assert [{**one, "motion": 0} for one in again.rows] == [
        {**one, "motion": 0} for one in result.rows
    ]
    assert all(0 <= one["motion"] < 100 for one in again.rows)
    for one in shown:
        name = one.heading.split(": ")[1]
        truth, prediction = one.rows[""][1].image, one.rows["classical"][0].image
        [own] = [r for r in result.rows if r["sample"] == name and r["model"] == "classical"]
        assert psnr(prediction[None], truth[None]).item() == pytest.approx(own["psnr"])


def test_pictures_of_other_weights_or_rows_are_refused(middlebury: Path) -> None:
    [path] = middlebury.glob("*.jsonl")
    text = path.read_text()
    own = '"classical": {"fingerprint": "'
    path.write_text(text.replace(own, f"{own}1"))
    with pytest.raises(ReportError, match="weights of classical are others than those"):
        add_images(*read_results([path]), torch.device("cpu"))
    with pytest.raises(ReportError, match="takes results of the protocols, got 'xtest'"):
        add_images(result_of([row("m", "a", 1.0)]), torch.device("cpu"))
    (middlebury / "again.jsonl").write_text(text)
    with pytest.raises(ReportError, match="Name one file per protocol"):
        add_images(*read_results([middlebury]), torch.device("cpu"))
