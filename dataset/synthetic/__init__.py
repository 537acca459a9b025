"""Synthetic data set: layered scenes with large known motion."""

from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.renderer import SceneBatch, SceneGenerator
from sgm_vfi.dataset.synthetic.synthetic_loader import SyntheticLoader

__all__ = ["SceneBatch", "SceneGenerator", "SyntheticConfig", "SyntheticLoader"]
