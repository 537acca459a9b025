"""Trainer of stage 1, the local branch of SGM-VFI; training/trainer.py has the training loop."""

from sgm_vfi.training.sgm import LocalBranchTrainer as Trainer

__all__ = ["Trainer"]
