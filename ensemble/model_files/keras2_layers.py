"""The layers of Keras 2 as those of Keras 3: which are the same, which are rebuilt, and which are refused."""

from dataclasses import dataclass, field

HARD = 1.2  # Keras 2's hard_sigmoid of x is Keras 3's of HARD * x


def words(text):
    """Return the set of the words in a text."""
    return set(text.split())


ACTIVATIONS = words(  # that are the same; in Keras 2 some have a second name
    """
    elu exponential gelu leaky_relu linear log_softmax mish relu relu6 selu sigmoid silu softmax softplus softsign tanh
    """
)
SECOND_NAMES = {"swish": "silu", "softmax_v2": "softmax"}
SAME = words(  # layers that compute the same from the same settings
    """
    Activation Add AdditiveAttention Attention Average AveragePooling1D AveragePooling2D AveragePooling3D
    BatchNormalization CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose
    ConvLSTM2D Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot ELU
    EinsumDense Embedding Flatten GRU GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization LSTM LayerNormalization LeakyReLU
    Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU
    Permute ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN Softmax Subtract
    UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """
)
IDENTITIES = words(  # layers that leave their input alone once a model is trained
    """
    ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise Identity RandomBrightness RandomContrast
    RandomFlip RandomHeight RandomRotation RandomTranslation RandomWidth RandomZoom SpatialDropout1D SpatialDropout2D
    SpatialDropout3D
    """
)
MODELS = ("Functional", "Model", "Sequential")
RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}
REFUSED = {  # why
    "Lambda": "which is code of its own, and no code from a file is run",
    "TensorFlowOpLayer": "an operation as TensorFlow before 2.4 saved it",
    "CuDNNGRU": "whose weights only a GPU's library reads",
    "CuDNNLSTM": "whose weights only a GPU's library reads",
}
USELESS = words(  # settings that change no prediction
    """
    activity_regularizer autocast batch_input_shape build_input_shape fused implementation input_dtype input_length
    key_shape query_shape ragged rng_type seed sparse trainable unroll value_shape
    """
)
NEUTRAL = {  # settings that are not rebuilt, and the only value taken
    "adjustment": None,
    "renorm": False,
    "stateful": False,
    "time_major": False,
    "virtual_batch_size": None,
}
UNGROUPED = ("Transpose", "Depthwise", "Separable")  # convolutions whose "groups" are always 1
RECURRENT = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "ConvLSTM2D": 4}  # the parts that their weights are made of
GATES = {"LSTM": (0, 1, 3), "GRU": (0, 1), "ConvLSTM2D": (0, 1, 3)}  # the parts that recurrent_activation gets
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


class Keras2Error(ValueError):
    """Why a model by Keras 2 is not rebuilt; the text goes on from the name of its file."""


@dataclass
class Part:
    """A layer or model of a Keras 2 file, and what was made of it.

    name: in the file; layers: Keras 3's, applied one after the other, of which the first has the weights; call: what
    is called instead; parts: of a model or a wrapper, those within; factors: by which a recurrent layer's weights are
    multiplied, part by part of their last axis.
    """

    name: str
    trainable: bool = True
    layers: list = field(default_factory=list)
    call: object = None
    parts: list = field(default_factory=list)
    factors: tuple = (1.0,)

    def __call__(self, inputs, **options):
        if self.call:
            return self.call(inputs, **options)
        for layer in self.layers:
            inputs, options = layer(inputs, **options), {}
        return inputs


def plain(value):
    """Return a setting without the wrappings that Keras 2 gives to arrays, tuples and shapes."""
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value["value"]
    if isinstance(value, dict) and value.get("class_name") in ("__tuple__", "TensorShape"):
        return tuple(plain(item) for item in value["items"])
    return value


