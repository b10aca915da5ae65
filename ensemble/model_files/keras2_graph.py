"""The models of a Keras 2 file, and the graph of their layers, built anew in Keras 3."""

import functools
import re

from ensemble.model_files.keras2_layers import (
    HARD,
    IDENTITIES,
    MODELS,
    RECURRENT,
    RENAMED,
    Keras2Error,
    Part,
    activation_name,
    check_origin,
    make_layer,
    plain,
    recurrent_factors,
    settings_of,
)
from ensemble.model_files.keras2_operations import operate

OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
SCALE_LAYERS = ("CustomScaleLayer", "Custom>CustomScaleLayer")  # of InceptionResNetV2 in Keras Applications
CONSTANT = "_CONSTANT_VALUE"


def convert(data, names, tensor, options=None):
    """Return the inputs of a node with tensor(name, node, place) for each reference to a layer's output.

    names: of the layers; options: a dictionary that gets what the layer was called with besides.
    """
    if isinstance(data, list) and len(data) in (3, 4) and isinstance(data[0], str) and data[0] in {CONSTANT, *names}:
        more = convert(data[3], names, tensor) if len(data) == 4 else {}
        if options is not None:
            options.update(more)
        return data[2] if data[0] == CONSTANT else tensor(*data[:3])
    if isinstance(data, list):
        return [convert(item, names, tensor, options) for item in data]
    if isinstance(data, dict) and data.keys() == {"start", "stop", "step"}:
        return slice(data["start"], data["stop"], data["step"])
    if isinstance(data, dict) and data.get("class_name") == "__ellipsis__":
        return ...
    if isinstance(data, dict):
        return {key: convert(value, names, tensor, options) for key, value in data.items()}
    return data


def config_of(spec):
    """Return the settings of a layer or model; those of a Sequential before Keras 2.2.3 are its list of layers."""
    config = spec["config"]
    return {"name": "sequential", "layers": config} if isinstance(config, list) else config


def input_shape(spec):
    """Return the shape of what a layer or model takes, as far as its settings say, or None."""
    config = config_of(spec)
    if "layers" not in config:
        return plain(config.get("batch_input_shape") or config.get("batch_shape"))
    first = input_shape(config["layers"][0]) if config["layers"] else None
    return first or plain(config.get("build_input_shape"))


