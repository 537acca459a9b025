"""The training loop of every stage."""

import itertools
import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.config_base import Experiment
from sgm_vfi.dataset.data_config import LoaderShard, build_loader
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.graceful_stop import Interrupt
from sgm_vfi.engine.launch import Run
from sgm_vfi.engine.optimiser import GuardedAdamW
from sgm_vfi.engine.runlog import RunLog
from sgm_vfi.engine.schedule import rate_of
from sgm_vfi.engine.step_log import MeanScores, StepRecords
from sgm_vfi.engine.time_budget import Clock
from sgm_vfi.media.images import as_samples
from sgm_vfi.model.checkpoint import save_weights
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.model.memory_allocator import keep_freed_memory
from sgm_vfi.model.precision import compile_modules, use_bfloat16_in_training
from sgm_vfi.model.sgm.network import CELL, SGM
from sgm_vfi.training.initialisation import calibrate
from sgm_vfi.training.losses import interpolation_loss
from sgm_vfi.training.motion_supervision import KnownMotion
from sgm_vfi.training.panels import interpolation_panel
from sgm_vfi.training.profiling import PARTS, measure_step, step_table
from sgm_vfi.training.start_weights import load_features, start_from

logger = logging.getLogger(__name__)

BEST_PSNR = 100.0  # dB: what equal frames count as, so that a mean stays a number
PROGRESS = ("step", "epoch", "seen", "validated", "best")  # attributes that a checkpoint holds


