"""Results read back, and the page that shows them."""

import base64
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.document import data_url
from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.benchmark.plot import HEIGHT, TOP, ScatterPoint, scatter
from sgm_vfi.benchmark.report_page import best_cells, page
from sgm_vfi.benchmark.result_rows import ReportError, Row, as_json
from sgm_vfi.benchmark.results import (
    ProtocolResult,
    averages,
    markdown_report,
    read_results,
    summary,
)
from sgm_vfi.benchmark.revisit import revisited
from sgm_vfi.benchmark.worst_samples import ZOOM, cut, exhibit, median, most, ranked, worst
from sgm_vfi.dataset.stand_in import write_stand_in
from sgm_vfi.dataset.synthetic import SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import as_frame, write_frame
from sgm_vfi.media.visualise import Picture
from sgm_vfi.model import Interpolation, time_like

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


def row(model: str, sample: str, psnr: float, **others: Any) -> Row:
    return {"model": model, "protocol": "xtest", "sample": sample, "psnr": psnr, **others}


def save(path: Path, rows: list[Row], **about: Any) -> Path:
    lines = [{"protocol": "xtest", **about}, *rows]
    path.write_text("".join(f"{as_json(line)}\n" for line in lines))
    return path


def result_of(rows: list[Row], **about: Any) -> ProtocolResult:
    keys = [key for key in rows[0] if key not in ("model", "psnr", "ssim", "lpips", "motion")]
    metrics = [key for key in ("psnr", "ssim", "lpips") if key in rows[0]]
    return ProtocolResult("xtest", about, rows, metrics, keys)


# results read back
def test_json_lines_and_their_cut_off_end(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", [row("m", "a", math.inf), row("m", "b", 20.0)], pad_to=32)
    with path.open("a") as file:
        file.write('{"model": "m", "psn')
    [result] = read_results([path])
    assert (result.name, result.metrics, result.keys) == ("xtest", ["psnr"], ["protocol", "sample"])
    assert result.about["pad_to"] == 32
    assert [result.label(one) for one in result.rows] == ["a", "b"]
    assert averages(result)[0]["psnr"] == 60.0  # equal frames count as 100 dB


def test_columns_of_any_name(tmp_path: Path) -> None:
    """What is no metric tells samples apart; a file may name metrics that nobody else knows."""
    rows = [
        {"model": "m", "clip": "a.mp4", "gap": 2, "frame": 7, "psnr": 1.0, "vmaf": 3.0, "motion": 5}
    ]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"protocol": "own", "metrics": ["psnr", "vmaf"], "rows": rows}))
    [result] = read_results([path])
    assert (result.metrics, result.keys) == (["psnr", "vmaf"], ["clip", "gap", "frame"])
    assert result.label(rows[0]) == "a.mp4, gap 2, frame 7"


def test_files_of_one_protocol_come_together(tmp_path: Path) -> None:
    """A folder is all its files; one name in two files is two models."""
    (tmp_path / "deep").mkdir()
    save(tmp_path / "a.jsonl", [row("m", "a", 1.0), row("n", "a", 2.0)])
    save(tmp_path / "deep" / "b.jsonl", [row("m", "a", 3.0)])
    save(tmp_path / "c.jsonl", [row("m", "a", 4.0) | {"protocol": "davis"}])
    xtest, davis = read_results([tmp_path])
    assert (xtest.name, davis.name) == ("xtest", "davis")
    assert davis.models == ["m"]
    first, second, third = xtest.models
    assert first.startswith("m (")
    assert "a.jsonl" in first
    assert second == "n"
    assert "b.jsonl" in third
    assert [one["psnr"] for one in averages(xtest)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "", r"\.json or \.jsonl files, got .*x\.txt"),
        ("x.json", "{", "is no file of results"),
        ("x.json", "[1]", "no file of results|There are no rows"),
        ("x.json", '{"rows": [1]}', "rows without a model"),
        ("x.jsonl", '{"a": 1}\n', "There are no rows"),
        ("x.jsonl", '{"model": "m", "sample": "a"}\n', "hold no metric: model, sample"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=message):
        read_results([tmp_path / name])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of results at .*x\.json"):
        read_results([tmp_path / "x.json"])
    with pytest.raises(ReportError, match="holds no results"):
        read_results([tmp_path])