def check_origin(spec):
    """Refuse a layer or function that its file says is of another package than Keras."""
    module = spec.get("module", "keras") or "a script"
    package = str(spec.get("registered_name") or "").rpartition(">")[0] or module.split(".")[0]
    if package not in ("keras", "tf_keras", "tensorflow", "builtins"):
        name = spec["config"] if isinstance(spec["config"], str) else spec["class_name"]
        raise Keras2Error(f"has {name} of {package}, whose code is not in the file")


def settings_of(kind, config, version):
    """Return the settings of a layer of Keras 2 as Keras 3 takes them to mean the same, but for its activations.

    version: of the Keras that saved it, (major, minor).
    """
    for name, value in NEUTRAL.items():
        if config.get(name, value) != value:
            raise Keras2Error(f"has {kind} with {name} = {config[name]}, which is not rebuilt")
    left_out = {*USELESS, *NEUTRAL, *(["groups"] if any(word in kind for word in UNGROUPED) else [])}
    settings = {
        name: plain(value)
        for name, value in config.items()
        if name not in left_out and not name.endswith(("_initializer", "_regularizer", "_constraint"))
    }
    dtype = settings.get("dtype") or "float32"
    dtype = dtype["config"]["name"] if isinstance(dtype, dict) else dtype  # a policy of mixed precision
    settings["dtype"] = "float32" if dtype.startswith("infer") else dtype
    axis = settings.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        settings["axis"] = axis[0]
    interpolation = settings.get("interpolation", "nearest")
    if interpolation not in INTERPOLATIONS and (kind, interpolation) != ("Resizing", "area"):
        raise Keras2Error(f"has {kind} with interpolation {interpolation!r}, which Keras 3 lacks")
    if kind == "UpSampling2D" and interpolation != "nearest" and version < (2, 3):
        raise Keras2Error("has UpSampling2D with an interpolation that had other pixel centres before Keras 2.3")
    if kind == "RandomCrop" and version < (2, 9):
        raise Keras2Error("has RandomCrop, which resized images in another way before Keras 2.9")
    if kind == "Discretization" and settings.get("bin_boundaries") is None:
        raise Keras2Error("has Discretization that was adapted; Keras 2 does not save the boundaries it found")
    if kind == "Discretization":
        settings["dtype"] = "float32"  # that of its input; Keras 2 has here that of its output
    if kind == "GRU":
        settings.setdefault("reset_after", False)
    return settings


def make_layer(kind, settings):
    """Return the layer of Keras 3 that computes what one of Keras 2 does, or raise Keras2Error."""
    from keras import layers

    if kind == "RandomCrop":
        return layers.Resizing(**settings, crop_to_aspect_ratio=True)
    if kind == "ThresholdedReLU":
        return layers.ReLU(threshold=settings.pop("theta"), **settings)
    if kind not in SAME:
        raise Keras2Error(
            f"has {kind}, {REFUSED.get(kind, 'which is no layer of Keras 3, or not known to be the same')}"
        )
    return getattr(layers, kind)(**settings)


def activation_name(value):
    """Return the name of an activation in Keras 3, or "hard_sigmoid" for Keras 2's own."""
    if isinstance(value, dict):
        check_origin(value)
        value = value["config"]
    value = SECOND_NAMES.get(value, value) or "linear"
    if value != "hard_sigmoid" and value not in ACTIVATIONS:
        raise Keras2Error(f"has the activation {value!r}, whose code is not in the file")
    return value


def recurrent_factors(kind, settings):
    """Return the factors of a recurrent layer's weights that turn Keras 3's hard_sigmoid into Keras 2's inside it."""
    factors = [1.0] * RECURRENT[kind]
    places = {"recurrent_activation": GATES.get(kind, ()), "activation": (RECURRENT[kind] - 1,)}
    for name in places.keys() & settings.keys():
        settings[name] = activation_name(settings[name])
        if settings[name] == "hard_sigmoid" and name == "activation" and "LSTM" in kind:
            raise Keras2Error(f"has {kind} with hard_sigmoid of its state, which is not rebuilt")  # it has no weights
        if settings[name] == "hard_sigmoid":
            for place in places[name]:
                factors[place] = HARD
    return tuple(factors)
