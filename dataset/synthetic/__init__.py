"""Layered scenes on large known motions: an endless data set made by this repository alone."""

from dataset.synthetic.config import SyntheticConfig
from dataset.synthetic.loader import SyntheticLoader
from dataset.synthetic.scene import SceneMaker, Scenes

__all__ = ["SceneMaker", "Scenes", "SyntheticConfig", "SyntheticLoader"]