# tables
def test_published_values_stand_beside_ours() -> None:
    rows = [row("m", "a", 30.0, lpips=0.02), row("m", "b", 31.0, lpips=0.04)]
    published = {"m": {"psnr": 30.75}, "other": {"psnr": 40.0}}
    head, [line] = summary(result_of(rows, published=published))
    assert head == ["model", "samples", "psnr dB ↑", "published", "difference", "lpips ↓"]
    assert line == ["m", "2", "30.50", "30.75", "-0.25", "0.0300"]
    assert "| m | 2 | 30.50 | 30.75 | -0.25 | 0.0300 |" in markdown_report(
        [result_of(rows, published=published)]
    )


def test_the_means_of_the_file_itself_are_shown() -> None:
    """Footage counts clips equally; the plain mean over its rows would be another number."""
    rows = [row("m", "a", 1.0, gap=1)]
    means = [
        {"model": "m", "clip": "a", "gap": 1, "triplets": 1, "psnr": 5.0},
        {"model": "m", "clip": None, "gap": 1, "triplets": 9, "psnr": 7.0},
    ]
    head, lines = summary(result_of(rows, means=means))
    assert head == ["model", "gap", "samples", "psnr dB ↑"]
    assert lines == [["m", "1", "9", "7.00"]]


def test_the_best_of_each_group() -> None:
    head = ["model", "gap", "samples", "psnr dB ↑", "lpips ↓"]
    lines = [
        ["m", "1", "9", "30.00", "0.1"],
        ["n", "1", "9", "31.00", "0.2"],
        ["m", "2", "9", "20.00", ""],
        ["n", "2", "9", "20.00", "0.1"],
        ["m", "3", "9", "10.00", "0.9"],
    ]
    assert best_cells(head, lines) == {(1, 3), (0, 4), (2, 3), (3, 3)}


# which samples
def test_the_worst_are_the_best_models_and_one_per_clip_and_gap() -> None:
    """m is better than n in the mean, so m's failures count; clip a has the three worst."""
    psnr = {
        "m": {("a", 1, 1): 12, ("a", 1, 2): 10, ("a", 1, 3): 11, ("b", 1, 1): 40, ("b", 2, 1): 30},
        "n": {("a", 1, 1): 1, ("a", 1, 2): 9, ("a", 1, 3): 8, ("b", 1, 1): 5, ("b", 2, 1): 29},
    }
    rows = [
        {"model": model, "clip": clip, "gap": gap, "frame": frame, "psnr": float(value)}
        for model, values in psnr.items()
        for (clip, gap, frame), value in values.items()
    ]
    result = result_of(rows)
    chosen = [
        tuple(sample["m"][key] for key in ("clip", "gap", "frame")) for sample in worst(result, 8)
    ]
    assert chosen == [("a", 1, 2), ("b", 2, 1), ("b", 1, 1)]
    assert len(worst(result, 2)) == 2
    assert all(list(sample) == ["m", "n"] for sample in worst(result, 8))
    middle = [(sample["m"]["gap"], sample["m"]["frame"]) for sample in median(result)]
    assert sorted(middle) == [(1, 1), (2, 1)]  # of 10, 11, 12, 40 at gap 1: 12


def test_less_lpips_is_better() -> None:
    rows = [
        {"model": "m", "protocol": "p", "sample": name, "lpips": value}
        for name, value in (("a", 0.1), ("b", 0.3), ("c", 0.2))
    ]
    assert [sample["m"]["sample"] for sample in ranked(result_of(rows))] == ["b", "c", "a"]


# plots
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(-10, 60)), min_size=1, max_size=40))
def test_points_lie_where_their_values_say(values: list[tuple[float, float]]) -> None:
    """More motion is not further left, a higher value not further down, whatever the scale."""
    svg = scatter({"m": [ScatterPoint(x, y, "") for x, y in values]}, "x", "y")
    places = np.array(re.findall(r'<circle cx="(.*?)" cy="(.*?)"', svg), dtype=float)
    assert len(places) == len(values)
    (x, y), (column, row) = np.array(values).T, places.T
    assert ((x[:, None] > x) | (column[:, None] <= column)).all()  # each point beside each other
    assert ((y[:, None] > y) | (row[:, None] >= row)).all()
    assert ((column > 0) & (column < 640)).all()
    assert ((row > 0) & (row < HEIGHT)).all()


def test_infinite_values_lie_at_the_upper_edge() -> None:
    svg = scatter(
        {
            "m": [
                ScatterPoint(1, math.inf, ""),
                ScatterPoint(2, 30.0, ""),
                ScatterPoint(3, 31.0, ""),
            ]
        },
        "x",
        "y",
    )
    assert float(re.search('cy="(.*?)"', svg)[1]) == TOP
    assert "nan" not in svg
    assert "<circle" in scatter({"m": [ScatterPoint(1, math.inf, "")]}, "x", "y")


