// Convolutions, transposed ones, and the gradients of weights: matrix products whose left matrix is read through the window.
//
// Numbers of a shape: batch, in channels, out channels, groups, input [3], output [3], kernel [3], stride [3], dilation [3], pad [3], transposed.

enum Shape { BATCH, IN, OUT, GROUPS, INPUT, OUTPUT = 7, SIZE = 10, STRIDE = 13, DILATION = 16, PAD = 19, TRANSPOSED = 22 };

struct Pixel {
    int batch, at[3];
};

__device__ Pixel output_pixel(const Numbers &s, int p) {
    Pixel o;
    o.at[2] = p % s.n[OUTPUT + 2];
    p /= s.n[OUTPUT + 2];
    o.at[1] = p % s.n[OUTPUT + 1];
    p /= s.n[OUTPUT + 1];
    o.at[0] = p % s.n[OUTPUT];
    o.batch = p / s.n[OUTPUT];
    return o;
}

// Input coordinate under tap k of output coordinate o, or -1.
__device__ int under(const Numbers &s, int axis, int o, int k) {
    int stride = s.n[STRIDE + axis], at;
    if (s.n[TRANSPOSED]) {
        at = o + s.n[PAD + axis] - k * s.n[DILATION + axis];
        if (at < 0 || at % stride != 0) return -1;
        at /= stride;
    } else {
        at = o * stride + k * s.n[DILATION + axis] - s.n[PAD + axis];
    }
    return at >= 0 && at < s.n[INPUT + axis] ? at : -1;
}

struct Tap {
    int at[3];
};

__device__ Tap tap_of(const Numbers &s, int tap) {
    Tap k = {{tap / (s.n[SIZE + 2] * s.n[SIZE + 1]), tap / s.n[SIZE + 2] % s.n[SIZE + 1], tap % s.n[SIZE + 2]}};
    return k;
}

// Input pixel under a tap, or -1.
__device__ int input_pixel(const Numbers &s, const Pixel &o, const Tap &k) {
    int x = under(s, 2, o.at[2], k.at[2]);
    int y = under(s, 1, o.at[1], k.at[1]);
    int z = under(s, 0, o.at[0], k.at[0]);
    if (x < 0 || y < 0 || z < 0) return -1;
    return ((o.batch * s.n[INPUT] + z) * s.n[INPUT + 1] + y) * s.n[INPUT + 2] + x;
}

__device__ int taps_of(const Numbers &s) {
    return s.n[SIZE] * s.n[SIZE + 1] * s.n[SIZE + 2];
}

// Weights from ONNX's order to [group][tap][in channel of the group][out channel of the group]: rows of a product are read side by side.
KERNEL pack_weights(const float *weights, float *packed, int n, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    int taps = taps_of(s), in = s.n[IN] / s.n[GROUPS], out = s.n[OUT] / s.n[GROUPS];
    int m = i % out, channel = i / out % in, tap = i / out / in % taps, g = i / out / in / taps;
    int row = s.n[TRANSPOSED] ? (g * in + channel) * out + m : (g * out + m) * in + channel;
    packed[i] = weights[row * taps + tap];
}

#define DEPTH 16
#define PIXELS 128

