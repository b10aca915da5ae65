"""Snapshots of a run, and averages of its weights."""

import numpy as np

from ensemble.common.command import progress
from ensemble.common.files import write_model, written_whole


def new_model(script, data):
    """Return the script's network for the images of load_data, in float32 and always with the same first weights."""
    x, _ = data["train"]
    script.keras.config.set_dtype_policy("float32")
    script.keras.utils.set_random_seed(script.SEED)  # also of dropout in refresh_statistics
    return script.build_model(x.shape[1:], 1 + max(int(y.max()) for _, y in data.values()), *script.colour_moments(x))


def save_model(model, weights, path):
    """Write the model with these weights, a list of arrays, to an .h5 file."""
    model.set_weights(weights)
    with written_whole(path) as beside:
        write_model(model, beside)


def refresh_statistics(model, batches):
    """Set a model's batch-normalisation statistics to the means of those of batches of images, uint8 (n, h, w, 3).

    No training step has seen averaged weights, so their statistics are unknown (arXiv 1803.05407, 3.2).
    """
    import keras

    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not normalisations:
        return
    momenta = [layer.momentum for layer in normalisations]
    for number, images in enumerate(batches):
        for layer in normalisations:
            layer.momentum = number / (number + 1)  # makes the moving average the mean of all batches so far
        model(images, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum


def save_average(script, data, weights, path):
    """Write the script's network with averaged weights, a list of arrays, and their own statistics to an .h5 file."""
    x, y = data["train"]
    model = new_model(script, data)
    model.set_weights(weights)
    one_hot = script.keras.utils.to_categorical(y, model.output_shape[1])
    batches = script.Batches(x, one_hot, np.uint8(np.round(script.colour_moments(x)[0])))
    batches.begin_epoch(script.EPOCHS)  # the one after the last
    count = max(1, min(len(x), script.BN_IMAGES) // script.BATCH_SIZE)
    refresh_statistics(model, (batches[step][0] for step in progress(range(count), f"{path}: statistics")))
    save_model(model, model.get_weights(), path)


def snapshots_of(script, data, folder):
    """Return the callback for train() that writes cycle-1.h5, ... and ema.h5 to the run's folder."""
    model = new_model(script, data)
    keras = script.keras
    import tensorflow as tf

    class Snapshots(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.variables = []  # the moving averages of the weights, which train() keeps for a resume

        def set_model(self, model):
            super().set_model(model)
            if not self.variables:
                self.weights = model.trainable_variables
                self.variables = [keras.Variable(weight.numpy(), trainable=False) for weight in self.weights]
                self.update = tf.function(self.move_averages)

        def move_averages(self):
            """Move the averages towards the weights, in the first steps faster, or the start would stay in them."""
            step = tf.cast(self.model.optimizer.iterations.value, tf.float32)
            share = 1 - tf.minimum(script.EMA_DECAY, (1 + step) / (10 + step))
            for average, weight in zip(self.variables, self.weights, strict=True):
                average.assign(average.value + share * (weight.value - average.value))

        def on_train_batch_end(self, batch, logs=None):
            self.update()

        def on_epoch_end(self, epoch, logs=None):
            cycle, rest = divmod(epoch + 1, script.EPOCHS // script.CYCLES)
            if rest == 0 and np.isfinite(logs["loss"]):  # before the backup: a kill between them repeats the epoch
                save_model(model, self.model.get_weights(), folder / f"cycle-{cycle}.h5")

        def on_train_end(self, logs=None):  # comes also where a resume finds no epoch left
            averages = {id(weight): average for weight, average in zip(self.weights, self.variables, strict=True)}
            arrays = [averages.get(id(weight), weight).numpy() for weight in self.model.weights]
            save_average(script, data, arrays, folder / "ema.h5")

    return Snapshots()
