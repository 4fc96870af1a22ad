"""The baselines in NumPy float64, written from their papers, deliberately slow and literal.

He et al., 2016 (ResNet), Dosovitskiy et al., 2021 (ViT) and Sec. 4.1 (Transformer). Like
tests/model/reference.py they take the parameters as {module: {name: array}} and do not use JAX or
Haiku. Transformers take one example [M, C]; a ResNet takes a batch, because BatchNorm needs it.
"""

import numpy as np

from tests.model.reference import layer_norm, linear, self_attend


def transformer(parameters, inputs, layers, heads):
    z = linear(parameters, "transformer/embed", inputs)
    for i in range(layers):
        z = self_attend(parameters, f"transformer/tower/self_attend_{i}", z, heads)
    return linear(parameters, "transformer/head", z.mean(0))


def vit(parameters, inputs, layers, heads, grid, patch):
    weights = np.float64(parameters["vit/patches"]["w"])  # [patch, patch, C, D]
    picture = padded(inputs.reshape(*grid, -1), patch)
    tokens = [np.float64(parameters["vit"]["class_token"])]
    for r in range(0, picture.shape[0], patch):
        for c in range(0, picture.shape[1], patch):
            piece = picture[r : r + patch, c : c + patch]
            tokens.append(
                piece.reshape(-1) @ weights.reshape(piece.size, -1)
                + np.float64(parameters["vit/patches"]["b"])
            )
    z = np.stack(tokens) + np.float64(parameters["vit"]["positions"])
    for i in range(layers):
        z = self_attend(parameters, f"vit/tower/self_attend_{i}", z, heads)
    return linear(parameters, "vit/head", layer_norm(parameters, "vit/layer_norm", z)[0])


def padded(picture, patch):
    """Pads [rows, columns, C] with zeros to multiples of the patch, the smaller half first."""
    missing = [-size % patch for size in picture.shape[:2]]
    return np.pad(picture, [*((n // 2, n - n // 2) for n in missing), (0, 0)])


def windows(x, kernel, stride, fill):
    """Returns the windows with 'SAME' padding: [B, rows, columns, kernel, kernel, C]."""
    sizes = [-(-n // stride) for n in x.shape[1:3]]
    pads = []
    for n, out in zip(x.shape[1:3], sizes, strict=True):
        missing = max((out - 1) * stride + kernel - n, 0)
        pads.append((missing // 2, missing - missing // 2))
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    return np.stack(
        [
            np.stack(
                [
                    x[:, r * stride : r * stride + kernel, c * stride : c * stride + kernel]
                    for c in range(sizes[1])
                ],
                axis=1,
            )
            for r in range(sizes[0])
        ],
        axis=1,
    )


class ResNet:
    """A bottleneck ResNet; `moments` holds BatchNorm's mean and variance by module."""

    def __init__(self, parameters, averages=None):
        """Takes the parameters and, for evaluation, the averages {module: (mean, variance)}."""
        self.parameters = parameters
        self.averages = averages
        self.moments = {}

    def __call__(self, pictures, blocks):
        """Maps [B, rows, columns, C] to class logits [B, classes]."""
        top = "resnet/layers/~"
        x = self.conv(f"{top}/initial_conv", pictures, stride=2)
        x = np.maximum(self.batch_norm(f"{top}/initial_batchnorm", x), 0)
        x = windows(x, 3, 2, -np.inf).max((3, 4))
        for group, count in enumerate(blocks):
            for block in range(count):
                name = f"{top}/block_group_{group}/~/block_{block}/~"
                stride = 2 if group > 0 and block == 0 else 1
                x = self.block(name, x, stride, shortcut=block == 0)
        return linear(self.parameters, f"{top}/head", x.mean((1, 2)))

    def block(self, name, x, stride, shortcut):
        out = self.conv(f"{name}/conv_0", x, 1)
        out = np.maximum(self.batch_norm(f"{name}/batchnorm_0", out), 0)
        out = self.conv(f"{name}/conv_1", out, stride)
        out = np.maximum(self.batch_norm(f"{name}/batchnorm_1", out), 0)
        out = self.batch_norm(f"{name}/batchnorm_2", self.conv(f"{name}/conv_2", out, 1))
        if shortcut:
            x = self.conv(f"{name}/shortcut_conv", x, stride)
            x = self.batch_norm(f"{name}/shortcut_batchnorm", x)
        return np.maximum(out + x, 0)

    def conv(self, name, x, stride):
        w = np.float64(self.parameters[name]["w"])  # [kernel, kernel, C, out]
        return np.tensordot(windows(x, w.shape[0], stride, 0), w, 3)

    def batch_norm(self, name, x):
        if self.averages is None:
            self.moments[name] = x.mean((0, 1, 2)), x.var((0, 1, 2))
        mean, variance = self.moments[name] if self.averages is None else self.averages[name]
        normal = (x - mean) / np.sqrt(variance + 1e-5)
        return normal * np.float64(self.parameters[name]["scale"]) + np.float64(
            self.parameters[name]["offset"]
        )
