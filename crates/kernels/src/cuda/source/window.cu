// Pools and linear Resize.
//
// Numbers of a pool: batch, channels, input [3], output [3], kernel [3], stride [3], dilation [3], pad [3], ends of the padded axes [3] or -1.

enum PoolShape { POOL_CHANNELS = 1, POOL_INPUT, POOL_OUTPUT = 5, POOL_SIZE = 8, POOL_STRIDE = 11, POOL_DILATION = 14, POOL_PAD = 17, POOL_END = 20 };

struct Range {
    int from, to;
};

// Taps of an output coordinate's window that lie inside of the picture.
__device__ Range window(const Numbers &s, int axis, int o) {
    long long begin = (long long)o * s.n[POOL_STRIDE + axis], dilation = s.n[POOL_DILATION + axis];
    long long before = s.n[POOL_PAD + axis] - begin, behind = before + s.n[POOL_INPUT + axis];
    long long from = before > 0 ? (before + dilation - 1) / dilation : 0;
    long long to = behind > 0 ? (behind + dilation - 1) / dilation : 0;
    if (to > s.n[POOL_SIZE + axis]) to = s.n[POOL_SIZE + axis];
    Range r = {(int)from, (int)(to > from ? to : from)};
    return r;
}

__device__ int tap_at(const Numbers &s, int axis, int o, int k) {
    return o * s.n[POOL_STRIDE + axis] + k * s.n[POOL_DILATION + axis] - s.n[POOL_PAD + axis];
}

// Output coordinates whose windows may hold an input coordinate.
__device__ Range readers(const Numbers &s, int axis, int i) {
    long long at = (long long)i + s.n[POOL_PAD + axis], stride = s.n[POOL_STRIDE + axis];
    long long before = at - (long long)(s.n[POOL_SIZE + axis] - 1) * s.n[POOL_DILATION + axis];
    long long from = before > 0 ? (before + stride - 1) / stride : 0, to = at / stride + 1;
    if (to > s.n[POOL_OUTPUT + axis]) to = s.n[POOL_OUTPUT + axis];
    Range r = {(int)from, (int)(to > from ? to : from)};
    return r;
}

__device__ bool reads(const Numbers &s, int axis, int o, int i) {
    return (i + s.n[POOL_PAD + axis] - o * s.n[POOL_STRIDE + axis]) % s.n[POOL_DILATION + axis] == 0;
}

struct Place {
    int channel, batch, at[3];
};

// Place of element i of [batch, sizes of three axes, channels].
__device__ Place place(const Numbers &s, int sizes, int i) {
    Place p;
    p.channel = i % s.n[POOL_CHANNELS];
    i /= s.n[POOL_CHANNELS];
    for (int axis = 2; axis >= 0; axis--) {
        p.at[axis] = i % s.n[sizes + axis];
        i /= s.n[sizes + axis];
    }
    p.batch = i;
    return p;
}

// Index of an element of the input or of the output.
__device__ int element(const Numbers &s, int sizes, const Place &p, int z, int y, int x) {
    return (((p.batch * s.n[sizes] + z) * s.n[sizes + 1] + y) * s.n[sizes + 2] + x) * s.n[POOL_CHANNELS] + p.channel;
}

KERNEL max_pool(const float *x, float *y, int n, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    Place p = place(s, POOL_OUTPUT, i);
    Range zs = window(s, 0, p.at[0]), ys = window(s, 1, p.at[1]), xs = window(s, 2, p.at[2]);
    float most = -__int_as_float(0x7f800000);
    for (int kz = zs.from; kz < zs.to; kz++) {
        for (int ky = ys.from; ky < ys.to; ky++) {
            for (int kx = xs.from; kx < xs.to; kx++) {
                float v = x[element(s, POOL_INPUT, p, tap_at(s, 0, p.at[0], kz), tap_at(s, 1, p.at[1], ky), tap_at(s, 2, p.at[2], kx))];
                most = v > most ? v : most;
            }
        }
    }
    y[i] = most;
}

// The first element of each window, row-major, that equals its maximum; -1 where none does.
KERNEL max_pool_winners(const float *x, const float *y, int *winners, int n, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    Place p = place(s, POOL_OUTPUT, i);
    Range zs = window(s, 0, p.at[0]), ys = window(s, 1, p.at[1]), xs = window(s, 2, p.at[2]);
    int winner = -1;
    for (int kz = zs.from; kz < zs.to && winner < 0; kz++) {
        for (int ky = ys.from; ky < ys.to && winner < 0; ky++) {
            for (int kx = xs.from; kx < xs.to && winner < 0; kx++) {
                int at = element(s, POOL_INPUT, p, tap_at(s, 0, p.at[0], kz), tap_at(s, 1, p.at[1], ky), tap_at(s, 2, p.at[2], kx));
                if (x[at] == y[i]) winner = at;
            }
        }
    }
    winners[i] = winner;
}

