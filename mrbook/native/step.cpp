// One time step of MultiresConv from its ring buffers, all levels and channels in one call.
#include "simd.h"

namespace {

struct Ring {
    int64_t dilation, taps, reads, first, size;  // first and size in rows of one value per channel
};

// The channels from d on, at one time: a goes down the levels, y collects what they give.
template <class A, class T>
INLINE void step_at(A, long d, long channels, long depth, const Ring* ring, const int64_t* slots,
                    const T* filters, T* rings, const T* u, T* y) {
    typename A::value a = A::load(u + d), sum{};
    const T* f = filters + d;
    for (long l = 0; l < depth; l++) {
        typename A::value next{};
        for (long k = 0; k < std::max(ring[l].taps, ring[l].reads); k++) {
            const auto past = k ? A::load(rings + slots[k] * channels + d) : a;
            if (k < ring[l].taps) next += A::load(f + k * channels) * past;
            if (k < ring[l].reads) sum += A::load(f + (ring[l].taps + k) * channels) * past;
        }
        A::store(rings + slots[0] * channels + d, a);  // where the oldest value was read
        slots += std::max(ring[l].taps, ring[l].reads);
        f += (ring[l].taps + ring[l].reads) * channels;
        a = next;
    }
    A::store(y + d, sum);
}

template <class T>
void step_sequence(long b, const int64_t* shape, const T* filters, const T* u, int64_t* position,
                   T* rings, T* y) {
    const long channels = shape[1], depth = shape[2], rows = shape[3];
    const Ring* ring = (const Ring*)(shape + 5);
    std::vector<int64_t> slots;
    const long t = position[b]++;
    for (long l = 0; l < depth; l++)
        for (long k = 0; k < std::max(ring[l].taps, ring[l].reads); k++) {
            const long at = (t - k * ring[l].dilation) % ring[l].size;
            slots.push_back(ring[l].first + (at < 0 ? at + ring[l].size : at));
        }
    upward<1, T>(0, channels, [&](auto at, long d) {
        step_at(at, d, channels, depth, ring, slots.data(), filters, rings + b * rows * channels,
                u + b * channels, y + b * channels);
    });
}

template <class T>
void step(const int64_t* shape, const T* filters, const T* u, int64_t* position, T* rings, T* y) {
    const long batch = shape[0], threads = shape[4];
    if (batch * shape[1] < 8192) {  // a parallel region would cost more than the work
        for (long b = 0; b < batch; b++) step_sequence(b, shape, filters, u, position, rings, y);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long b = 0; b < batch; b++) step_sequence(b, shape, filters, u, position, rings, y);
}

}  // namespace

// shape: batch, channels, depth, rows of the state, threads, and a Ring per level.  filters holds,
// level by level, the taps by lag and then the readout by lag, each with one row of channels.
#define STEP(T, NAME)                                                                            \
    extern "C" void multires_step_##NAME(const int64_t* shape, const T* filters, const T* u,     \
                                         int64_t* position, T* rings, T* y) {                    \
        step<T>(shape, filters, u, position, rings, y);                                          \
    }
STEP(float, float32)
STEP(double, float64)
