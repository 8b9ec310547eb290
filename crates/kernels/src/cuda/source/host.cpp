// A CUDA device of one thread, for tests on the host: this text, then that of the kernels, then the table of their names.
//
// The threads of a block run one after the other. Those of a BLOCK_KERNEL wait for each other: each has a stack of its own, and the turn goes round at
// __syncthreads.

#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>

struct Dimensions {
    unsigned x, y, z;
};

static Dimensions blockIdx, blockDim, threadIdx;

#define __global__
#define __device__ static
#define __shared__ static
#define __launch_bounds__(...)

static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

static inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

static inline float __int_as_float(int bits) {
    return __uint_as_float((unsigned)bits);
}

namespace host {

const unsigned THREADS = 256;
const size_t STACK = 1 << 16;

struct Fiber {
    jmp_buf at;
    ucontext_t start;
    bool begun, done;
};

static Fiber fibers[THREADS];
static char *stacks = nullptr;
static unsigned running;
static jmp_buf round;
static ucontext_t outside;
static void (*body)(void *);
static void *given;

static void wait() {
    if (_setjmp(fibers[running].at) == 0) _longjmp(round, 1);
}

static void begin() {
    body(given);
    fibers[running].done = true;
    _longjmp(round, 1);
}

// Runs each thread up to its next wait, round by round, until all are done: every other round from the last thread to the first, so that a wait that is
// missing is likely to show.
static void block(void (*kernel)(void *), void *arguments) {
    if (!stacks) stacks = (char *)std::malloc(THREADS * STACK);
    body = kernel;
    given = arguments;
    for (unsigned t = 0; t < THREADS; t++) fibers[t].begun = fibers[t].done = false;
    volatile bool more = true;
    for (volatile unsigned turn = 0; more; turn++) {
        more = false;
        for (volatile unsigned i = 0; i < THREADS; i++) {
            const unsigned t = turn % 2 ? THREADS - 1 - i : i;
            Fiber &fiber = fibers[t];
            if (fiber.done) continue;
            running = t;
            threadIdx.x = t;
            if (_setjmp(round) == 0) {
                if (fiber.begun) _longjmp(fiber.at, 1);
                fiber.begun = true;
                getcontext(&fiber.start);
                fiber.start.uc_stack.ss_sp = stacks + t * STACK;
                fiber.start.uc_stack.ss_size = STACK;
                fiber.start.uc_link = nullptr;
                makecontext(&fiber.start, begin, 0);
                swapcontext(&outside, &fiber.start);
            }
            if (!fibers[running].done) more = true;
        }
    }
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void **arguments;

    template <size_t... I> void with(std::index_sequence<I...>) {
        kernel(*(A *)arguments[I]...);
    }

    static void run(void *call) {
        ((Call *)call)->with(std::index_sequence_for<A...>());
    }
};

template <class... A> void launch(void (*kernel)(A...), bool together, const unsigned *grid, unsigned threads, void **arguments) {
    Call<A...> call = {kernel, arguments};
    blockDim = {threads, 1, 1};
    for (unsigned z = 0; z < grid[2]; z++) {
        for (unsigned y = 0; y < grid[1]; y++) {
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                threadIdx = {0, 0, 0};
                if (together) {
                    block(Call<A...>::run, &call);
                } else {
                    for (unsigned t = 0; t < threads; t++) {
                        threadIdx.x = t;
                        call.with(std::index_sequence_for<A...>());
                    }
                }
            }
        }
    }
}

} // namespace host

#define __syncthreads() host::wait()
