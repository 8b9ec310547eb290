// Sums over pixels and over axes, normalizations, rows.
//
// A sum over pixels is cut into parts that depend on the shape alone: a thread adds the pixels of its part, in f32 over short chunks and the chunks
// in f64, and `totals` adds the parts in a fixed tree.

#define CHUNK 64

__device__ int part_start(int part, int parts, int n) {
    return (int)((long long)part * n / parts);
}

// Adds the parts [parts][columns] of each column: a block of 256 threads for one.
BLOCK_KERNEL totals(const double *sums, double *total, int columns, int parts) {
    __shared__ double tree[256];
    int t = threadIdx.x, column = blockIdx.x;
    double sum = 0.0;
    for (int p = t; p < parts; p += 256) sum += sums[p * columns + column];
    tree[t] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (t < half) tree[t] += tree[t + half];
        __syncthreads();
    }
    if (t == 0) total[column] = tree[0];
}

KERNEL to_single(const double *x, float *y, int n) {
    int i = INDEX;
    if (i < n) y[i] = (float)x[i];
}

KERNEL channel_sums(const float *x, double *sums, int pixels, int channels, int parts) {
    int i = INDEX;
    if (i >= parts * channels) return;
    int part = i / channels, c = i % channels;
    int from = part_start(part, parts, pixels), to = part_start(part + 1, parts, pixels);
    double total = 0.0;
    for (int at = from; at < to; at += CHUNK) {
        int end = at + CHUNK < to ? at + CHUNK : to;
        float sum = 0.0f;
        for (int p = at; p < end; p++) sum += x[p * channels + c];
        total += sum;
    }
    sums[i] = total;
}

// Parts of the sums of (x - shift) and (x - shift)^2 of each channel.
KERNEL moments(const float *x, const float *shift, double *sums, int pixels, int channels, int parts) {
    int i = INDEX;
    if (i >= parts * channels) return;
    int part = i / channels, c = i % channels;
    int from = part_start(part, parts, pixels), to = part_start(part + 1, parts, pixels);
    float s = shift[c];
    double first = 0.0, second = 0.0;
    for (int at = from; at < to; at += CHUNK) {
        int end = at + CHUNK < to ? at + CHUNK : to;
        float one = 0.0f, two = 0.0f;
        for (int p = at; p < end; p++) {
            float d = x[p * channels + c] - s;
            one += d;
            two = fmaf(d, d, two);
        }
        first += one;
        second += two;
    }
    sums[part * 2 * channels + c] = first;
    sums[(part * 2 + 1) * channels + c] = second;
}

// Mean, 1/sigma, scale and shift of the step into `saved`: of the batch, from the totals of `moments` over `pixels`, which then go into the running
// statistics; or, with batch = 0, of the running ones.
KERNEL batch_norm_statistics(
    const double *total, const float *gamma, const float *beta, float *running_mean, float *running_variance, float *saved, int channels, int batch,
    int pixels, float epsilon, float momentum
) {
    int c = INDEX;
    if (c >= channels) return;
    float mean = running_mean[c], variance = running_variance[c];
    if (batch) {
        double n = pixels > 1 ? pixels : 1;
        double d = total[c] / n;
        double spread = total[channels + c] / n - d * d;
        float unbiased = (float)pixels / (float)((pixels > 2 ? pixels : 2) - 1);
        float old_mean = mean, old_variance = variance;
        mean = (float)((double)old_mean + d);
        variance = (float)(spread > 0.0 ? spread : 0.0);
        running_mean[c] = old_mean + momentum * (mean - old_mean);
        running_variance[c] = old_variance + momentum * (variance * unbiased - old_variance);
    }
    double inverse = 1.0 / sqrt((double)variance + (double)epsilon);
    double a = (double)gamma[c] * inverse;
    saved[c] = mean;
    saved[channels + c] = (float)inverse;
    saved[2 * channels + c] = (float)a;
    saved[3 * channels + c] = (float)((double)beta[c] - (double)mean * a);
}

KERNEL batch_norm(const float *x, const float *saved, float *y, int n, int channels, int kind, float a, float b) {
    int i = INDEX;
    if (i >= n) return;
    int c = i % channels;
    y[i] = activate(kind, a, b, fmaf(x[i], saved[2 * channels + c], saved[3 * channels + c]));
}

// f' of straight pieces: `slope` up to `low`, 1 to `high`, 0 from there.
__device__ float ramp(float x, float low, float high, float slope) {
    float d = x > low ? 1.0f : slope;
    return x < high ? d : 0.0f;
}

