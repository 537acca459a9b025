"""Weights that ship: the same network from whole files and from parts, or an error that helps."""

import argparse
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_vfi.benchmark import footage_command as footage
from sgm_vfi.model import load_interpolator, time_like, zoo
from sgm_vfi.model.sgm.network import SGM, SGM_SMALL
from sgm_vfi.model.weight_io import CheckpointError, read_weights, save_weights
from sgm_vfi.storage.file_identity import sha256
from sgm_vfi.training import release_weights as ship
from sgm_vfi.training.release_weights import TABLE, main, rounding_psnr
from sgm_vfi.video import command
from tests.conftest import TINY, randomize_weights

LOCAL = replace(TINY, keypoint_ratio=None)
BOUND = 58.0  # dB: what rounding to float16 may cost, as noise on the prediction
SMALL_PART = 1_600_000  # bytes


@pytest.fixture
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with a table for weights; rounding is measured on a small picture."""
    monkeypatch.setattr("sgm_vfi.model.weight_search.ROOT", workdir)
    monkeypatch.setattr(ship, "MIDDLE", np.s_[122:218, 242:338])
    place = workdir / "pretrained"
    place.mkdir()
    (place / "README.md").write_text(f"Weights\n\n{TABLE}\n{ship.CORNERS}\n\nThe end.\n")
    return place


def trained(path: Path, network: SGM) -> Path:
    save_weights(network, path, {"config": asdict(network.config), "recipe": {"name": path.stem}})
    return path


def both(folder: Path) -> tuple[SGM, SGM]:
    """A local branch, and a network whose second stage kept all of it but the context network."""
    local, whole = randomize_weights(SGM(LOCAL)), randomize_weights(SGM(TINY), seed=1)
    shared = {
        name: tensor
        for name, tensor in local.state_dict().items()
        if not name.startswith("synthesis.context.")
    }
    whole.load_state_dict(whole.state_dict() | shared)
    run(trained(folder.parent / "local.safetensors", local), folder)
    run(
        trained(folder.parent / "whole.safetensors", whole),
        folder,
        *("--builds_on", folder / "local.json"),
    )
    return local.eval(), whole.eval()


def run(path: Path, folder: Path, *more: object) -> None:
    main([str(path), "--recipe", "python train.py", "--output", str(folder), *map(str, more)])


def rounded(network: SGM) -> dict[str, Tensor]:
    return {name: tensor.half().float() for name, tensor in network.state_dict().items()}


def assert_holds(network: SGM, state: dict[str, Tensor]) -> None:
    own = network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in own)


@pytest.mark.parametrize("part_bytes", [2**24, SMALL_PART])
def test_whole_and_in_parts_load_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(ship, "PART_BYTES", part_bytes)
    network = randomize_weights(SGM(LOCAL))
    run(trained(folder.parent / "net.safetensors", network), folder)
    parts = sorted(folder.glob("*.safetensors"))
    assert (len(parts) == 1) == (part_bytes == 2**24)
    assert all(part.stat().st_size < part_bytes + 100_000 for part in parts)
    for path in (folder / "net.json", *parts):  # a part stands for all of them
        loaded = load_interpolator(path)
        assert loaded.config == LOCAL
        assert_holds(loaded, rounded(network))
    assert read_weights(folder / "net.json").metadata["recipe"] == {"name": "net"}


def test_weights_share_what_they_have_in_common(folder: Path) -> None:
    local, whole = both(folder)
    assert_holds(load_interpolator(folder / "local.json"), rounded(local))
    assert_holds(load_interpolator(folder / "whole.json"), rounded(whole))
    assert load_interpolator(folder / "whole.json", num_key_points=-1).config.keypoint_ratio == 1
    own = sum(tensor.nbytes for tensor in read_weights(folder / "local.json").state.values())
    every = sum(tensor.nbytes for tensor in read_weights(folder / "whole.json").state.values())
    written = (folder / "whole.safetensors").stat().st_size
    assert written < every - 0.5 * own


def test_a_missing_or_damaged_part_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "PART_BYTES", SMALL_PART)
    both(folder)
    index = folder / "whole.json"
    parts = [*folder.glob("local-*-of-*.safetensors"), *folder.glob("whole-2-of-*.safetensors")]
    assert len(parts) > 2
    for part in sorted(parts):
        content = part.read_bytes()
        part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CheckpointError, match=rf"{part.name}.*sha256.*Nothing was loaded"):
            load_interpolator(index)
        part.unlink()
        with pytest.raises(CheckpointError, match=rf"1 are missing beside it: {part.name}"):
            load_interpolator(index)
        part.write_bytes(content)
    load_interpolator(index)


def test_an_index_that_is_none_is_refused(folder: Path) -> None:
    index = folder / "index.json"
    for text in ("", "[]", '{"parts": [], "builds_on": []}', '{"parts": 3}', '{"parts": [{}]}'):
        index.write_text(text)
        with pytest.raises(CheckpointError, match=r"index\.json"):
            load_interpolator(index)
    outside = {"file": "../weights.safetensors", "sha256": "0"}
    index.write_text(json.dumps({"parts": [outside], "builds_on": []}))
    with pytest.raises(CheckpointError, match="names no files beside it"):
        load_interpolator(index)


def test_a_part_without_its_index_is_refused(folder: Path) -> None:
    run(trained(folder.parent / "net.safetensors", SGM(LOCAL)), folder)
    (folder / "net.json").unlink()
    with pytest.raises(CheckpointError, match=r"one part of several.*net\.json"):
        load_interpolator(folder / "net.safetensors")


def test_the_table_has_one_row_for_each(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship, "PART_BYTES", SMALL_PART)
    local, _ = both(folder)
    before = (folder / "README.md").read_text()
    assert "ship it again" not in capsys.readouterr().out
    monkeypatch.setattr(ship, "PART_BYTES", 2**24)
    randomize_weights(local, seed=5)
    path = trained(folder.parent / "local.safetensors", local)
    run(path, folder, "--measured", "30 dB", "--curve", "local.png")
    assert "whole.json was made for what local.json was before" in capsys.readouterr().out
    assert len(list(folder.glob("local*.safetensors"))) == 1  # no part of the former is left
    text = (folder / "README.md").read_text()
    assert text.startswith("Weights\n\n| weights |")
    assert text.endswith("\n\nThe end.\n")
    rows = [line for line in text.split("\n") if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["local.json", "whole.json"]
    assert rows[1] in before
    for words in ("30 dB", "![local](local.png)", sha256(folder / "local.safetensors")):
        assert words in rows[0]
    with pytest.raises(CheckpointError, match="of another version"):
        load_interpolator(folder / "whole.json")


def test_what_cannot_ship_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = folder.parent
    run(trained(home / "other.safetensors", randomize_weights(SGM(LOCAL), seed=3)), folder)
    huge = randomize_weights(SGM(LOCAL))
    huge.state_dict()["encoder.look.block1.0.bias"].fill_(1e6)
    bare = home / "bare.safetensors"
    save_weights(SGM(LOCAL), bare, {})
    wide = trained(home / "wide.safetensors", randomize_weights(SGM(TINY)))
    narrow = trained(home / "narrow.safetensors", randomize_weights(SGM(LOCAL)))
    run(wide, folder)
    for path, more, said in (
        (trained(home / "huge.safetensors", huge), (), "values that float16 has not"),
        (bare, (), "does not say how its network was built"),
        (narrow, ("--builds_on", folder / "wide.json"), "tensors that these weights have not"),
        (wide, ("--builds_on", wide), "is no index in"),
        (narrow, ("--builds_on", folder / "other.json"), "shares .* of its .* bytes"),
        (home / "none.safetensors", (), "No file of weights"),
    ):
        with pytest.raises(SystemExit):
            run(path, folder, *more)
        assert re.search(said, capsys.readouterr().err)
    assert {path.stem for path in folder.glob("*.json")} == {"other", "wide"}


def test_names_find_what_ships_behind_what_was_put_in_place(folder: Path) -> None:
    """One file serves any share of key points; one's own weights come first."""
    assert zoo.default_interpolator() == command.parse_arguments([], "").model == "sift+dis"
    with torch.device("meta"):
        empty = SGM(SGM_SMALL)
    state = {name: torch.zeros(tensor.shape) for name, tensor in empty.state_dict().items()}
    weights = read_weights(trained(folder.parent / "tiny.safetensors", SGM(TINY)))
    config = {"config": asdict(replace(SGM_SMALL, any_time=True))}
    ship.write_release(weights._replace(state=state, metadata=config), "ours-small", folder)
    assert len(list(folder.glob("ours-small-*-of-3.safetensors"))) == 3
    assert all(part.stat().st_size < 2**24 for part in folder.glob("*.safetensors"))
    assert zoo.default_interpolator() == "ours-small-1-2"
    for name, ratio in (("1-2", 1 / 2), ("1-4", 1 / 4), ("1-8", 1 / 8), ("dense", 1.0)):
        assert zoo.find_weights(f"ours-small-{name}") == folder / "ours-small.json"
        if ratio == 1 / 8:
            network = load_interpolator(f"ours-small-{name}")
            assert network.config.keypoint_ratio == ratio
            assert network.any_time
    assert command.parse_arguments([], "").model == "ours-small-1-2"
    parser = argparse.ArgumentParser()
    footage.add_arguments(parser)
    assert parser.parse_args(["--path", "x"]).model == ["sift+dis", "ours-small-1-2"]
    own = folder.parent / "log/ours-small-1-2/ckpt/ours-small-1-2.safetensors"
    own.parent.mkdir(parents=True)
    trained(own, SGM(TINY))
    assert zoo.find_weights("ours-small-1-2") == own
    assert zoo.find_weights("ours-small-1-4") == folder / "ours-small.json"


def test_float16_costs_next_to_nothing(pair: tuple[Tensor, Tensor]) -> None:
    """What rounding does to a prediction of the local branch, against the same in float32.

    At 58 dB it takes 0.005 dB off a prediction of 30 dB. Matching random features is chaos: what
    rounding costs with matching, shipping measures on the trained weights.
    """
    time = time_like(pair[0], 0.5)
    for seed in range(3):
        network = randomize_weights(SGM(LOCAL), seed).eval()
        with torch.no_grad():
            exact = network(*pair, time).frame
            network.load_state_dict(rounded(network))
            error = (network(*pair, time).frame - exact).square().mean().item()
        assert -10 * math.log10(error) > BOUND


def test_shipping_measures_what_rounding_costs(folder: Path) -> None:
    network = randomize_weights(SGM(LOCAL))
    path = trained(folder.parent / "net.safetensors", network)
    run(path, folder)
    assert BOUND < rounding_psnr(path, folder / "net.json") < 80
    assert rounding_psnr(path, path) == 100
    assert "float16 against float32: 6" in (folder / "README.md").read_text()
