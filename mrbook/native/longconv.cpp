// A long causal convolution by its definition, with sums kept in registers.
#include "simd.h"

namespace {

// out[t] = sum_k taps[k] p[t + k * step] for begin <= t < end, where p is readable wherever this
// reads.  Partial sums of 256 taps bound the rounding error of a long sum in float32.
template <class T>
void dot_window(long begin, long end, const T* p, long step, const T* taps, long n, T* out) {
    upward<8, T>(begin, end, [&](auto at, long t) {
        typedef decltype(at) A;
        typename A::value total[A::units] = {};
        for (long first = 0; first < n; first += 256) {
            typename A::value sum[A::units] = {};
            const long last = std::min(n, first + 256);
            for (long k = first; k < last; k++) {
                UNROLL for (int u = 0; u < A::units; u++)
                    sum[u] += taps[k] * A::load(p + t + k * step + u * A::width);
            }
            UNROLL for (int u = 0; u < A::units; u++) total[u] += sum[u];
        }
        UNROLL for (int u = 0; u < A::units; u++) A::store(out + t + u * A::width, total[u]);
    });
}

// y[t] = sum_k taps[k] u[t - k], or u[t + k] if reverse, for 0 <= t < outs, with u = 0 outside of
// 0..n-1.  padded has room for n + 2 * block values.
template <class T>
void convolve(const T* u, long n, const T* taps, long m, T* y, long outs, bool reverse, T* padded) {
    constexpr long block = 8 * Simd<T>::width;
    T* p = padded + block;
    std::fill(padded, p, T(0));
    std::copy(u, u + n, p);
    std::fill(p + n, p + n + block, T(0));
    for (long t = 0; t < outs; t += block) {
        const long end = std::min(outs, t + block);
        // Only the taps that meet u: outside of them the sum has nothing but zeros.
        const long first = reverse ? 0 : std::max(0L, t - n + 1);
        const long last = std::min(m, reverse ? n - t : end);
        if (first >= last) std::fill(y + t, y + end, T(0));
        else if (reverse) dot_window(t, end, p, 1, taps, last, y);
        else dot_window(t, end, p - first, -1, taps + first, last - first, y);
    }
}

template <class T> void convolve_all(const int64_t* shape, const T* u, const T* k, T* y) {
    const long batch = shape[0], channels = shape[1], n = shape[2], m = shape[3], outs = shape[4];
    const bool batched = shape[5], reverse = shape[6];
#pragma omp parallel num_threads(shape[7])
    {
        const long room = n + 16 * Simd<T>::width;
        Scratch<T> scratch(1, room);
        T* padded = scratch.row(room);
#pragma omp for schedule(static)
        for (long i = 0; i < batch * channels; i++) {
            const T* taps = k + (batched ? i : i % channels) * m;
            convolve(u + i * n, n, taps, m, y + i * outs, outs, reverse, padded);
        }
    }
}

}  // namespace

// shape: batch, channels, samples of u, taps of k, samples of y, whether k has a batch too, whether
// to run against time, threads.  All arrays are contiguous.
#define CAUSAL_CONV(T, NAME)                                                             \
    extern "C" void causal_conv_##NAME(const int64_t* shape, const T* u, const T* k, T* y) { \
        convolve_all<T>(shape, u, k, y);                                                 \
    }
CAUSAL_CONV(float, float32)
CAUSAL_CONV(double, float64)
