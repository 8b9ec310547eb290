// Functions that few networks have, in double precision. Only elementwise kernels know of them: others would need more registers.

// Numbers behind those of `Kind`: the enum `Rare`, in its order.
enum RareKind { ELU = EXP + 1, SOFTPLUS, SOFTSIGN, GELU, GELU_TANH, ERF, LOGARITHM, ROOT, RECIPROCAL, ABSOLUTE, SINE, COSINE };

// What tanh is taken of in GELU's tanh form.
__device__ double gelu_inner(double x) {
    return 0.79788456080286536 * (x + 0.044715 * x * x * x);
}

__device__ float rare(int kind, float a, float b, float v) {
    double x = v;
    switch (kind) {
    case ELU: return (float)(x < 0.0 ? (double)b * (double)a * expm1(x) : (double)b * x);
    case SOFTPLUS: return (float)((x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x))));
    case SOFTSIGN: return (float)(x / (1.0 + fabs(x)));
    case GELU: return (float)(x * 0.5 * (1.0 + erf(x * 0.70710678118654752)));
    case GELU_TANH: return (float)(0.5 * x * (1.0 + tanh(gelu_inner(x))));
    case ERF: return (float)erf(x);
    case LOGARITHM: return (float)log(x);
    case ROOT: return (float)sqrt(x);
    case RECIPROCAL: return (float)(1.0 / x);
    case ABSOLUTE: return (float)fabs(x);
    case SINE: return (float)sin(x);
    default: return (float)cos(x);
    }
}

// f'(x).
__device__ float rare_derivative(int kind, float a, float b, float v) {
    double x = v;
    switch (kind) {
    case ELU: return (float)(x <= 0.0 ? (double)b * (double)a * exp(x) : (double)b);
    case SOFTPLUS: return (float)(1.0 / (1.0 + exp(-x)));
    case SOFTSIGN: {
        double d = 1.0 + fabs(x);
        return (float)(1.0 / (d * d));
    }
    case GELU: return (float)(0.5 * (1.0 + erf(x * 0.70710678118654752)) + x * 0.39894228040143268 * exp(-0.5 * x * x));
    case GELU_TANH: {
        double t = tanh(gelu_inner(x));
        double along = 0.79788456080286536 * (1.0 + 3.0 * 0.044715 * x * x);
        return (float)(0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * along);
    }
    case ERF: return (float)(1.1283791670955126 * exp(-x * x));
    case LOGARITHM: return (float)(1.0 / x);
    case ROOT: return (float)(0.5 / sqrt(x));
    case RECIPROCAL: return (float)(-1.0 / (x * x));
    case ABSOLUTE: return x > 0.0 ? 1.0f : x < 0.0 ? -1.0f : 0.0f;
    case SINE: return (float)cos(x);
    default: return (float)-sin(x);
    }
}
