"""Models written to files, in the forms that export.py has, and checked there."""

import functools

import numpy as np

from ensemble.common.command import RefusedError, refuse, short
from ensemble.common.files import write_model, written_new

LIMITS = {".keras": 1e-6, ".h5": 1e-6, ".onnx": 1e-5}  # of the difference to the members' own predictions


def write_onnx(model, file):
    """Write a model as ONNX: float32 "pixels" (n, height, width, 3), float32 "probabilities" (n, classes)."""
    import onnx
    import tensorflow as tf
    import tf2onnx
    from keras import layers
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for layer in model.layers:  # Keras gives grouped convolutions to XLA, of which tf2onnx knows nothing
        if isinstance(layer, layers.Conv2D) and layer.groups > 1:
            given = {"strides": layer.strides, "padding": layer.padding.upper(), "dilations": layer.dilation_rate}
            layer.convolution_op = functools.partial(tf.nn.conv2d, **given)
    pixels = tf.TensorSpec(model.input_shape, tf.float32, "pixels")
    function = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(pixels)
    function = convert_variables_to_constants_v2(function)
    (output,) = function.outputs
    names = {"pixels:0": "pixels", output.name: "probabilities"}
    converted, _ = tf2onnx.convert.from_graph_def(
        function.graph.as_graph_def(), input_names=["pixels:0"], output_names=[output.name], tensors_to_rename=names
    )
    for tensor in (converted.graph.input[0], converted.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(converted, file)


def predict_file(file, images):
    """Return the probabilities that a written model gives for uint8 images, float32 (n, classes)."""
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return session.run(None, {"pixels": images.astype(np.float32)})[0]
    import keras

    return keras.models.load_model(file, compile=False).predict_on_batch(images)


def write(model, out, images, expected):
    """Write a model to a file and say how far its probabilities are from the expected ones; refuse it if too far.

    Raises RefusedError if the file is there by now; this one is in a file beside it.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_new(out) as file:
            write_onnx(model, file) if out.suffix == ".onnx" else write_model(model, file)
            difference = abs(predict_file(file, images) - expected).max()
            if not difference <= LIMITS[out.suffix]:
                raise ValueError(f"its probabilities are {difference:.1g} off the members' own")
    except RefusedError:
        raise
    except Exception as error:  # of the disk, or of a layer that the format does not know
        refuse(f"{out} is not written: {short(error)}")
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, at most {difference:.1g} off the members' own probabilities",
        flush=True,
    )