class Trainer:
    """One loop for every stage; a stage is a recipe, which names data, and the hooks below."""

    SCORES = ("psnr", "psnr_blend")  # of validation; the best checkpoint has the highest first one

    def __init__(self, experiment: Experiment, run: Run) -> None:
        self.experiment, self.config, self.run = experiment, experiment.training, run
        self.world, self.device = run.world, run.device
        self.clock = Clock(self.config.minutes, run.world)
        self.random = torch.Generator().manual_seed(self.config.seed)  # alike in all processes
        self.step = self.epoch = self.seen = 0  # seen: samples of this epoch, by all processes
        self.validated, self.best = -1, -torch.inf  # step of the last validation, best score
        self._open_data()
        self._make_network()
        self.interrupt, self.shown = Interrupt(), None  # the batch that panels show
        self.log = RunLog(run.folder, active=self.world.is_main)
        self.records = StepRecords(self.world, self.log, self.config.max_skipped)
        if run.resume:
            self._restore()

    # ---- what a stage may change -----------------------------------------------------------------

    def build(self) -> nn.Module:
        """Hook: the network, with the weights that it starts from."""
        experiment, network = self.experiment, SGM(self.experiment.model)
        if self.run.goes_on:
            return network  # the checkpoint has all weights
        if self.config.calibrate and not experiment.start_from:
            calibrate(network, *self.world.share(next(iter(self.loader)).to("cpu")).inputs())
        complete = experiment.start_from and start_from(network, experiment.start_from)
        if network.gmflow is not None and not complete and not experiment.allow_random_features:
            load_features(network.gmflow, experiment.features)
        return network

    def trainable(self) -> Iterable[nn.Parameter]:
        """Hook: what the optimiser may move."""
        return self.model.parameters()

    def compute_modules(self) -> Iterable[nn.Module]:
        """Hook: the parts that may be compiled, and compute in bfloat16."""
        return self.model.compute_modules()

    def prepare(self, batch: Triplet) -> Triplet:
        """Hook: the last change to a batch before the network learns from it."""
        return batch

    def predict(self, network: nn.Module, batch: Triplet) -> Any:
        """Hook: what the network makes of a batch."""
        return network(*batch.inputs(), explain=network.training and batch.truth is not None)

    def loss(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Hook: what is minimised. Shapes: -> ()."""
        loss = interpolation_loss(prediction, batch.target)
        share = self.config.motion_share(self.step / self.total_steps)
        if not share or prediction.explanation is None:
            return loss
        return loss + share * self.known(
            prediction.explanation, batch.target_flow(), batch.downsampled_flow(CELL)
        )

    def scores(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Hook: how good a prediction is. Shapes: -> (B, len(SCORES))."""
        average = (batch.frame0 + batch.frame1) / 2
        both = [psnr(frame, batch.target) for frame in (prediction.frame, average)]
        return torch.stack(both, dim=1).clamp(max=BEST_PSNR)

    def picture(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Hook: a panel to look at. Shapes: -> (3, h, w)."""
        frame, _, notes = network(*batch.inputs(), explain=True)
        return interpolation_panel(batch, frame, notes or {})

    def metadata(self) -> dict[str, Any]:
        """Hook: what stands beside the weights in their files."""
        return {"config": asdict(self.experiment.model), "recipe": asdict(self.experiment)}

    # ---- the loop --------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end, or until asked to stop; either way everything is saved."""
        summary = self.config.summary(self.world.size)
        logger.info("%d steps on %s, %s", self.total_steps, self.device, summary)
        self.log.begin(self.step, self.total_steps)
        with self.interrupt:
            self._validate_if_due()
            while self.step < self.total_steps:
                self.train_epoch()
                self._validate_if_due()
        if self.world.is_main:
            result = self.run.folder / "ckpt" / f"{self.experiment.name}.safetensors"
            save_weights(self.measured, result, self.metadata())
            logger.info("Done: %s", result)
        self.log.close()

    def measure(self, steps: int) -> None:
        """Take steps to see what they cost, and print it; of the sizes drawn, the largest."""
        self.config = replace(self.config, scales=(max(self.config.scales),), chances=(1.0,))
        batches = itertools.chain.from_iterable(itertools.repeat(self.loader))
        parts = [(self, *row) for row in PARTS] + [(self.optimizer, "step", "optimiser")]
        how = (steps, parts, self.device, self.config.precision)
        cost = measure_step(lambda: self.train_step(*self._fetch(batches)), *how)
        self.log.close()
        if self.world.is_main:
            print(*step_table(cost, self.samples_per_step), sep="\n")

    def train_epoch(self) -> None:
        """Learn from (the rest of) this process's share of an epoch."""
        self.loader.set_epoch(self.epoch, self.seen // (self.config.batch_size * self.world.size))
        steps, batches = len(self.loader) // self.config.accumulate, iter(self.loader)
        self.records.pace.restart()
        for _ in itertools.takewhile(lambda _: self.step < self.total_steps, range(steps)):
            self.train_step(*self._fetch(batches))
            self.seen += self.samples_per_step
            self.records.pace.count(self.samples_per_step)
            self._look_after()
        self.epoch, self.seen = self.epoch + 1, 0

    def train_step(self, *batches: Triplet) -> None:
        """Move the weights once, along the mean gradient of these batches."""
        self.model.train()  # pictures and scores are made in evaluation mode
        losses = [self._learn(batch, batch is batches[-1], len(batches)) for batch in batches]
        loss, rate = torch.stack(losses).mean(), self.learning_rate()
        norm = self.optimizer.step(rate)
        self.step += 1
        self.records.add(loss, norm, step=self.step, epoch=self.epoch, learning_rate=rate)

    def learning_rate(self) -> float:
        """The rate of the next step."""
        times = self.samples_per_step / (self.config.reference_batch or self.samples_per_step)
        return times * rate_of(self.config, self.step, self.total_steps)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Score the network on all of the validation data; every process scores its share."""
        self.records.report()
        network, means = self.measured.eval(), MeanScores(self.SCORES)
        self.validation.set_epoch(0)
        for batch in self.validation:
            batch = batch.to(self.device)
            means.add(self.scores(self.predict(network, batch), batch))
        result = means.means(self.world)
        self.log.scores(self.step, self.epoch, result)
        self.validated = self.step
        if result[self.SCORES[0]] > self.best:
            self.best = result[self.SCORES[0]]
            self.run.store.save_best(self._weights() | {"scores": result})
        self.save()
        return result

    def save(self) -> None:
        """Write all that `_restore` needs."""
        self.records.report()
        self.run.store.save_last(self._state())

    # ---- its parts -------------------------------------------------------------------------------

    def _open_data(self) -> None:
        config, data = self.config, self.experiment.data
        share = LoaderShard(self.device, self.world.rank, self.world.size, config.seed)
        self.loader = build_loader(data, config.batch_size, share, training=True)
        self.validation = build_loader(data, config.val_batch_size, share, training=False)
        self.samples_per_step = config.samples_per_step(self.world.size)
        self.total_steps = config.total_steps(len(self.loader))

    def _make_network(self) -> None:
        config = self.config
        keep_freed_memory()
        torch.manual_seed(config.seed)  # fresh weights are the same in all processes
        self.model = self.build().to(self.device)
        if config.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        weights = [weight for weight in self.trainable() if weight.requires_grad]
        self.optimizer = GuardedAdamW(self.model, weights, **config.optimiser())
        self.known = KnownMotion(self.model, config.motion_loss, config.attention_loss)
        self.measured = self.optimizer.measured
        if config.precision == "bfloat16":
            use_bfloat16_in_training(self.compute_modules())
        if config.compile:
            compile_modules(self.compute_modules())
        self.network = self.world.wrap(self.model)

    def _fetch(self, batches: Iterator[Triplet]) -> list[Triplet]:
        """The batches of the next step; where a process has none, or is to stop, all stop."""
        problem, group = None, []
        with self.records.pace.waiting():
            try:
                group = [next(batches).to(self.device) for _ in range(self.config.accumulate)]
            except (OSError, ValueError, RuntimeError) as error:
                problem = error
        if self.world.any(self.interrupt.requested or problem is not None):
            self.save()
            self.log.close()
            self.interrupt.leave(self.step, problem)
        return [self.prepare(batch) for batch in group]

    def _learn(self, batch: Triplet, is_last: bool, batches: int) -> Tensor:
        """Add a batch's part to the gradient; with the last one it is that of all processes."""
        with nullcontext() if is_last else self.world.without_averaging(self.network):
            loss = self.loss(self.predict(self.network, batch), batch)
            # A loss that is not finite must be seen in the gradient, which processes share.
            seen = torch.where(loss.isfinite(), 1 / batches, torch.nan)
            (loss * seen).backward()
        return loss.detach()

    def _look_after(self) -> None:
        """What is due between two steps."""
        config, step = self.config, self.step
        if step % config.log_every == 0:
            self.total_steps = self.log.expect(self.clock.total_steps(step, self.total_steps))
            self.records.report()
        if step % config.picture_every == 0:
            self._show()
        if step % config.save_every == 0:
            self.save()

    def _validate_if_due(self) -> None:
        every, first = self.config.validate_every, 1 - self.config.validate_first
        is_turn = not self.seen and self.epoch % every == 0 and self.epoch >= first
        if self.validated != self.step and (is_turn or self.step >= self.total_steps):
            self.validate()

    @torch.no_grad()
    def _show(self) -> None:
        """Draw a panel of validation data, always the same."""
        if self.world.is_main:
            if self.shown is None:
                self.shown = next(iter(self.validation))
            panel = self.picture(self.measured.eval(), self.shown.to(self.device))
            self.log.picture(self.step, "panel", as_samples(panel))
        self.records.pace.restart()

    def _weights(self) -> dict[str, Any]:
        """What `load_interpolator` needs of a checkpoint."""
        return {"model": self.measured.state_dict(), "metadata": self.metadata()}

    def _state(self) -> dict[str, Any]:
        """What `_restore` needs on top: tensors and plain values."""
        training = {
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "log": self.log.position(),
            "clock": self.clock.state_dict(),
            **{name: getattr(self, name) for name in PROGRESS},
        }
        return self._weights() | {"training": training}

    def _restore(self) -> None:
        """Go on where the last checkpoint was written, in all processes."""
        state = self.world.share(self.run.store.load())
        if state is None:
            logger.info("No checkpoint in %s yet: this run begins.", self.run.folder)
            self.log.rewind(0)
            return
        training = state["training"]
        self.optimizer.load_state_dict(training["optimizer"], state["model"])
        self.random.set_state(training["random"])
        vars(self).update({name: training[name] for name in PROGRESS})
        self.clock.load_state_dict(training["clock"])
        self.total_steps = self.clock.total_steps(self.step, self.total_steps)
        self.log.rewind(training["log"])
        logger.info("Going on after step %d.", self.step)
