"""The weights of a Keras 2 file, given to the model of Keras 3 that was built of its layers."""

import numpy as np

from ensemble.model_files.keras2_layers import Keras2Error, words

LEAVES = words(  # the names of weights that are the same in both
    """
    beta bias depthwise_kernel embeddings gamma kernel mean moving_mean moving_variance pointwise_kernel
    recurrent_kernel variance
    """
)


def weights_of(part):
    """Return the weights of a Part in Keras 2's order: those that train and those that do not, two lists.

    Each is (variable, its name in Keras 2 as far as it is known, factors). What is frozen does not train, whatever it
    is; a model has first all that trains, then the rest.
    """
    if part.parts:
        lists = [weights_of(inner) for inner in part.parts]
        training, fixed = ([weight for pair in lists for weight in pair[which]] for which in (0, 1))
    else:
        own = part.layers[0].weights if part.layers else []
        training, fixed = (
            [(weight, f"{part.name}/{weight.name}", part.factors) for weight in own if weight.trainable == trains]
            for trains in (True, False)
        )
    return (training, fixed) if part.trainable else ([], training + fixed)


def texts(group, name):
    """Return a list of texts in the attributes of an HDF5 group; a long one is in several, with numbers."""
    names = [name] if name in group.attrs else []
    while f"{name}{len(names)}" in group.attrs:
        names.append(f"{name}{len(names)}")
    values = [value for each in names for value in group.attrs[each]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def scaled(value, factors):
    """Return an array with the parts of its last axis, as many as there are factors, multiplied by them."""
    if set(factors) == {1.0}:
        return value
    return value * np.repeat(np.array(factors, value.dtype), value.shape[-1] // len(factors))


def load_weights(file, model, assign):
    """Give the weights in an HDF5 group to the layers of a Part, or raise Keras2Error where they do not fit.

    assign: False only compares names and shapes.
    """
    stored = {name for name in texts(file, "layer_names") if texts(file[name], "weight_names")}
    for part in model.parts:
        training, fixed = weights_of(part)
        expected = training + fixed
        names = texts(file[part.name], "weight_names") if part.name in stored else []
        stored.discard(part.name)
        if len(names) != len(expected):
            raise Keras2Error(f"has {len(names)} weights for {part.name}, which has {len(expected)}")
        known = {name for _, name, _ in expected}
        for (variable, name, factors), path in zip(expected, names, strict=True):
            value = file[part.name][path]
            found = path.split(":")[0]
            other = any(found.endswith(f"/{each}") for each in known) and not found.endswith(name)
            leaf, own = found.rpartition("/")[2], name.rpartition("/")[2]
            if other or (leaf in LEAVES and leaf not in (own, f"depthwise_{own}")):
                raise Keras2Error(f"has the weights of {part.name} in another order: {found} in the place of {name}")
            if value.shape != tuple(variable.shape):
                raise Keras2Error(f"has a weight {found} of shape {value.shape}, where {variable.shape} is needed")
            if assign:
                variable.assign(scaled(value[()], factors))
    if stored:
        raise Keras2Error(f"has weights for {', '.join(sorted(stored))}, which none of its layers takes")
    if "top_level_model_weights" in file and texts(file["top_level_model_weights"], "weight_names"):
        raise Keras2Error("has weights outside its layers, which is not rebuilt")
