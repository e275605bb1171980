"""How a training goes: its learning rate, and the four steps of the alternating scheme."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from detection.faster_rcnn import PROPOSING, FasterRCNN

STAGES = ("rpn", "head", "rpn-only", "head-only")
"""The four steps of alternating training, each a quarter of the epochs."""


@keras.saving.register_keras_serializable("atelier")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A rise over a twentieth of the steps, then a cosine to 0; as often as there are stages."""

    def __init__(self, highest: float, steps: int, stages: int = 1):
        self.highest, self.steps, self.stages = highest, steps, stages

    def __call__(self, step):
        length = max(1, self.steps // self.stages)
        rising = max(1, length // 20)
        step = tf.cast(tf.math.floormod(tf.cast(step, tf.int64), length), tf.float32)
        falling = 0.5 + 0.5 * tf.cos(math.pi * (step - rising) / max(1, length - rising))
        return self.highest * tf.where(step < rising, (step + 1) / rising, falling)

    def get_config(self):
        return {"highest": self.highest, "steps": self.steps, "stages": self.stages}


class Alternation(keras.callbacks.Callback):
    """Moves a training through the four steps of Ren et al. 2015, section 3.2.

    1: the region proposal network, with the backbone. 2: the box head, with a backbone that starts
    anew, on the proposals of 1. 3: the region proposal network on the backbone of 2, which is fixed
    from here on. 4: the box head on the same backbone.

    Proposals of step 1 are computed as the pictures come, since augmentation changes them; in the
    original they are stored.

    Args:
        fresh: gives the network as it was when the training started.
        epochs: in all, a multiple of 4.
    """

    def __init__(self, fresh: Callable[[], FasterRCNN], epochs: int):
        super().__init__()
        self.fresh, self.length = fresh, epochs // len(STAGES)

    def on_train_begin(self, logs=None):
        self.stage = None

    def on_epoch_begin(self, epoch, logs=None):
        stage, first = divmod(epoch, self.length)
        if stage == 1 and first == 0:
            self._start_anew()
        if first == 0:
            self._forget_mean()
        if stage != self.stage:
            self.stage = stage
            self.model.set_stage(STAGES[stage])
            self.model.make_train_function()
            self.model.make_test_function()

    def _start_anew(self):
        self.model.proposer.take(self.model, PROPOSING)
        self.model.take(self.fresh(), ("backbone",))

    def _forget_mean(self):
        """Each step has its own mean of weights: those of the step before served another loss."""
        optimizer = self.model.optimizer
        if optimizer.use_ema and optimizer.built:
            means = optimizer._model_variables_moving_average  # Keras has no public way to them.
            for mean, variable in zip(means, optimizer._trainable_variables, strict=True):
                mean.assign(variable)