// A block of 256 threads makes PIXELS pixels by COLUMNS out channels of one group; a thread 8 pixels by COLUMNS / 16 channels.
template <int COLUMNS>
__device__ void convolve(const float *x, const float *packed, const float *bias, float *y, const Numbers &s, int kind, float a, float b) {
    // One more than a row's pixels: the stores of a warp go to different banks.
    __shared__ float left[DEPTH][PIXELS + 1];
    __shared__ float right[DEPTH][COLUMNS];
    __shared__ Pixel at[PIXELS];
    const int WIDE = COLUMNS / 16;
    int t = threadIdx.x, in = s.n[IN] / s.n[GROUPS], out = s.n[OUT] / s.n[GROUPS];
    int pixels = s.n[BATCH] * s.n[OUTPUT] * s.n[OUTPUT + 1] * s.n[OUTPUT + 2];
    int depth = taps_of(s) * in;
    int first_pixel = blockIdx.x * PIXELS, first_column = blockIdx.y * COLUMNS, g = blockIdx.z;
    if (t < PIXELS) at[t] = output_pixel(s, first_pixel + t);
    __syncthreads();
    float sum[8][WIDE];
    for (int v = 0; v < WIDE; v++) {
        int m = first_column + t % 16 + 16 * v;
        float start = bias && m < out ? bias[g * out + m] : 0.0f;
        for (int u = 0; u < 8; u++) sum[u][v] = start;
    }
    for (int k0 = 0; k0 < depth; k0 += DEPTH) {
        int k = k0 + t % 16, channel = k % in;
        Tap tap = tap_of(s, k / in);
#pragma unroll 2
        for (int p = t / 16; p < PIXELS; p += 16) {
            int from = k < depth && first_pixel + p < pixels ? input_pixel(s, at[p], tap) : -1;
            left[t % 16][p] = from < 0 ? 0.0f : x[from * s.n[IN] + g * in + channel];
        }
        for (int i = t; i < DEPTH * COLUMNS; i += 256) {
            int row = k0 + i / COLUMNS, m = first_column + i % COLUMNS;
            right[i / COLUMNS][i % COLUMNS] = row < depth && m < out ? packed[(g * depth + row) * out + m] : 0.0f;
        }
        __syncthreads();
        for (int d = 0; d < DEPTH; d++) {
            float of_pixel[8], of_channel[WIDE];
            for (int u = 0; u < 8; u++) of_pixel[u] = left[d][t / 16 + 16 * u];
            for (int v = 0; v < WIDE; v++) of_channel[v] = right[d][t % 16 + 16 * v];
            for (int u = 0; u < 8; u++) {
                for (int v = 0; v < WIDE; v++) sum[u][v] = fmaf(of_pixel[u], of_channel[v], sum[u][v]);
            }
        }
        __syncthreads();
    }
    for (int u = 0; u < 8; u++) {
        int p = first_pixel + t / 16 + 16 * u;
        for (int v = 0; v < WIDE; v++) {
            int m = first_column + t % 16 + 16 * v;
            if (p < pixels && m < out) y[p * s.n[OUT] + g * out + m] = activate(kind, a, b, sum[u][v]);
        }
    }
}

BLOCK_KERNEL convolve_32(const float *x, const float *packed, const float *bias, float *y, Numbers s, int kind, float a, float b) {
    convolve<32>(x, packed, bias, y, s, kind, a, b);
}

BLOCK_KERNEL convolve_64(const float *x, const float *packed, const float *bias, float *y, Numbers s, int kind, float a, float b) {
    convolve<64>(x, packed, bias, y, s, kind, a, b);
}

// One channel per group: a thread makes one element, with weights in ONNX's order.
KERNEL convolve_depthwise(const float *x, const float *weights, const float *bias, float *y, int n, Numbers s, int kind, float a, float b) {
    int i = INDEX;
    if (i >= n) return;
    int c = i % s.n[OUT];
    Pixel o = output_pixel(s, i / s.n[OUT]);
    float sum = bias ? bias[c] : 0.0f;
    const float *weight = weights + c * taps_of(s);
    Tap k;
    for (k.at[0] = 0; k.at[0] < s.n[SIZE]; k.at[0]++) {
        for (k.at[1] = 0; k.at[1] < s.n[SIZE + 1]; k.at[1]++) {
            for (k.at[2] = 0; k.at[2] < s.n[SIZE + 2]; k.at[2]++, weight++) {
                int from = input_pixel(s, o, k);
                if (from >= 0) sum = fmaf(x[from * s.n[IN] + c], *weight, sum);
            }
        }
    }
    y[i] = activate(kind, a, b, sum);
}

#define ROWS 64

