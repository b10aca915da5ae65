"""TensorFlow's functions in the graph of a Keras 2 model, such as x / 255, as layers and operations of Keras 3.

Keras 2 puts each of them in a TFOpLambda or SlicingOpLambda layer, by its name in TensorFlow.
"""

import numpy as np

from ensemble.model_files.keras2_layers import Keras2Error


def rescaled(x, factor, offset, name):
    """Return factor * x + offset for numbers or lists with one number a channel."""
    from keras import layers

    if np.ndim(factor) > 1 or np.ndim(offset) > 1:
        raise Keras2Error("has an array in its graph, which is not rebuilt")
    return layers.Rescaling(factor, offset, dtype=x.dtype, name=name)(x)


def is_tensor(value):
    import keras

    return isinstance(value, keras.KerasTensor)


def arithmetic(kind):
    """Return the function of two values, one of them a Keras tensor, that adds, subtracts, multiplies or divides."""

    def function(x, y, name):
        import keras
        from keras import layers

        if is_tensor(y) and (is_tensor(x) or kind == "Divide"):
            if kind == "Divide" or x.shape != y.shape:
                return getattr(keras.ops, kind.lower())(x, y)
            return getattr(layers, kind)(name=name)([x, y])
        tensor, constant = (x, y) if is_tensor(x) else (y, x)
        constant = np.asarray(constant, np.float64)
        factor, offset = {
            "Add": (1.0, constant),
            "Subtract": (1.0, -constant) if is_tensor(x) else (-1.0, constant),
            "Multiply": (constant, 0.0),
            "Divide": (1 / constant if kind == "Divide" else 1.0, 0.0),
        }[kind]
        return rescaled(tensor, np.asarray(factor).tolist(), np.asarray(offset).tolist(), name)

    return function


def activation(kind):
    """Return the function of a tensor that applies Keras 3's activation of this name."""

    def function(x, name):
        from keras import layers

        return layers.Activation(kind, dtype=x.dtype, name=name)(x)

    return function


def operation(kind):
    """Return keras.ops' function of this name, for the same arguments."""

    def function(x, name, **options):
        import keras

        return getattr(keras.ops, kind)(x, **options)

    return function


def reduction(kind):
    """Return keras.ops' reduction of this name, for TensorFlow's arguments."""

    def function(x, name, axis=None, keepdims=False):
        import keras

        return getattr(keras.ops, kind)(x, axis=axis, keepdims=bool(keepdims))

    return function


def bias_add(x, name, bias, data_format=None):
    if data_format not in (None, "NHWC"):
        raise Keras2Error(f"has tf.nn.bias_add with data_format {data_format}, which is not rebuilt")
    return rescaled(x, 1.0, bias, name)


def get_item(x, name, slice_spec):
    items = slice_spec if isinstance(slice_spec, list) else [slice_spec]
    return x[tuple(items)]


def softmax(x, name, axis=-1):
    from keras import layers

    return layers.Softmax(-1 if axis is None else axis, dtype=x.dtype, name=name)(x)


def leaky_relu(x, name, alpha=0.2):
    from keras import layers

    return layers.LeakyReLU(alpha, dtype=x.dtype, name=name)(x)


def gelu(x, name, approximate=False):
    import keras

    return keras.ops.gelu(x, approximate=bool(approximate))


def cast(x, name, dtype):
    import keras

    return x if x.dtype == dtype else keras.ops.cast(x, dtype)


def unchanged(x, name):
    return x


def concat(values, name, axis):
    from keras import layers

    return layers.Concatenate(axis, dtype=values[0].dtype, name=name)(values)


def reshape(x, name, shape):
    import keras

    return keras.ops.reshape(x, shape)


def transpose(x, name, perm=None, conjugate=False):
    import keras

    return keras.ops.transpose(x, perm)


def expand_dims(x, name, axis):
    import keras

    return keras.ops.expand_dims(x, axis)


def resize(x, name, size, method="bilinear", preserve_aspect_ratio=False, antialias=False):
    from keras import layers

    if preserve_aspect_ratio or method not in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"):
        raise Keras2Error(f"has tf.image.resize by {method!r}, or keeping the aspect ratio, which is not rebuilt")
    return layers.Resizing(*size, interpolation=method, antialias=bool(antialias), dtype=x.dtype, name=name)(x)


FUNCTIONS = {
    "__operators__.add": arithmetic("Add"),
    "math.add": arithmetic("Add"),
    "math.subtract": arithmetic("Subtract"),
    "math.multiply": arithmetic("Multiply"),
    "math.truediv": arithmetic("Divide"),
    "math.divide": arithmetic("Divide"),
    "__operators__.getitem": get_item,
    "cast": cast,
    "compat.v1.transpose": transpose,
    "concat": concat,
    "convert_to_tensor": unchanged,
    "expand_dims": expand_dims,
    "identity": unchanged,
    "image.resize": resize,
    "math.abs": operation("abs"),
    "math.exp": operation("exp"),
    "math.log": operation("log"),
    "math.negative": operation("negative"),
    "math.reduce_max": reduction("max"),
    "math.reduce_mean": reduction("mean"),
    "math.reduce_sum": reduction("sum"),
    "math.sigmoid": activation("sigmoid"),
    "math.softplus": activation("softplus"),
    "math.sqrt": operation("sqrt"),
    "math.square": operation("square"),
    "math.tanh": activation("tanh"),
    "nn.bias_add": bias_add,
    "nn.elu": activation("elu"),
    "nn.gelu": gelu,
    "nn.leaky_relu": leaky_relu,
    "nn.relu": activation("relu"),
    "nn.relu6": activation("relu6"),
    "nn.selu": activation("selu"),
    "nn.silu": activation("silu"),
    "nn.softmax": softmax,
    "reshape": reshape,
    "stop_gradient": unchanged,
    "transpose": transpose,
}


def operate(symbol, inputs, options, fresh):
    """Return what TensorFlow's function of this name gives for inputs and options, or raise Keras2Error.

    fresh: returns a name for a layer that none has yet.
    """
    options.pop("name", None)
    if symbol not in FUNCTIONS:
        raise Keras2Error(f"has TensorFlow's tf.{symbol} in its graph, which is not rebuilt")
    try:
        return FUNCTIONS[symbol](inputs, name=fresh(f"tf_{symbol.replace('.', '_')}"), **options)
    except TypeError as error:
        raise Keras2Error(f"has TensorFlow's tf.{symbol} in its graph with settings not rebuilt: {error}") from None
