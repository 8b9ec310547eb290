// Kernels of the CUDA device. No includes and no more than C with templates: NVRTC compiles this text for a GPU, and a C++ compiler for the tests on the host.
//
// A thread makes one element of a result, or a part of one sum, in a fixed order. There are no atomics, and every fused multiply-add is
// written (contraction is off): the same bits in every run, and, where the CPU's kernels have the same order, its bits.

#define KERNEL extern "C" __global__ void
// Its threads wait for each other. Two blocks are to fit a multiprocessor.
#define BLOCK_KERNEL extern "C" __global__ void __launch_bounds__(256, 2)
#define INDEX ((int)(blockIdx.x * blockDim.x + threadIdx.x))

// What a kernel must know of shapes; each says what the numbers are.
struct Numbers {
    int n[32];
};

// e^x, sigmoid and tanh, step by step those of the crate `tensor`.

__device__ float power_of_two(int n) {
    return __uint_as_float((unsigned)(n + 127) << 23);
}

__device__ float exponential(float x) {
    float clamped = x < -104.0f ? -104.0f : x;
    clamped = clamped > 89.0f ? 89.0f : clamped;
    float rounded = rintf(clamped * 1.44269504088896340736f);
    float r = fmaf(rounded, -0.6933594f, clamped);
    r = fmaf(rounded, 2.1219444e-4f, r);
    float p = 1.9875691e-4f;
    p = fmaf(p, r, 1.3981999e-3f);
    p = fmaf(p, r, 8.333452e-3f);
    p = fmaf(p, r, 4.1665796e-2f);
    p = fmaf(p, r, 1.6666666e-1f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r * r, r);
    p += 1.0f;
    // Added to 1.5 * 2^23, a whole number is the low bits of the sum.
    const float big = 12582912.0f;
    int n = (int)(__float_as_uint(rounded + big) - __float_as_uint(big));
    int half = n >> 1;
    return p * power_of_two(half) * power_of_two((int)((unsigned)n - (unsigned)half));
}

__device__ float sigmoid(float x) {
    return 1.0f / (1.0f + exponential(-x));
}

__device__ float tangent(float x) {
    float a = fabsf(x), s = x * x;
    float p = -0.053968254f;
    p = fmaf(p, s, 0.13333333f);
    p = fmaf(p, s, -0.33333334f);
    float near = fmaf(p * s, x, x);
    float t = exponential(-2.0f * a);
    float far = copysignf((1.0f - t) / (1.0f + t), x);
    return a < 0.25f ? near : far;
}

// NaN stays.
__device__ float at_least(float x, float low) {
    return x < low ? low : x;
}

__device__ float at_most(float x, float high) {
    return x > high ? high : x;
}

// The numbers of the enum `Activation`, in its order; `a` and `b` are its fields.
enum Kind { NONE, RELU, LEAKY_RELU, CLIP, SIGMOID, SWISH, HARD_SIGMOID, HARD_SWISH, MISH, TANH, EXP };

__device__ float activate(int kind, float a, float b, float x) {
    switch (kind) {
    case RELU: return at_least(x, 0.0f);
    case LEAKY_RELU: return x * (x < 0.0f ? a : 1.0f);
    case CLIP: return at_most(at_least(x, a), b);
    case SIGMOID: return sigmoid(x);
    case SWISH: return x * sigmoid(a * x);
    case HARD_SIGMOID: return at_most(at_least(fmaf(x, a, b), 0.0f), 1.0f);
    case HARD_SWISH: return x * at_most(at_least(fmaf(x, 1.0f / 6.0f, 0.5f), 0.0f), 1.0f);
    case MISH: {
        float e = exponential(x > 20.0f ? 20.0f : x);
        float n = e * (e + 2.0f);
        return x * (n / (n + 2.0f));
    }
    case TANH: return tangent(x);
    case EXP: return exponential(x);
    default: return x;
    }
}

// f'(x).
__device__ float derivative(int kind, float a, float b, float x) {
    switch (kind) {
    case RELU: return x > 0.0f ? 1.0f : 0.0f;
    case LEAKY_RELU: return x > 0.0f ? 1.0f : a;
    case CLIP: return x > a && x < b ? 1.0f : 0.0f;
    case SIGMOID: {
        float s = sigmoid(x);
        return s * (1.0f - s);
    }
    case SWISH: {
        float s = sigmoid(a * x);
        return fmaf(a * x * s, 1.0f - s, s);
    }
    case HARD_SIGMOID: {
        float line = fmaf(x, a, b);
        return line > 0.0f && line < 1.0f ? a : 0.0f;
    }
    case HARD_SWISH: {
        float gate = fmaf(x, 1.0f / 6.0f, 0.5f);
        float inside = gate > 0.0f && gate < 1.0f ? x * (1.0f / 6.0f) : 0.0f;
        return at_most(at_least(gate, 0.0f), 1.0f) + inside;
    }
    case MISH: {
        float e = exponential(x > 20.0f ? 20.0f : x);
        float n = e * (e + 2.0f);
        float t = n / (n + 2.0f);
        return fmaf(x * sigmoid(x), 1.0f - t * t, t);
    }
    case TANH: {
        float t = tangent(x);
        return 1.0f - t * t;
    }
    case EXP: return exponential(x);
    default: return 1.0f;
    }
}

// f' at the x of which f(x) = y.
__device__ float derivative_at_output(int kind, float a, float b, float y) {
    switch (kind) {
    case SIGMOID: return y * (1.0f - y);
    case TANH: return 1.0f - y * y;
    case EXP: return y;
    case HARD_SIGMOID: return y > 0.0f && y < 1.0f ? a : 0.0f;
    default: return derivative(kind, a, b, y);
    }
}