// Parts of the sums of dz and dz * (x - mean) of each channel, dz = dy * f'(x * scale + shift).
KERNEL batch_norm_backward_sums(
    const float *x, const float *dy, const float *saved, double *sums, int pixels, int channels, int parts, float low, float high, float slope
) {
    int i = INDEX;
    if (i >= parts * channels) return;
    int part = i / channels, c = i % channels;
    int from = part_start(part, parts, pixels), to = part_start(part + 1, parts, pixels);
    float mean = saved[c], a = saved[2 * channels + c], b = saved[3 * channels + c];
    double first = 0.0, second = 0.0;
    for (int at = from; at < to; at += CHUNK) {
        int end = at + CHUNK < to ? at + CHUNK : to;
        float one = 0.0f, two = 0.0f;
        for (int p = at; p < end; p++) {
            float v = x[p * channels + c];
            float dz = dy[p * channels + c] * ramp(fmaf(v, a, b), low, high, slope);
            one += dz;
            two = fmaf(dz, v - mean, two);
        }
        first += one;
        second += two;
    }
    sums[part * 2 * channels + c] = first;
    sums[(part * 2 + 1) * channels + c] = second;
}

KERNEL batch_norm_gradients(const double *total, const float *saved, float *dgamma, float *dbeta, int channels) {
    int c = INDEX;
    if (c >= channels) return;
    dbeta[c] = (float)total[c];
    dgamma[c] = (float)(total[channels + c] * (double)saved[channels + c]);
}

// The factors of x and of 1 in dx, [2][channels]; zeros where the statistics were fixed.
KERNEL batch_norm_factors(const double *total, const float *saved, float *factors, int channels, int batch, int pixels) {
    int c = INDEX;
    if (c >= channels) return;
    float of_x = 0.0f, of_one = 0.0f;
    if (batch) {
        double n = pixels > 1 ? pixels : 1;
        double mean = saved[c], inverse = saved[channels + c], a = saved[2 * channels + c];
        double beta = total[c], gamma = total[channels + c] * inverse;
        double k = -a * inverse * gamma / n;
        of_x = (float)k;
        of_one = (float)(-a * beta / n - k * mean);
    }
    factors[c] = of_x;
    factors[channels + c] = of_one;
}

// dx = dz * scale + x * of_x + of_one.
KERNEL batch_norm_backward(
    const float *x, const float *dy, const float *saved, const float *factors, float *dx, int n, int channels, float low, float high, float slope
) {
    int i = INDEX;
    if (i >= n) return;
    int c = i % channels;
    float v = x[i], a = saved[2 * channels + c], b = saved[3 * channels + c];
    float dz = dy[i] * ramp(fmaf(v, a, b), low, high, slope);
    dx[i] = fmaf(dz, a, fmaf(v, factors[c], factors[channels + c]));
}

// y = gain * sum of x. Numbers: loops that stay, loops that are summed; of each count and step.
KERNEL reduce(const float *x, float *y, int n, int terms, float gain, Numbers s) {
    int i = INDEX;
    if (i >= n) return;
    const int *summed = s.n + 2 + 2 * s.n[0];
    int base = offset(s.n + 2, s.n[0], i);
    double sum = 0.0;
    for (int t = 0; t < terms; t++) sum += x[base + offset(summed, s.n[1], t)];
    y[i] = (float)(sum * (double)gain);
}

// A thread for a row: these are short, or few.
KERNEL softmax(const float *x, float *y, int rows, int len) {
    int r = INDEX;
    if (r >= rows) return;
    x += r * len;
    y += r * len;
    float most = -__int_as_float(0x7f800000);
    for (int i = 0; i < len; i++) most = x[i] > most ? x[i] : most;
    float sum = 0.0f;
    for (int i = 0; i < len; i++) {
        y[i] = exponential(x[i] - most);
        sum += y[i];
    }
    for (int i = 0; i < len; i++) y[i] /= sum;
}

KERNEL softmax_backward(const float *y, const float *dy, float *dx, int rows, int len) {
    int r = INDEX;
    if (r >= rows) return;
    double sum = 0.0;
    for (int i = r * len; i < (r + 1) * len; i++) sum += (double)dy[i] * (double)y[i];
    for (int i = r * len; i < (r + 1) * len; i++) dx[i] = y[i] * (dy[i] - (float)sum);
}

// Products of computed matrices [m, k] and [k, n]; one of them may stand for the whole batch.
KERNEL matmul(const float *a, const float *b, float *y, int elements, int m, int k, int n, int a_shared, int b_shared) {
    int i = INDEX;
    if (i >= elements) return;
    int row = i / n, column = i % n;
    a += (a_shared ? row % m : row) * k;
    b += (b_shared ? 0 : row / m * k * n) + column;
    float sum = 0.0f;
    for (int t = 0; t < k; t++) sum = fmaf(a[t], b[t * n], sum);
    y[i] = sum;
}
