"""Copies of a model's layers, called on other tensors than the layers were, so that several models can be one."""


def histories(nest):
    """Return the [layer, node, place] of all Keras tensors in a nest of a model's configuration, as tuples."""
    if isinstance(nest, dict):
        return [history for key in sorted(nest) for history in histories(nest[key])]
    if isinstance(nest[0], str):
        return [tuple(nest)]
    return [history for each in nest for history in histories(each)]


def fill(value, tensors):
    """Return a value from a model's configuration with Keras tensors, {(layer, node, place): tensor}, in their places.

    Raise KeyError where one of them is not there.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(fill(each, tensors) for each in value)
    if not isinstance(value, dict):
        return value
    import keras

    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        return tensors[tuple(value["config"]["keras_history"])]
    if kind == "__tuple__":
        return tuple(fill(value["config"]["value"], tensors))
    if kind is not None:
        return keras.saving.deserialize_keras_object(value)
    return {key: fill(each, tensors) for key, each in value.items()}


class Copies:
    """Copies of the layers of one member of an ensemble.

    layers: {id of a layer: (layer, copy)}; calls: {id of an output: (output, the copy that gave it, its inputs)}, of
    Keras tensors.
    """

    def __init__(self):
        self.layers, self.calls, self.names = {}, {}, set()

    def run(self, model, inputs, name):
        """Return the outputs, a list of Keras tensors, of copies of a model's layers on a list of inputs.

        The copies' names begin with `name`. Models inside the model are taken apart, so that every layer is one of the
        whole.
        """
        import keras

        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                inputs = self.call(layer, inputs, {}, name)
            return inputs
        config = model.get_config()
        parts = {part.name: part for part in model.operations}
        tensors = dict(zip(histories(config["input_layers"]), inputs, strict=True))
        waiting = [(layer["name"], *node) for layer in config["layers"] for node in enumerate(layer["inbound_nodes"])]
        while waiting:
            part, number, node = waiting.pop(0)
            try:
                arguments, named = fill(node["args"], tensors), fill(node["kwargs"], tensors)
            except KeyError:  # what it takes is not made yet
                waiting.append((part, number, node))
                continue
            for place, output in enumerate(self.call(parts[part], arguments, named, name)):
                tensors[part, number, place] = output
        return [tensors[history] for history in histories(config["output_layers"])]

    def call(self, part, arguments, named, name):
        """Return the outputs, a list, of a copy of a part of a model: of a layer, an operation or a model."""
        import keras

        inputs = [each for each in keras.tree.flatten((arguments, named)) if isinstance(each, keras.KerasTensor)]
        if isinstance(part, keras.Model):
            return self.run(part, inputs, f"{name}_{part.name}")
        if id(part) not in self.layers:
            own_name = f"{name}_{part.name}"
            while own_name in self.names:  # a layer of a model "a" may be called "b", and one beside it "a_b"
                own_name += "_"
            self.names.add(own_name)
            self.layers[id(part)] = part, type(part).from_config(part.get_config() | {"name": own_name})
        copy = self.layers[id(part)][1]
        outputs = keras.tree.flatten(copy(*arguments, **named))
        for output in outputs:
            self.calls[id(output)] = output, copy, inputs
        return outputs

    def origin(self, output):
        """Return the copy that gave an output, and its inputs."""
        return self.calls[id(output)][1:]
