"""Synthetic data set: layered scenes with large known motion."""

from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.renderer import SceneBatch, SceneGenerator
from sgm_vfi.dataset.synthetic.scene_reuse import ReusingLoader
from sgm_vfi.dataset.synthetic.synthetic_loader import SyntheticLoader

__all__ = ["ReusingLoader", "SceneBatch", "SceneGenerator", "SyntheticConfig", "SyntheticLoader"]
