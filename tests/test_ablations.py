"""Ablations of training: the scenes they share, runs that are not repeated, results."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.distributed import World
from sgm_vfi.model.baselines.repeat_and_blend import Blend
from sgm_vfi.training import ablations, scenes_rendered_once
from sgm_vfi.training.ablations import format_table, main
from sgm_vfi.training.scenes_rendered_once import RenderedScenes
from tests.fixtures.training_runs import LOCAL, PLAIN, SIDE


@pytest.fixture(scope="module")
def scenes() -> Triplet:
    config = SyntheticConfig(size=(16, 16), textures=4, texture_size=32, masks=4, mask_size=24)
    return SceneGenerator(config).draw([(1, number) for number in range(12)]).triplet(truth=True)


def motion_of(batches: RenderedScenes) -> float:
    return max(batch.truth.flow_01.norm(dim=1).max().item() for batch in batches)


def test_a_curriculum_begins_with_small_motion(scenes: Triplet) -> None:
    loader = RenderedScenes(scenes, 4, 24, seed=0, growing=2)
    first = motion_of(loader)
    loader.set_epoch(2)
    assert first < 0.8 * motion_of(loader)
    loader.set_epoch(2, start=4)
    assert len(list(loader)) == len(loader) == 2


def test_validation_has_every_scene_in_its_order(scenes: Triplet) -> None:
    frames = torch.cat([batch.target for batch in RenderedScenes(scenes, 4, 12)])
    assert torch.equal(frames, scenes.target)


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Few scenes, a tiny network, and a teacher that says that nothing moves."""
    from contextlib import nullcontext

    base = ablations.BASE
    data = replace(base.data, patch_size=SIDE, train_scenes=4, val_scenes=1, scenes=PLAIN)
    training = replace(base.training, val_batch_size=1)
    tiny = replace(base, data=data, training=training, model=replace(LOCAL, any_time=True))
    monkeypatch.setattr(ablations, "BASE", tiny)
    monkeypatch.setattr(ablations, "EPOCH", 4)
    monkeypatch.setattr(scenes_rendered_once, "RENDER_BATCH", 4)
    monkeypatch.setattr(ablations, "load_interpolator", lambda name: Blend())
    monkeypatch.setattr(ablations, "process_group", lambda device: nullcontext(world))


@pytest.mark.usefixtures("_tiny")
def test_a_variant_is_trained_once_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--side", str(SIDE), "--samples", "4", "--seeds", "0", "--output", str(tmp_path)]
    options += ["--variants", "init+teacher"]
    main(options)
    table = capsys.readouterr().out
    monkeypatch.setattr(ablations.AblationTrainer, "fit", None)
    main(options)  # trains nothing
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert rows[0] == "variant,seed,samples,cpu_seconds,psnr,psnr_blend,epe"
    assert len(rows) == 1 + 2  # at 0 and 4 samples
    assert (tmp_path / "curves.png").is_file()
    assert "init+teacher" in table


def test_table_has_the_last_value_of_each_seed() -> None:
    row = {"variant": "init", "seed": 0, "samples": 4, "cpu_seconds": 2.0, "psnr_blend": 25.0}
    rows = [row | {"psnr": 20.0, "epe": 1.0}, row | {"samples": 8, "psnr": 21.0, "epe": 0.5}]
    rows.append(row | {"seed": 1, "psnr": 22.0, "epe": 0.25})
    assert "| init | 21.00, 22.00 | 0.50, 0.25 | 0.375 |" in format_table(rows)
