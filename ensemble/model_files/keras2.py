"""Models by Keras 2 in Keras 3: what the two mean differently, what is rebuilt here, and what is refused.

A file by Keras 2 is not loaded by Keras 3, which takes some of its settings to mean something else, but built anew,
layer by layer, of Keras 3's own layers; models inside models are taken apart. Then it gets its weights. No code from a
file is run: what is not in the tables of keras2_layers.py and keras2_operations.py is refused by name.

what                        in Keras 2                              in Keras 3              here
hard_sigmoid                max(0, min(1, 0.2 x + 0.5))             relu6(x + 3) / 6        Keras 3's of 1.2 x: the same
  in recurrent layers       the same; gates' default to Keras 2.2   the same                gates' weights times 1.2
RandomCrop at inference     resizes the largest middle part         leaves its input alone  Resizing of that part
  before Keras 2.9          resizes first, then crops               the same                refused
other Random... layers      leave their input alone                 the same                left out
RandomHeight, RandomWidth   leave their input alone                 are gone                left out
GRU without reset_after     False: older than the setting           True                    False
ThresholdedReLU             x where x > theta, else 0               is gone                 ReLU with that threshold
UpSampling2D bilinear       before Keras 2.3: other pixel centres   half-pixel centres      refused before 2.3
"area", "gaussian", ...     interpolations of tf.image              are gone                refused
Resizing of whole numbers   computes in float32                     rounds its output       inputs are float32
x / 255, x[..., ::-1], ...  TFOpLambda, SlicingOpLambda             operations              keras2_operations.py
  before TensorFlow 2.4     TensorFlowOpLayer                       is gone                 refused
Lambda                      Python's byte code                      the same                refused: no code is run
training=True in a call     dropout and batch statistics stay on    the same                refused
stateful, time_major        memory between batches; other axes      the same; is gone       refused
CuDNNLSTM, LocallyConnected layers of their own                     are gone                refused
axis: [3]                   one axis in a list                      a number                the number
renorm                      more weights in BatchNormalization      is gone                 refused
SyncBatchNormalization      a layer                                 a setting               BatchNormalization
CustomScaleLayer            x + scale y, of InceptionResNetV2       Keras Applications'     Rescaling and Add
names with a slash          of DenseNet and MobileNetV3             refused                 renamed
a model's use in another    counts from 1 if it has an input        counts from 0           found out from their number
frozen layers               come last among a model's weights       the same, per weight    sorted as Keras 2 did
initializers, constraints   settings of training                    the same                left out
Theano's, CNTK's files      kernels the other way round             are gone                refused

The same in both, compared with Keras 2.15: the other activations (softplus, gelu by erf, leaky_relu of slope 0.2, elu,
selu, swish, mish), LeakyReLU and its slope of 0.3, the epsilon of BatchNormalization and LayerNormalization (it is in
the file), all padding, output_padding of transposed convolutions, and the layers that keras2_layers.SAME names. A
function of one's own with the name of one of Keras's stands in the file as Keras's, for Keras 2 too.
"""

import json

from ensemble.model_files.keras2_graph import Builder
from ensemble.model_files.keras2_layers import Keras2Error
from ensemble.model_files.keras2_weights import load_weights


def load_keras2(file, version, make_variables=True):
    """Return the Keras 3 model that predicts what the model in an open .h5 file by Keras 2 does.

    version: of that Keras. make_variables: False only compares the shapes of weights with those in the file. Raise
    Keras2Error, whose text goes on from the file's name, for what is not rebuilt.
    """
    weights = file["model_weights"]
    backend = weights.attrs.get("backend", "tensorflow")
    backend = backend.decode() if isinstance(backend, bytes) else backend
    if backend != "tensorflow":
        raise Keras2Error(f"was saved by Keras on {backend}, whose convolutions have other kernels")
    model, part = Builder(version).model(json.loads(file.attrs["model_config"]))
    load_weights(weights, part, assign=make_variables)
    return model
