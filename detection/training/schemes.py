"""How a training goes: its learning rate, and the four steps of the alternating scheme."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from detection.network.faster_rcnn import PROPOSING

STAGES = ("rpn", "head", "rpn-only", "head-only")
"""The four steps of alternating training, each a quarter of the epochs."""


@keras.saving.register_keras_serializable("atelier")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up over 5 % of the steps, then cosine decay to 0; restarted at each stage."""

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

    In the original, all of the backbone is pretrained. A pyramid's own layers are not: at step 2
    they keep what 1 has taught them, as few boxes are large enough to train its coarse levels. The
    layers that no box is pooled from belong to the region proposal network; 2 leaves them as they
    are, and 3 trains them further. Each step is a training of its own, with new moments, a new
    count of batches and a new mean of weights.

    Proposals of step 1 are computed as the pictures come, since augmentation changes them; in the
    original they are stored.

    Args:
        pretrained: gives the weights that layers of the backbone had when the training started, by
            the layers' names; of those alone that do not start at random.
        epochs: in all, a multiple of 4.
    """

    def __init__(self, pretrained: Callable[[], Mapping[str, list[np.ndarray]]], epochs: int):
        super().__init__()
        self.pretrained, self.length = pretrained, epochs // len(STAGES)

    def on_train_begin(self, logs=None):
        self.stage = None

    def on_epoch_begin(self, epoch, logs=None):
        stage, first = divmod(epoch, self.length)
        if stage == 1 and first == 0:
            self._start_anew()
        if first == 0 and self.model.optimizer.built:
            self._reset_optimizer()
        if stage != self.stage:
            self.stage = stage
            self.model.set_stage(STAGES[stage])
            self.model.make_train_function()
            self.model.make_test_function()

    def _start_anew(self):
        self.model.proposer.take(self.model, PROPOSING)
        unpooled = {layer.name for layer in self.model.unpooled_layers}
        for name, weights in self.pretrained().items():
            if name not in unpooled:
                self.model.backbone.get_layer(name).set_weights(weights)

    def _reset_optimizer(self):
        """Forgets the step before, which served another loss."""
        optimizer = self.model.optimizer
        for variable in optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        if optimizer.use_ema:
            means = optimizer._model_variables_moving_average  # Keras has no public way to them.
            for mean, variable in zip(means, optimizer._trainable_variables, strict=True):
                mean.assign(variable)
