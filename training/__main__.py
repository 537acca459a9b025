"""Train a network: `python -m training COMMAND`, or with torchrun on several GPUs.

python -m training gmflow                               # features for global matching
python -m training base --data_path vimeo_triplet       # SGM-VFI, stage 1: the local branch
python -m training x4k --train_data_path X4K1000FPS/train --val_data_path X4K1000FPS/val
python -m training zoo --config rife --data_path vimeo_triplet
torchrun --nproc_per_node=4 -m training zoo --config rife_m --data_path vimeo_septuplet
python -m training base --config smoke                  # runs every part once, in a minute
python -m training own --set model=file.py:Class         # a network of yours
python -m training curves log/ours-local-small --output curves.png
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import sgm_vfi.startup  # noqa: F401 - before PyTorch
from sgm_vfi.command_errors import CommandParser
from sgm_vfi.engine.training_command_line import launch

STAGES = {  # command -> (module:trainer, module of its recipes)
    "gmflow": (
        "sgm_vfi.training.matching_features:GMFlowTrainer",
        "sgm_vfi.training.matching_features_recipes",
    ),
    "base": ("sgm_vfi.Trainer_base:Trainer", "sgm_vfi.config_base"),
    "x4k": ("sgm_vfi.Trainer_x4k:X4KTrainer", "sgm_vfi.config"),
    "own": ("sgm_vfi.training.user_network:UserNetworkTrainer", "sgm_vfi.training.user_network"),
    "zoo": ("sgm_vfi.training.baselines:BaselineTrainer", "sgm_vfi.training.baseline_recipes"),
}
TOOLS = {
    "pipeline": "sgm_vfi.training.pipeline",
    "ablations": "sgm_vfi.training.ablations",
    "curves": "sgm_vfi.training.curves",
    "release": "sgm_vfi.training.release_weights",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a stage of training or a tool."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = CommandParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=[*STAGES, *TOOLS], help="COMMAND -h shows its options")
    command, *rest = parser.parse_args(arguments[:1]).command, *arguments[1:]
    if command in TOOLS:
        import_module(TOOLS[command]).main(rest)
        return
    trainer, recipes = STAGES[command]
    module, _, name = trainer.partition(":")
    table = import_module(recipes)
    launch(getattr(import_module(module), name), table.EXPERIMENTS, table.FLAGS, arguments=rest)


if __name__ == "__main__":
    main()
