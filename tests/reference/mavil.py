"""MAViL written out with loops from the sheet (sections 2 to 4): slow, float64, nothing of ours."""

import math

import numpy as np

FLOOR = 1.1920929e-07


def mel(hertz):
    return 1127.0 * math.log(1 + hertz / 700)


def filterbank(sound, rate=16_000, bands=128):
    """2.1, steps 1 to 4: frame by frame."""
    length, hop = rate // 40, rate // 100
    points = 1 << (length - 1).bit_length()
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / (length - 1)) for n in range(length)]
    first, last = mel(20.0), mel(rate / 2)
    half = (last - first) / (bands + 1)
    weights = np.zeros((points // 2 + 1, bands))  # the Nyquist bin keeps weight 0
    for k in range(points // 2):
        at = mel(k * rate / points)
        for b in range(bands):
            left, centre, right = first + b * half, first + (b + 1) * half, first + (b + 2) * half
            if left < at < right:
                weights[k, b] = (at - left) / half if at <= centre else (right - at) / half
    rows = []
    for i in range(1 + (len(sound) - length) // hop):
        frame = np.asarray(sound[i * hop : i * hop + length], dtype=np.float64)
        frame = frame - frame.mean()
        emphasised = [frame[n] - 0.97 * frame[max(n - 1, 0)] for n in range(length)]
        power = np.abs(np.fft.rfft(np.multiply(emphasised, window), points)) ** 2
        rows.append(np.log(np.maximum(power @ weights, FLOOR)))
    return np.array(rows)


def position_1d(place, width):
    """3: w_k = 10000^(-k / (d/2)); [sin(p w_0), ..., cos(p w_0), ...]"""
    w = [10_000 ** (-k / (width / 2)) for k in range(width // 2)]
    return [math.sin(place * x) for x in w] + [math.cos(place * x) for x in w]


def position_2d(row, column, width):
    return position_1d(column, width // 2) + position_1d(row, width // 2)


def position_3d(time, row, column, width):
    return position_1d(time, width // 4) + position_2d(row, column, 3 * width // 4)


def masked(draws, keep):
    """3, masking: (shuffle, restore, kept, mask)"""
    shuffle = sorted(range(len(draws)), key=lambda i: draws[i])
    restore = sorted(range(len(draws)), key=lambda i: shuffle[i])
    kept = shuffle[:keep]
    return shuffle, restore, kept, [0 if i in kept else 1 for i in range(len(draws))]


def standardised(patch):
    """4.1 (1), norm: unbiased variance, 1e-6 inside the root."""
    mean = sum(patch) / len(patch)
    variance = sum((p - mean) ** 2 for p in patch) / (len(patch) - 1)
    return [(p - mean) / math.sqrt(variance + 1e-6) for p in patch]


def masked_error(predicted, target, mask):
    """4.1 (1): (loss per patch * mask).sum() / mask.sum() over the whole batch; arrays (B, N, P), (B, N, P), (B, N)."""
    total, count = 0.0, 0
    for b in range(len(predicted)):
        for n in range(len(predicted[b])):
            if mask[b][n]:
                each = [(p - t) ** 2 for p, t in zip(predicted[b][n], target[b][n], strict=True)]
                total, count = total + sum(each) / len(each), count + 1
    return total / count


def contrast(x, y, tau):
    """4.1 (2): l(x, y; tau), one direction."""
    unit = [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in x]
    other = [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in y]
    losses = []
    for i, row in enumerate(unit):
        s = [sum(a * b for a, b in zip(row, column, strict=True)) / tau for column in other]
        losses.append(math.log(sum(math.exp(v) for v in s)) - s[i])
    return sum(losses) / len(losses)


def inter(p_a, p_v, tau=0.1):
    return (contrast(p_a, p_v, tau) + contrast(p_v, p_a, tau)) / 2


def intra(p_a, q_a, p_v, q_v, tau=1.0):
    """4.1 (3), with the mean of both directions: the two views are alike."""
    return (inter(p_a, q_a, tau) + inter(p_v, q_v, tau)) / 2