KERNEL max_pool_backward(const int *winners, const float *dy, float *dx, int n, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    Place p = place(s, POOL_INPUT, i);
    Range zs = readers(s, 0, p.at[0]), ys = readers(s, 1, p.at[1]), xs = readers(s, 2, p.at[2]);
    float sum = 0.0f;
    for (int oz = zs.from; oz < zs.to; oz++) {
        for (int oy = ys.from; oy < ys.to; oy++) {
            for (int ox = xs.from; ox < xs.to; ox++) {
                int o = element(s, POOL_OUTPUT, p, oz, oy, ox);
                if (winners[o] == i) sum += dy[o];
            }
        }
    }
    dx[i] = sum;
}

// What the average at an output pixel is divided by; at least 1.
__device__ float divisor(const Numbers &s, int oz, int oy, int ox) {
    int at[3] = {oz, oy, ox}, n = 1;
    for (int axis = 0; axis < 3; axis++) {
        if (s.n[POOL_END] < 0) {
            Range r = window(s, axis, at[axis]);
            n *= r.to - r.from;
        } else {
            long long behind = s.n[POOL_END + axis] - (long long)at[axis] * s.n[POOL_STRIDE + axis], dilation = s.n[POOL_DILATION + axis];
            long long count = behind > 0 ? (behind + dilation - 1) / dilation : 0;
            n *= (int)(count < s.n[POOL_SIZE + axis] ? count : s.n[POOL_SIZE + axis]);
        }
    }
    return (float)(n > 1 ? n : 1);
}

KERNEL average_pool(const float *x, float *y, int n, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    Place p = place(s, POOL_OUTPUT, i);
    Range zs = window(s, 0, p.at[0]), ys = window(s, 1, p.at[1]), xs = window(s, 2, p.at[2]);
    float sum = 0.0f;
    for (int kz = zs.from; kz < zs.to; kz++) {
        for (int ky = ys.from; ky < ys.to; ky++) {
            for (int kx = xs.from; kx < xs.to; kx++) {
                sum += x[element(s, POOL_INPUT, p, tap_at(s, 0, p.at[0], kz), tap_at(s, 1, p.at[1], ky), tap_at(s, 2, p.at[2], kx))];
            }
        }
    }
    y[i] = sum / divisor(s, p.at[0], p.at[1], p.at[2]);
}

KERNEL average_pool_backward(const float *dy, float *dx, int n, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    Place p = place(s, POOL_INPUT, i);
    Range zs = readers(s, 0, p.at[0]), ys = readers(s, 1, p.at[1]), xs = readers(s, 2, p.at[2]);
    float sum = 0.0f;
    for (int oz = zs.from; oz < zs.to; oz++) {
        for (int oy = ys.from; oy < ys.to; oy++) {
            for (int ox = xs.from; ox < xs.to; ox++) {
                if (!reads(s, 0, oz, p.at[0]) || !reads(s, 1, oy, p.at[1]) || !reads(s, 2, ox, p.at[2])) continue;
                sum = fmaf(1.0f / divisor(s, oz, oy, ox), dy[element(s, POOL_OUTPUT, p, oz, oy, ox)], sum);
            }
        }
    }
    dx[i] = sum;
}

// Each result is a weighted sum of those that the lists of its three coordinates name: linear Resize, and its backward by the lists turned around.
// `first` holds, axis after axis, where each coordinate's list begins, and the end. Numbers: batch, channels, sizes of x [3], sizes of y [3].
KERNEL weigh(const float *x, float *y, int n, const int *first, const int *source, const double *weight, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    Place p = place(s, POOL_OUTPUT, i);
    const int *zs = first + p.at[0], *ys = first + s.n[5] + 1 + p.at[1], *xs = first + s.n[5] + s.n[6] + 2 + p.at[2];
    float sum = 0.0f;
    for (int a = zs[0]; a < zs[1]; a++) {
        for (int b = ys[0]; b < ys[1]; b++) {
            for (int c = xs[0]; c < xs[1]; c++) {
                float w = (float)(weight[a] * weight[b] * weight[c]);
                if (w != 0.0f) sum = fmaf(w, x[element(s, POOL_INPUT, p, source[a], source[b], source[c])], sum);
            }
        }
    }
    y[i] = sum;
}
