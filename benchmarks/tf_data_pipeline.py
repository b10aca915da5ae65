"""The tf.data pipeline that the training scripts had until commit d44f9ee, for input_pipeline.py to compare with."""

import numpy as np
import tensorflow as tf


def augment(images, labels, seed, colour, names, fill):
    """Return images and labels changed as names and fill, like AUGMENT and FILL, say; the same seed, the same draws.

    images uint8 (n, height, width, 3), labels float32 (n, classes), seed int32 (2,), colour uint8 (3,) for holes.
    """
    count, height, width, channels = images.shape
    seeds = iter(tf.unstack(tf.random.split(seed, 10)))

    def draw(low, high, dtype=tf.int32):
        return tf.random.stateless_uniform((count, 1, 1), next(seeds), low, high, dtype)

    y, x = tf.range(height)[tf.newaxis, :, tf.newaxis], tf.range(width)[tf.newaxis, tf.newaxis, :]
    rows, columns = y, x  # where each pixel is taken from
    if "rotate" in names:
        angle = draw(-np.pi / 12, np.pi / 12, tf.float32)
        down, right = tf.cast(y, tf.float32) - (height - 1) / 2, tf.cast(x, tf.float32) - (width - 1) / 2
        rows = tf.cos(angle) * down + tf.sin(angle) * right + (height - 1) / 2
        columns = tf.cos(angle) * right - tf.sin(angle) * down + (width - 1) / 2
        rows, columns = (tf.cast(tf.round(place), tf.int32) for place in (rows, columns))
    if "shift" in names:
        rows, columns = rows + draw(-4, 5), columns + draw(-4, 5)
    if "flip" in names:
        columns = tf.where(draw(0, 2) == 1, width - 1 - columns, columns)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows = height - 1 - tf.abs(height - 1 - tf.abs(rows))  # reflected at the borders
    columns = width - 1 - tf.abs(width - 1 - tf.abs(columns))
    places = (tf.range(count)[:, tf.newaxis, tf.newaxis] * height + rows) * width + columns
    images = tf.gather(tf.reshape(images, (-1, channels)), places)
    if fill == "constant":
        images = tf.where(inside[..., tf.newaxis], images, colour)

    if "cutout" in names:
        side = height // 2
        top, left = draw(0, height) - side // 2, draw(0, width) - side // 2
        hole = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
        images = tf.where(hole[..., tf.newaxis], colour, images)

    if {"mixup", "cutmix"} & set(names):  # each image with the next one of the shuffled batch
        share = draw(0.0, 1.0, tf.float32) + tf.zeros((1, height, width))
        side = tf.sqrt(1 - share)
        down, right = (tf.cast(tf.abs(place - draw(0, size)), tf.float32) for place, size in ((y, height), (x, width)))
        kept = tf.cast((down >= side * height / 2) | (right >= side * width / 2), tf.float32)
        mixup = draw(0, 2) == 1 if {"mixup", "cutmix"} <= set(names) else "mixup" in names
        own = tf.where(mixup, share, kept)[..., tf.newaxis]
        pixels = tf.cast(images, tf.float32)
        images = tf.cast(tf.round(own * pixels + (1 - own) * tf.roll(pixels, 1, axis=0)), tf.uint8)
        own = tf.reduce_mean(own, axis=(1, 2))
        labels = own * labels + (1 - own) * tf.roll(labels, 1, axis=0)
    return images, labels


def training_batches(x, y, classes, colour, names, fill, batch_size):
    """Return a dataset of augmented batches, epoch after epoch without end."""
    steps = len(x) // batch_size
    with tf.device("CPU"):
        images, labels = tf.constant(x), tf.one_hot(y, classes)

    def one_epoch(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(x)), seed=(0, epoch))
        order = tf.reshape(order[: steps * batch_size], (steps, batch_size))
        return tf.data.Dataset.from_tensor_slices((tf.cast(epoch, tf.int32) * steps + tf.range(steps), order))

    def one_batch(step, chosen):
        return augment(tf.gather(images, chosen), tf.gather(labels, chosen), (0, step), colour, names, fill)

    batches = tf.data.Dataset.counter(0).flat_map(one_epoch)
    return batches.map(one_batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
