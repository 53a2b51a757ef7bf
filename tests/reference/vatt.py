"""VATT written out with loops from the sheet (sections 3, 4 and 11): slow, float64, nothing of ours."""

import math

import numpy as np


def log_sum(values):
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def mil_nce(s, tau, form, has_x=None, has_y=None, excluded=()):
    """Losses of the clips that have both. s[i][j][l]: cosine of clip i and sentence l of clip j; equations 4 and 5."""
    clips = range(len(s))
    has_x = [True] * len(s) if has_x is None else has_x
    has_y = [[True] * len(s[0][0])] * len(s) if has_y is None else has_y
    sentences = [(j, n) for j in clips for n in range(len(s[0][0])) if has_y[j][n]]
    losses = {}
    for i in clips:
        own = [n for j, n in sentences if j == i]
        if not has_x[i] or not own:
            continue
        positive = [s[i][i][n] / tau for n in own]
        row = [s[i][j][n] / tau for j, n in sentences if j != i and (i, j) not in excluded]
        column = [s[j][i][n] / tau for j in clips for n in own if has_x[j] and j != i and (j, i) not in excluded]
        if form == "paper":
            losses[i] = log_sum(positive + row + column) - log_sum(positive)
        elif form == "code":  # 4.1: each of the two sets holds the matches
            losses[i] = log_sum(positive + row + positive + column) - log_sum(positive)
        else:
            losses[i] = log_sum(positive + row) + log_sum(positive + column) - 2 * log_sum(positive)
    return losses


def mean(losses):
    return sum(losses.values()) / len(losses) if losses else 0.0


def cosines(x, y):
    """x (B, E), y (B, L, E) to s[i][j][l]."""

    def cosine(a, b):
        return sum(p * q for p, q in zip(a, b, strict=True)) / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))

    return [[[cosine(a, b) for b in sentences] for sentences in y] for a in x]


def bucket(distance):
    """3.5, of key - query; 16 buckets for each direction."""
    after, m = (16 if distance > 0 else 0), abs(distance)
    return after + (m if m < 8 else min(15, 8 + math.floor(math.log(m / 8) / math.log(64 / 8) * 8)))


def natural_spline(values, new):
    """3.2: the natural cubic spline through (i / n, values), read at j / new, straight beyond the last knot."""
    n, h = len(values), 1 / len(values)
    second = np.zeros(n)
    if n > 2:
        system = np.diag([4.0] * (n - 2)) + np.diag([1.0] * (n - 3), 1) + np.diag([1.0] * (n - 3), -1)
        bend = [6 * (values[i - 1] - 2 * values[i] + values[i + 1]) / h**2 for i in range(1, n - 1)]
        second[1:-1] = np.linalg.solve(system, bend)
    found = []
    for j in range(new):
        u = j / new
        i = min(int(u / h + 1e-9), n - 2)
        if u > (n - 1) * h:  # the slope at the last knot
            slope = (values[-1] - values[-2]) / h + h * second[-2] / 6
            found.append(values[-1] + slope * (u - (n - 1) * h))
            continue
        a, b = (i + 1) - u / h, u / h - i
        curved = ((a**3 - a) * second[i] + (b**3 - b) * second[i + 1]) * h**2 / 6
        found.append(a * values[i] + b * values[i + 1] + curved)
    return found


def patches(x, patch):
    """(n_1, ..., n_k, C): blocks in the order of the grid, each in the order of its places, channels last."""
    counts = [n // p for n, p in zip(x.shape, patch, strict=False)]
    found = []
    for block in np.ndindex(*counts):
        inside = [
            x[tuple(b * p + o for b, p, o in zip(block, patch, offset, strict=True))] for offset in np.ndindex(*patch)
        ]
        found.append(np.concatenate(inside))
    return np.array(found)


def attention(x, weight, bias, heads, scale, added=None):
    """One sequence (L, D); `weight` of queries, keys and values one above the other. Before the last map."""
    q, k, v = np.split(x @ weight.T + bias, 3, axis=1)
    width, out = x.shape[1] // heads, []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        mixed = []
        for i in range(len(x)):
            logits = [float(q[i, part] @ k[j, part]) * scale for j in range(len(x))]
            logits = [a + (0.0 if added is None else added[h][i][j]) for j, a in enumerate(logits)]
            total = log_sum(logits)
            mixed.append(sum(math.exp(a - total) * v[j, part] for j, a in enumerate(logits)))
        out.append(np.array(mixed))
    return np.concatenate(out, axis=1)


def batch_norm(rows, valid):
    """Every row by the mean and variance of the valid ones."""
    own = np.array([r for r, v in zip(rows, valid, strict=True) if v])
    return (np.array(rows) - own.mean(axis=0)) / np.sqrt(own.var(axis=0) + 1e-5)


def fac_heads(f, weights, valid):
    """3.7 with batch norm after every linear map: f and valid by modality, text (B K, D); weights by name."""

    def relu(x):
        return np.maximum(x, 0)

    hidden = batch_norm(f["video"] @ weights["video1"].T, valid["video"])
    z_v_va = batch_norm(relu(hidden) @ weights["video2"].T, valid["video"])
    z_v_vt = batch_norm(relu(z_v_va) @ weights["coarse"].T, valid["video"])
    z_a_va = batch_norm(f["audio"] @ weights["audio"].T, valid["audio"])
    z_t_vt = batch_norm(f["text"] @ weights["text"].T, valid["text"])
    return z_v_va, z_a_va, z_v_vt, z_t_vt


def log_mel(sound, *, rate, size, hop, bands, low, high):
    """2.3 for one clip: frames at every hop, zeros beyond the end, magnitudes, triangles straight in mel."""

    def mel(hertz):
        return 1127 * math.log(1 + hertz / 700)

    points = 2 ** math.ceil(math.log2(size))
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / size) for n in range(size)]
    edges = [mel(low) + (mel(high) - mel(low)) * i / (bands + 1) for i in range(bands + 2)]
    rows = []
    for start in range(0, len(sound), hop):
        frame = [sound[start + n] * window[n] if start + n < len(sound) else 0.0 for n in range(size)]
        row = []
        magnitude = [
            abs(sum(v * np.exp(-2j * math.pi * k * n / points) for n, v in enumerate(frame)))
            for k in range(points // 2 + 1)
        ]
        for b in range(bands):
            left, centre, right = edges[b : b + 3]
            total = 0.0
            for k in range(1, len(magnitude)):
                m = mel(k * rate / points)
                total += magnitude[k] * max(0.0, min((m - left) / (centre - left), (right - m) / (right - centre)))
            row.append(math.log(1 + 10_000 * total))
        rows.append(row)
    rows = np.array(rows)
    return (rows - rows.min()) / (rows.max() - rows.min())
