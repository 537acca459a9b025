"""Train features for global matching, on scenes made here, where the published file is absent.

python train_gmflow.py
torchrun --nproc_per_node=4 train_gmflow.py
python train_gmflow.py --config smoke                   # does everything once, in a minute
"""

from config_gmflow import EXPERIMENTS, FLAGS
from engine.launch import launch
from Trainer_gmflow import GMFlowTrainer

if __name__ == "__main__":
    launch(GMFlowTrainer, EXPERIMENTS, FLAGS, __doc__)