def test_many_points_stay_a_small_page_and_show_a_trend() -> None:
    points = [ScatterPoint(float(n % 97), 40 - n % 97 / 10, "x" * 40) for n in range(20000)]
    svg = scatter({"m": points, "n": points[:3]}, "x", "y")
    assert svg.count("<circle") == 1500 + 3
    assert svg.count('class="trend"') == 1
    assert svg.rindex("<circle") < svg.index("<polyline")  # no point hides a line
    assert len(svg) < 400_000


# pictures
def triplet_of(height: int, width: int) -> Triplet:
    frames = [as_frame(astronaut()[n : n + height, 2 * n : 2 * n + width])[None] for n in (0, 3, 6)]
    return Triplet(*frames, time_like(frames[0], 0.5))


def test_an_exhibit_shows_inputs_models_and_what_they_explain() -> None:
    triplet = triplet_of(120, 160)
    wrong = triplet.target.clone()
    wrong[..., 100:, 140:] = 1 - wrong[..., 100:, 140:]
    notes = {
        "flow": torch.randn(1, 4, 120, 160),
        "difference": torch.rand(1, 2, 120, 160),
        "blend": torch.full((1, 1, 120, 160), 0.5),  # the same everywhere: not shown
    }
    predictions = {
        "m": Interpolation(wrong, explanation=notes),
        "n": Interpolation(triplet.target.clone()),
    }
    shown = exhibit("heading", "", triplet, predictions)
    captions = {name: [p.caption for p in pictures] for name, pictures in shown.rows.items()}
    assert captions[""][:4] == ["frame before", "truth", "frame after", "before against after"]
    assert "flow" in captions[""][4]
    assert captions["m"][0] == "prediction"
    assert captions["m"][3:] == ["difference map", "final flow"]
    assert len(captions["n"]) == 3
    truth, enlarged = shown.rows[""][5].image, shown.rows["m"][2].image
    assert torch.equal(truth, cut(triplet.target[0], (24, 64)))
    assert torch.equal(enlarged, cut(wrong[0], (24, 64)))
    assert shown.rows["n"][1].image.max() < 0.05  # no error is black


@pytest.mark.parametrize(("height", "width"), [(97, 130), (20, 130), (3, 5)])
def test_the_square_of_most_error(height: int, width: int) -> None:
    error = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) ** 8
    row, column = most(error)
    side = [min(ZOOM, height), min(ZOOM, width)]
    own = error[row : row + side[0], column : column + side[1]].sum()
    every = [
        error[y : y + side[0], x : x + side[1]].sum()
        for y in range(height - side[0] + 1)
        for x in range(width - side[1] + 1)
    ]
    assert own == pytest.approx(max(every).item(), rel=1e-5)


def test_pictures_inside_the_page_are_pictures() -> None:
    image = as_frame(astronaut())
    url = data_url(Picture("", image), (100, 300))
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert decoded.shape == (100, 100, 3)
    small = cv2.resize(astronaut(), (100, 100), interpolation=cv2.INTER_AREA)
    off, swapped = (np.abs(decoded.astype(float) - s).mean() for s in (small, small[..., ::-1]))
    assert off < 8 < swapped


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
    shown = exhibit(
        "<i>", "note", triplet_of(40, 60), {"m": Interpolation(torch.rand(1, 3, 40, 60))}
    )
    text = page("A <title>", [result_of(rows, **about)], [shown])
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
    text = page("t", [result_of([row("m", "a", 30.0, ssim=0.9)], **about)])
    assert "<td>RIFE</td><td>35.615</td><td></td><td>a &lt;page&gt;</td>" in text
    assert "Published" not in page("t", [result_of([row("m", "a", 30.0)])])


def test_rows_without_motion_have_no_plot() -> None:
    text = page("t", [result_of([row("m", "a", 30.0)])])
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
    again, shown = revisited(result, torch.device("cpu"))
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
        revisited(*read_results([path]), torch.device("cpu"))
    with pytest.raises(ReportError, match="takes results of the protocols, got 'xtest'"):
        revisited(result_of([row("m", "a", 1.0)]), torch.device("cpu"))
    (middlebury / "again.jsonl").write_text(text)
    with pytest.raises(ReportError, match="Name one file per protocol"):
        revisited(*read_results([middlebury]), torch.device("cpu"))
