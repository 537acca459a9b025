"""What lenses and codecs do to synthetic frames."""

from dataclasses import replace

import pytest
import torch

from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.synthetic.degradations import (
    blur_defocus,
    cosine_transform,
    luma_chroma_matrix,
    simulate_codec,
)

SMALL = SyntheticConfig(size=(40, 52), textures=6, texture_size=64, masks=6, mask_size=48)


@pytest.fixture
def frame() -> torch.Tensor:
    return 0.2 + 0.6 * torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("deviation", [0.8, 1.5])
def test_a_lens_spreads_a_point_by_its_deviation(deviation: float) -> None:
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    spread = blur_defocus(point, deviation)
    place = torch.arange(41) - 20.0
    torch.testing.assert_close(spread.sum(dim=(1, 2)), torch.ones(3))
    variance = (spread[0].sum(0) * place.square()).sum()
    assert variance.sqrt().item() == pytest.approx(deviation, rel=0.05)
    torch.testing.assert_close(spread, spread.transpose(1, 2))


def test_a_plain_frame_stays_plain(frame: torch.Tensor) -> None:
    plain = frame.mean(dim=(1, 2), keepdim=True).expand_as(frame)
    torch.testing.assert_close(blur_defocus(plain, 1.2), plain)
    coded = simulate_codec(plain, 0.02)
    assert (coded - plain).abs().max() < 0.06
    assert coded.flatten(1).std(dim=1).max() < 1e-5


def test_the_transform_keeps_lengths_and_colours_come_back() -> None:
    cosines, colours = cosine_transform(torch.zeros(1)), luma_chroma_matrix(torch.zeros(1))
    torch.testing.assert_close(cosines @ cosines.T, torch.eye(8), atol=1e-6, rtol=0)
    torch.testing.assert_close(colours.sum(dim=1), torch.tensor((1.0, 0, 0)), atol=1e-6, rtol=0)


def test_a_codec_loses_more_by_larger_steps_and_nothing_twice(frame: torch.Tensor) -> None:
    errors = [(simulate_codec(frame, step) - frame).square().mean() for step in (1e-4, 0.004, 0.02)]
    assert errors[0] < 1e-5
    assert errors[0] < errors[1] < errors[2]
    once = simulate_codec(0.5 + 0.2 * (frame[..., :48] - 0.5), 0.004)  # whole blocks
    torch.testing.assert_close(simulate_codec(once, 0.004), once, atol=1e-5, rtol=0)


def test_recordings_differ_and_scenes_stay() -> None:
    """Lens and codec draw on randomness of their own: all else is as it was without them."""
    seeds = [[5, number] for number in range(12)]
    maker = SceneGenerator(SMALL)
    plain = maker.draw(seeds)
    recorded = maker.with_config(replace(SMALL, lens=0.5, coded=0.5)).draw(seeds)
    for name in ("shutter", "light", "grain", "seed"):
        values = [getattr(scenes.parameters.degradations, name) for scenes in (plain, recorded)]
        assert torch.equal(*values)
    focus, coding = recorded.parameters.degradations[-2:]
    assert not torch.stack(plain.parameters.degradations[-2:]).any()
    one, other = (scenes.triplet().frame0 for scenes in (plain, recorded))
    changed = (one - other).abs().amax(dim=(1, 2, 3)) > 0
    assert torch.equal(changed, (focus > 0) | (coding > 0))
    assert 0 < changed.sum() < len(seeds)
