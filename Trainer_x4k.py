"""Trainer of stage 2, sparse global matching; training/trainer.py has the training loop."""

from sgm_vfi.training.sgm import SparseMatchingTrainer as X4KTrainer

__all__ = ["X4KTrainer"]
