// Functions of single elements, and what only moves elements.

KERNEL activation(const float *x, float *y, int n, int kind, float a, float b) {
    int i = INDEX;
    if (i < n) y[i] = kind > EXP ? rare(kind, a, b, x[i]) : activate(kind, a, b, x[i]);
}

KERNEL activation_backward(const float *value, const float *dy, float *dx, int n, int from_output, int kind, float a, float b) {
    int i = INDEX;
    if (i >= n) return;
    float v = value[i];
    if (kind > EXP) {
        dx[i] = dy[i] * rare_derivative(kind, a, b, v);
        return;
    }
    dx[i] = dy[i] * (from_output ? derivative_at_output(kind, a, b, v) : derivative(kind, a, b, v));
}

// y = gain * x.
KERNEL scale(const float *x, float *y, int n, float gain) {
    int i = INDEX;
    if (i < n) y[i] = x[i] * gain;
}

KERNEL add(const float *a, const float *b, float *y, int n) {
    int i = INDEX;
    if (i < n) y[i] = a[i] + b[i];
}

KERNEL fill(float *y, int n, float value) {
    int i = INDEX;
    if (i < n) y[i] = value;
}

// The numbers of the enum `BinaryOp`, in its order.
enum Operator { ADD, SUB, MUL, DIV, MAX, MIN, PRELU };

// Numbers: outer loops, run, whether a and b move in a run; of each loop count, step in a, step in b.
KERNEL binary(const float *a, const float *b, float *y, int n, int operation, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    int inside = i % s.n[1], rest = i / s.n[1];
    int at_a = s.n[2] * inside, at_b = s.n[3] * inside;
    for (int l = s.n[0] - 1; l >= 0; l--) {
        const int *loop = s.n + 4 + 3 * l;
        at_a += rest % loop[0] * loop[1];
        at_b += rest % loop[0] * loop[2];
        rest /= loop[0];
    }
    float u = a[at_a], v = b[at_b];
    switch (operation) {
    case ADD: y[i] = u + v; break;
    case SUB: y[i] = u - v; break;
    case MUL: y[i] = u * v; break;
    case DIV: y[i] = u / v; break;
    case MAX: y[i] = v > u ? v : u; break;
    case MIN: y[i] = v < u ? v : u; break;
    default: y[i] = u < 0.0f ? u * v : u;
    }
}

// Numbers: loops; of each count and step in x, outermost first.
__device__ int offset(const int *loops, int count, int i) {
    int at = 0;
    for (int l = count - 1; l >= 0; l--) {
        at += i % loops[2 * l] * loops[2 * l + 1];
        i /= loops[2 * l];
    }
    return at;
}

// y = gain * x, elements picked by loops over the whole of y: permutations, and the spreading that is the backward of sums.
KERNEL spread(const float *x, float *y, int n, float gain, Numbers s) {
    int i = INDEX;
    if (i < n) y[i] = gain * x[offset(s.n + 1, s.n[0], i)];
}

// Rows of `count` elements, from and to rows that are wider: concatenation, slices and their backward.
KERNEL copy_rows(const float *x, float *y, int n, int count, int x_stride, int x_start, int y_stride, int y_start) {
    int i = INDEX;
    if (i >= n) return;
    int row = i / count, at = i % count;
    y[row * y_stride + y_start + at] = x[row * x_stride + x_start + at];
}

// From [outer, length, inner] to [outer, positions, inner]: each position is the sum of those that its list names; an empty list is `empty`.
KERNEL pick(const float *x, float *y, int n, const int *first, const int *source, int length, int positions, int inner, float empty) {
    int i = INDEX;
    if (i >= n) return;
    int at = i % inner, position = i / inner % positions, outer = i / inner / positions;
    int from = first[position], to = first[position + 1];
    float sum = empty;
    for (int e = from; e < to; e++) {
        float v = x[(outer * length + source[e]) * inner + at];
        sum = e == from ? v : sum + v;
    }
    y[i] = sum;
}

// Code less zero point; NaN becomes 0.
__device__ float level(float x, float step, float low, float high, int up) {
    float u = x / step;
    float r = up ? ceilf(u) : rintf(u);
    r = r > low ? r : low;
    r = r < high ? r : high;
    return x != x ? 0.0f : r;
}

KERNEL fake_quantize(const float *x, const float *step, float *y, int n, float low, float high, int up) {
    int i = INDEX;
    if (i < n) y[i] = step[0] * level(x[i], step[0], low, high, up);
}

// The numbers of the enum `StepGradient`, in its order.
enum StepGradient { FIXED, LSQ, CODE, MEAN, ZERO };

// Thread t takes the elements t, t + threads …; `sums` are their parts of the gradient of the step.
KERNEL fake_quantize_backward(
    const float *x, const float *step, const float *dy, float *dx, double *sums, int n, int threads, float low, float high, int up, int gradient
) {
    int t = INDEX;
    if (t >= threads) return;
    float s = step[0];
    // With z = 0 the lower end itself is outside: the quantized ReLU is flat there. Otherwise it is inside.
    float low_end = low * s, high_end = high * s;
    double sum = 0.0;
    for (int i = t; i < n; i += threads) {
        float v = x[i], d = dy[i];
        bool inside = (low == 0.0f ? v > 0.0f : v >= low_end) && v <= high_end;
        float by_step = 0.0f;
        if (!inside) {
            by_step = v > high_end ? high : low;
        } else if (gradient == LSQ) {
            by_step = level(v, s, low, high, up) - v / s;
        } else if (gradient == CODE) {
            by_step = level(v, s, low, high, up);
        } else if (gradient == MEAN && v != 0.0f) {
            by_step = v > 0.0f ? 0.5f * (high + 1.0f) : 0.5f * (low - 1.0f);
        }
        if (gradient == FIXED || v != v) by_step = 0.0f;
        sum += (double)d * (double)by_step;
        dx[i] = inside ? d : 0.0f;
    }
    sums[t] = sum;
}