// Parts of dw[tap][in channel][out channel] = sum over pixels of x * dy: a block makes ROWS (tap, in channel) by 64 out channels of one group, over
// one part of the pixels; a thread 4 by 4. `sums` is [part][tap][in channel of the group][out channel].
BLOCK_KERNEL weight_gradient(const float *x, const float *dy, float *sums, int parts, Numbers s) {
    __shared__ float left[DEPTH][ROWS];
    __shared__ float right[DEPTH][64];
    int t = threadIdx.x, in = s.n[IN] / s.n[GROUPS], out = s.n[OUT] / s.n[GROUPS];
    int pixels = s.n[BATCH] * s.n[OUTPUT] * s.n[OUTPUT + 1] * s.n[OUTPUT + 2];
    int depth = taps_of(s) * in;
    int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * 64;
    int g = blockIdx.z % s.n[GROUPS], part = blockIdx.z / s.n[GROUPS];
    int from = part_start(part, parts, pixels), to = part_start(part + 1, parts, pixels);
    int row = first_row + t % 64, channel = row % in;
    Tap tap = tap_of(s, row / in);
    int m = first_column + t % 64;
    float total[4][4], sum[4][4];
    for (int u = 0; u < 4; u++) {
        for (int v = 0; v < 4; v++) total[u][v] = sum[u][v] = 0.0f;
    }
    int chunks = 0;
    for (int p0 = from; p0 < to; p0 += DEPTH) {
        for (int j = 0; j < DEPTH / 4; j++) {
            int d = t / 64 + 4 * j, p = p0 + d;
            int source = p < to && row < depth ? input_pixel(s, output_pixel(s, p), tap) : -1;
            left[d][t % 64] = source < 0 ? 0.0f : x[source * s.n[IN] + g * in + channel];
            right[d][t % 64] = p < to && m < out ? dy[p * s.n[OUT] + g * out + m] : 0.0f;
        }
        __syncthreads();
        for (int d = 0; d < DEPTH; d++) {
            for (int u = 0; u < 4; u++) {
                float of_row = left[d][t / 16 + 16 * u];
                for (int v = 0; v < 4; v++) sum[u][v] = fmaf(of_row, right[d][t % 16 + 16 * v], sum[u][v]);
            }
        }
        // Short sums first: fewer roundings of a large one.
        if (++chunks % 8 == 0 || p0 + DEPTH >= to) {
            for (int u = 0; u < 4; u++) {
                for (int v = 0; v < 4; v++) {
                    total[u][v] += sum[u][v];
                    sum[u][v] = 0.0f;
                }
            }
        }
        __syncthreads();
    }
    for (int u = 0; u < 4; u++) {
        int r = first_row + t / 16 + 16 * u;
        for (int v = 0; v < 4; v++) {
            int column = first_column + t % 16 + 16 * v;
            if (r < depth && column < out) sums[(part * depth + r) * s.n[OUT] + g * out + column] = total[u][v];
        }
    }
}

// The same for one channel per group: a thread adds the pixels of a part for one tap and channel.
KERNEL weight_gradient_depthwise(const float *x, const float *dy, float *sums, int n, int parts, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    int c = i % s.n[OUT], taps = taps_of(s), part = i / s.n[OUT] / taps;
    Tap tap = tap_of(s, i / s.n[OUT] % taps);
    int pixels = s.n[BATCH] * s.n[OUTPUT] * s.n[OUTPUT + 1] * s.n[OUTPUT + 2];
    int from = part_start(part, parts, pixels), to = part_start(part + 1, parts, pixels);
    float total = 0.0f, sum = 0.0f;
    for (int p = from; p < to; p++) {
        int source = input_pixel(s, output_pixel(s, p), tap);
        if (source >= 0) sum = fmaf(x[source * s.n[IN] + c], dy[p * s.n[OUT] + c], sum);
        if ((p - from) % 128 == 127 || p + 1 == to) {
            total += sum;
            sum = 0.0f;
        }
    }
    sums[i] = total;
}

// Adds the parts in their order, into ONNX's order of weights.
KERNEL weight_gradient_total(const float *sums, float *dw, int n, int parts, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    int taps = taps_of(s), in = s.n[IN] / s.n[GROUPS];
    int o = i % s.n[OUT], channel = i / s.n[OUT] % in, tap = i / s.n[OUT] / in;
    double total = 0.0;
    for (int part = 0; part < parts; part++) total += sums[part * n + i];
    dw[(o * in + channel) * taps + tap] = (float)total;
}
