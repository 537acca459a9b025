"""Train features for global matching, on scenes made here, where the published file is absent.

python train_gmflow.py
torchrun --nproc_per_node=4 train_gmflow.py
python train_gmflow.py --config smoke                   # does everything once, in a minute
"""

from sgm_vfi.engine.launch import launch
from sgm_vfi.training.gmflow import GMFlowTrainer
from sgm_vfi.training.gmflow_recipes import EXPERIMENTS, FLAGS

if __name__ == "__main__":
    launch(GMFlowTrainer, EXPERIMENTS, FLAGS, __doc__)
