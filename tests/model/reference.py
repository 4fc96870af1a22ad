"""The Perceiver in plain NumPy float64, written from the paper's text, one example at a time.

It is deliberately slow and literal: Sec. 3.1 (cross-attend, latent Transformer), Sec. 3.2 (Fourier
features) and App. C (pre-norm, residual, dense block, head). It takes the parameters as
{module: {name: array}} and does not use JAX or Haiku.
"""

import numpy as np

LAYER_NORM_EPSILON = 1e-5


def linear(parameters, module, x):
    return x @ np.float64(parameters[module]["w"]) + np.float64(parameters[module]["b"])


def layer_norm(parameters, module, x):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    normal = (x - mean) / np.sqrt(variance + LAYER_NORM_EPSILON)
    return normal * np.float64(parameters[module]["scale"]) + np.float64(
        parameters[module]["offset"]
    )


def gelu(x):
    """The tanh form, as in GPT-2."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def qkv_attention(q, k, v, heads, mask=None):
    """softmax(q k^T / sqrt(C / heads)) v per head; q [N, C], k and v [M, C], bool mask [M]."""
    outputs, logits = [], []
    for h in range(heads):
        part = slice(h * q.shape[1] // heads, (h + 1) * q.shape[1] // heads)
        scores = q[:, part] @ k[:, part].T / np.sqrt(q.shape[1] / heads)  # [N, M]
        logits.append(scores)
        if mask is not None:
            scores = scores[:, mask]
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        outputs.append(weights @ (v[:, part] if mask is None else v[mask][:, part]))
    return np.concatenate(outputs, -1), np.stack(logits)


def dense(parameters, module, z):
    hidden = layer_norm(parameters, f"{module}/layer_norm", z)
    hidden = gelu(linear(parameters, f"{module}/linear_0", hidden))
    return z + linear(parameters, f"{module}/linear_1", hidden)


def cross_attend(parameters, module, z, inputs, heads, mask=None):
    normal = layer_norm(parameters, f"{module}/layer_norm_inputs", inputs)
    attended, logits = qkv_attention(
        linear(
            parameters, f"{module}/query", layer_norm(parameters, f"{module}/layer_norm_latents", z)
        ),
        linear(parameters, f"{module}/key", normal),
        linear(parameters, f"{module}/value", normal),
        heads,
        mask,
    )
    z = z + linear(parameters, f"{module}/output", attended)
    return dense(parameters, f"{module}/dense", z), logits


def self_attend(parameters, module, z, heads):
    normal = layer_norm(parameters, f"{module}/layer_norm", z)
    attended, _ = qkv_attention(
        linear(parameters, f"{module}/query", normal),
        linear(parameters, f"{module}/key", normal),
        linear(parameters, f"{module}/value", normal),
        heads,
    )
    z = z + linear(parameters, f"{module}/output", attended)
    return dense(parameters, f"{module}/dense", z)


def perceiver(
    parameters,
    inputs,
    order,
    self_attends_per_tower,
    cross_heads=1,
    self_heads=8,
    mask=None,
    unrolled=False,
):
    """Returns class logits [classes] and the logits of all cross-attends, for one example.

    inputs [M, C]: content and position encoding, concatenated. order: the modules in their order,
    for example ["cross_attend_0", "tower_0", "cross_attend_1", "tower_0"]. unrolled: cross-attend i
    of n attends to inputs i M / n to (i + 1) M / n, "one frame per cross-attend" (Sec. 4.2).
    """
    z = np.float64(parameters["perceiver"]["latents"])
    crosses = sum(module.startswith("cross_attend") for module in order)
    maps = []
    for module in order:
        if module.startswith("cross_attend"):
            i, m = len(maps), len(inputs)
            segment = slice(i * m // crosses, (i + 1) * m // crosses) if unrolled else slice(m)
            z, logits = cross_attend(
                parameters,
                f"perceiver/{module}",
                z,
                inputs[segment],
                cross_heads,
                None if mask is None else mask[segment],
            )
            maps.append(logits)
        else:
            for i in range(self_attends_per_tower):
                z = self_attend(parameters, f"perceiver/{module}/self_attend_{i}", z, self_heads)
    return linear(parameters, "perceiver/head", z.mean(0)), maps


def fused(parts, vectors):
    """Appends the modality's vector to each input [M_i, C_i], and concatenates (Sec. 4.2)."""
    wide = [
        np.concatenate([part, np.tile(np.float64(vector), (len(part), 1))], -1)
        for part, vector in zip(parts, vectors, strict=True)
    ]
    return np.concatenate(wide, 0)


def fourier_features(x, bands, max_resolution, log=False):
    """Maps x [M, d] in [-1, 1] to [M, d (2 bands + 1)]: [x, sin, cos] per dimension (Sec. 3.2)."""
    features = []
    for d, mu in enumerate(max_resolution):
        frequencies = np.geomspace(1, mu / 2, bands) if log else np.linspace(1, mu / 2, bands)
        angles = np.pi * x[:, d : d + 1] * frequencies
        features += [x[:, d : d + 1], np.sin(angles), np.cos(angles)]
    return np.concatenate(features, -1)


def grid(*shape):
    """Returns coordinates [M, d] of a grid in row-major order, from -1 to 1 in each dimension."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