class Builder:
    """Builds one model of Keras 3 from the configuration in a Keras 2 file."""

    def __init__(self, version):
        """version: of the Keras that saved the file, such as "2.2.4-tf"."""
        self.version = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        self.names = set()

    def model(self, spec):
        """Return the keras.Model of a configuration, without its weights, and its Part."""
        import keras

        if spec["class_name"] not in MODELS:
            raise Keras2Error(f"is a model of class {spec['class_name']}, whose code is not in the file")
        config = config_of(spec)
        if spec["class_name"] == "Sequential":
            inputs = self.input(input_shape(spec), "input")
        else:
            layers = {layer["config"]["name"]: layer for layer in config["layers"]}
            inputs = convert(
                config["input_layers"], layers, lambda name, *_: self.input(input_shape(layers[name]), name)
            )
            inputs = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs
        part = self.part(spec)
        return keras.Model(inputs, part(inputs), name=self.fresh(config.get("name", "model"))), part

    def input(self, shape, name):
        """Return the Keras tensor of an input: float32, and of any number of images."""
        import keras

        if shape is None:
            raise Keras2Error(
                "does not say the shape of its images; in Keras 2, give its first layer an input_shape, set the "
                "weights and save it again"
            )
        return keras.Input(shape[1:], name=self.fresh(name))

    def fresh(self, name):
        """Return a layer's name as Keras 3 takes it: without a slash, and used only once."""
        name = name.replace("/", "_")
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    # Layers
    def part(self, spec):
        """Return the Part of a layer or model, or raise Keras2Error."""
        kind, config = RENAMED.get(spec["class_name"], spec["class_name"]), config_of(spec)
        if kind not in SCALE_LAYERS:
            check_origin(spec)
        part = Part(config.get("name", kind), config.get("trainable", True))
        if kind in MODELS:
            part.parts = [self.part(layer) for layer in config["layers"] if layer["class_name"] != "InputLayer"]
            part.call = functools.partial(self.chain, part) if kind == "Sequential" else self.graph(config, part.parts)
        elif kind in OPERATIONS:
            part.call = functools.partial(self.operation, config)
        elif kind in SCALE_LAYERS:
            part.call = functools.partial(self.scaled_sum, config)
        elif kind in ("TimeDistributed", "Bidirectional"):
            self.wrap(part, kind, config)
        elif kind not in IDENTITIES:
            settings = settings_of(kind, config, self.version) | {"name": self.fresh(part.name)}
            after = []
            if kind in RECURRENT:
                part.factors = recurrent_factors(kind, settings)
            elif "activation" in settings:
                settings["activation"], after = self.activation(settings["activation"], settings)
            part.layers = [make_layer(kind, settings), *after]
        return part

    def activation(self, value, settings):
        """Return the activation that a layer of these settings keeps, and the layers that follow it."""
        from keras import layers

        if isinstance(value, dict) and isinstance(value["config"], dict):  # a layer such as LeakyReLU
            return "linear", self.part(value).layers
        name = activation_name(value)
        if name != "hard_sigmoid":
            return name, []
        scaled, hard = (self.fresh(f"{settings['name']}_{word}") for word in ("scaled", name))
        dtype = settings["dtype"]
        return "linear", [
            layers.Rescaling(HARD, name=scaled, dtype=dtype),
            layers.Activation(name, name=hard, dtype=dtype),
        ]

    def wrap(self, part, kind, config):
        """Give a Part the TimeDistributed or Bidirectional layer around another layer or model."""
        import keras
        from keras import layers

        settings = settings_of(kind, config, self.version) | {"name": self.fresh(part.name)}
        spec = settings.pop("layer")
        inner = self.part(spec)
        if kind == "TimeDistributed":
            if spec["class_name"] in MODELS:
                inputs = self.input(input_shape(spec), "input")
                layer = keras.Model(inputs, inner(inputs), name=self.fresh(inner.name))
            else:
                layer = inner.layers[0] if len(inner.layers) == 1 else keras.Sequential(inner.layers)
            part.parts, part.layers = [inner], [layers.TimeDistributed(layer, **settings)]
            return
        if settings.get("backward_layer"):
            backward = self.part(settings["backward_layer"])
            if backward.factors != inner.factors:
                raise Keras2Error("has Bidirectional around two different layers, which is not rebuilt")
            settings["backward_layer"] = backward.layers[0]
        part.factors, part.layers = inner.factors, [layers.Bidirectional(inner.layers[0], **settings)]

    def operation(self, config, inputs, **options):
        """Return what a function of TensorFlow in the graph gives."""
        return operate(config["function"], inputs, options, self.fresh)

    def scaled_sum(self, config, inputs):
        """Return x + scale * y for two tensors, as InceptionResNetV2 has it."""
        from keras import layers

        scaled = layers.Rescaling(config["scale"], name=self.fresh(f"{config['name']}_scaled"))(inputs[1])
        return layers.Add(name=self.fresh(config["name"]))([inputs[0], scaled])

    # Models
    def chain(self, part, inputs):
        """Return the output of a Sequential."""
        return functools.reduce(lambda x, layer: layer(x), part.parts, inputs)

    def graph(self, config, parts):
        """Return the function of a Functional model's inputs that its graph is."""
        names = [layer["config"]["name"] for layer in config["layers"]]
        kinds = {layer["config"]["name"]: layer["class_name"] for layer in config["layers"]}
        nodes = {layer["config"]["name"]: layer.get("inbound_nodes", []) for layer in config["layers"]}
        largest = dict.fromkeys(names, 0)

        def see(name, number, _):
            largest[name] = max(largest[name], number)

        convert([*nodes.values(), config["output_layers"]], names, see)
        # In Keras 2 the uses of a model that was made with an input are counted from 1, those of other layers from 0.
        first = {name: largest[name] + 1 - max(len(nodes[name]), 1) for name in names}
        given = []
        convert(config["input_layers"], names, lambda name, *_: given.append(name))

        def call(inputs):
            flat = inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, list) else [inputs]
            tensors = {(name, 0): value for name, value in zip(given, flat, strict=True)}

            def tensor(name, number, place):
                outputs = tensors[name, number]
                return outputs[place] if isinstance(outputs, list | tuple) else outputs

            waiting = [(part, first[part.name] + i, node) for part in parts for i, node in enumerate(nodes[part.name])]
            while waiting:
                left = []
                for part, number, node in waiting:
                    try:
                        options = {}
                        inputs = convert(node, names, tensor, options)
                    except KeyError:  # an input that is still to come
                        left.append((part, number, node))
                        continue
                    tensors[part.name, number] = self.use(part, kinds[part.name], inputs, options)
                if len(left) == len(waiting):
                    raise Keras2Error(f"has a damaged graph: nothing leads to {left[0][0].name}")
                waiting = left
            outputs = convert(config["output_layers"], names, tensor)
            return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs

        return call

    def use(self, part, kind, inputs, options):
        """Return what a Part gives in one node of the graph."""
        if options.pop("training", None):
            raise Keras2Error(f"calls {part.name} with training=True: its predictions are random, or hang on the batch")
        if kind not in OPERATIONS:
            inputs = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs
            options = {name: value for name, value in options.items() if value is not None and value is not False}
        return part(inputs, **options)
