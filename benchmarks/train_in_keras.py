"""Time the training of one network by its script here, or the same network in the style of this one's ancestors.

    python benchmarks/train_in_keras.py WAY DATA.npz SECONDS SCRIPT [SETTINGS ...]

For training.py, which starts it in a process of its own. WAY is `ours`: the script's own `train`, stopped after
enough steps; `tensorflow`, `jax` or `torch`: the same, as KERAS_BACKEND must say too; `float32` or `mixed_bfloat16`:
the same with that PRECISION; `fixed`: the same with one augmented batch, made once, at every step; `before`: the same
for the SCRIPT of an older checkout, named by its whole path; or `ancestor`. SETTINGS are the script's, such as --depth
110. What is written on the way lands in DATA's folder. The last line it prints is the result, as JSON.
"""

import importlib.metadata
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.stopwatch import Stopwatch
from ensemble.common.scripts import import_script


def gpu_memory(backend):
    """Return {"gpu_memory": the most that was allocated on the first GPU, in GiB}, or {}; of JAX alone."""
    if backend != "jax":
        return {}
    import jax

    statistics = jax.devices()[0].memory_stats()  # None on a CPU
    return {"gpu_memory": statistics["peak_bytes_in_use"] / 2**30} if statistics else {}


def stop_when_measured(script, seconds):
    """Return a callback that prints the result when it is there and ends the program.

    It waits at every step for the step before, since JAX and a GPU only set steps going.
    """
    keras, stopwatch = script.keras, Stopwatch(script.BATCH_SIZE, seconds)

    class StopWhenMeasured(keras.callbacks.Callback):
        loss = 0.0

        def on_train_batch_end(self, batch, logs=None):
            before, self.loss = self.loss, logs["loss"]
            float(before)
            result = stopwatch.step_ended()
            if result:
                result["parameters"] = sum(math.prod(weight.shape) for weight in self.model.trainable_weights)
                result["precision"] = keras.config.dtype_policy().name
                result["recipe"] = [script.BATCH_SIZE, script.LEARNING_RATE, script.MOMENTUM, script.WEIGHT_DECAY]
                result["versions"] = {
                    name: importlib.metadata.version(name) for name in (keras.backend.backend(), "keras")
                }
                result |= gpu_memory(keras.backend.backend())
                print(json.dumps(result), flush=True)
                os._exit(0)  # the generator's thread would keep an ordinary exit waiting

    return StopWhenMeasured()


def with_one_batch(batches_class):
    """Return a class like the script's Batches that makes one batch and gives it at every step."""

    class OneBatch(batches_class):
        batch = None

        def __getitem__(self, step):
            if self.batch is None:
                self.batch = super().__getitem__(step)
            return self.batch

    return OneBatch


def train_by_older_script(script, settings, folder, stop):
    """Train as a script does whose `train` takes no callbacks, with one callback more."""
    model_class = script.keras.Model
    fit = model_class.fit

    def fit_with_stop(model, *arguments, callbacks, **options):
        return fit(model, *arguments, callbacks=[*callbacks, stop], **options)

    model_class.fit = fit_with_stop
    script.train(settings, folder)


def in_ancestors_style(keras, model):
    """Return the network without its normalisation of colours, and with grouped convolutions as they were then.

    A grouped convolution was one Conv2D for each group, on a slice of the channels, all of them concatenated.
    """

    def piece(layer, x, group, channels):
        width = layer.filters // layer.groups
        sliced = keras.layers.Lambda(lambda x: x[..., group * channels : (group + 1) * channels])(x)
        settings = layer.get_config() | {"name": f"{layer.name}_{group}", "groups": 1, "filters": width}
        return keras.layers.Conv2D.from_config(settings)(sliced)

    def call(layer, x, **options):
        if isinstance(layer, keras.layers.Normalization):
            return x
        groups = getattr(layer, "groups", 1)
        if groups == 1:
            return layer(x, **options)
        channels = x.shape[-1] // groups
        return keras.layers.Concatenate()([piece(layer, x, group, channels) for group in range(groups)])

    return keras.models.clone_model(model, call_function=call)


def train_as_ancestor(script, folder, stop):
    """Train from an ImageDataGenerator, in float32, with a learning rate set anew before every epoch."""
    keras = script.keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # no longer public

    (x, y), _, _ = script.load_data(script.DATA, script.HOLD_OUT).values()
    classes = int(y.max()) + 1
    mean, variance = script.colour_moments(x)
    model = in_ancestors_style(keras, script.build_model(x.shape[1:], classes, mean, variance))
    model.compile(
        optimizer=keras.optimizers.SGD(script.LEARNING_RATE, script.MOMENTUM, nesterov=True),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    x = (x - np.float32(mean)) / np.sqrt(np.float32(variance))
    generator = ImageDataGenerator(
        horizontal_flip=True, width_shift_range=0.125, height_shift_range=0.125, fill_mode="constant", cval=0.0
    )
    generator.fit(x)

    def rate(epoch):
        return script.LEARNING_RATE * script.DROP ** sum(epoch >= part * script.EPOCHS for part in script.MILESTONES)

    model.fit(
        generator.flow(x, keras.utils.to_categorical(y, classes), batch_size=script.BATCH_SIZE),
        steps_per_epoch=len(x) // script.BATCH_SIZE,
        epochs=script.EPOCHS,
        callbacks=[keras.callbacks.LearningRateScheduler(rate), keras.callbacks.TensorBoard(folder), stop],
        verbose=0,
    )


def main():
    way, data, seconds, path, *settings = sys.argv[1:]
    precision = ["--precision", way] if way in ("float32", "mixed_bfloat16") else []
    script = import_script(path)
    settings, _ = script.read_settings(["--data", data, *precision, *settings])
    stop = stop_when_measured(script, float(seconds))
    folder = Path(tempfile.mkdtemp(dir=Path(data).parent))
    if way == "ancestor":
        train_as_ancestor(script, folder, stop)
    elif way == "before":
        train_by_older_script(script, settings, folder, stop)
    else:
        if way == "fixed":
            script.Batches = with_one_batch(script.Batches)
        script.train(settings, folder, callbacks=[stop])


if __name__ == "__main__":
    main()
