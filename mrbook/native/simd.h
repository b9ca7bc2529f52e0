// One vector of 64 bytes in the notation of GCC and Clang: an AVX-512 register, two AVX registers or
// four NEON registers, whatever the machine has.  No intrinsics.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <vector>

#define INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

template <class T> struct Simd {
    typedef T vec __attribute__((vector_size(64)));
    typedef T unaligned __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
    static constexpr long width = 64 / sizeof(T);
};

// U values of type V side by side: V is the vector of T, or T itself for the last few elements.
template <class T, class V, int U> struct At {
    typedef V value;
    static constexpr bool scalar = std::is_same_v<V, T>;
    static constexpr int units = U;
    static constexpr long width = scalar ? 1 : Simd<T>::width;
    static INLINE V load(const T* p) {
        if constexpr (scalar) return *p;
        else return *(const typename Simd<T>::unaligned*)p;
    }
    static INLINE void store(T* p, V v) {
        if constexpr (scalar) *p = v;
        else *(typename Simd<T>::unaligned*)p = v;
    }
};

// f(at, t) for every t of [begin, end), in blocks of U vectors where they fit.
template <int U, class T, class F> INLINE void upward(long begin, long end, F f) {
    typedef typename Simd<T>::vec V;
    constexpr long w = Simd<T>::width;
    long t = begin;
    for (; t < end && t % w; t++) f(At<T, T, 1>{}, t);
    for (; t + U * w <= end; t += U * w) f(At<T, V, U>{}, t);
    if constexpr (U > 1) for (; t + w <= end; t += w) f(At<T, V, 1>{}, t);
    for (; t < end; t++) f(At<T, T, 1>{}, t);
}

// The same from the end to the start.
template <int U, class T, class F> INLINE void downward(long begin, long end, F f) {
    typedef typename Simd<T>::vec V;
    constexpr long w = Simd<T>::width;
    long t = end;
    while (t > begin && t % w) f(At<T, T, 1>{}, --t);
    while (t - U * w >= begin) f(At<T, V, U>{}, t -= U * w);
    if constexpr (U > 1) while (t - w >= begin) f(At<T, V, 1>{}, t -= w);
    while (t > begin) f(At<T, T, 1>{}, --t);
}

template <class T> T horizontal_sum(typename Simd<T>::vec v) {
    T s = 0;
    for (long i = 0; i < Simd<T>::width; i++) s += v[i];
    return s;
}

// Memory for one thread: rows that start on a cache line, not cleared.  Rows are kept from starting
// at equal offsets within a page: a load would wait for a store to the same offset in another row.
template <class T> class Scratch {
    T* data;
    long used = 0;
  public:
    explicit Scratch(long rows, long n) : data((T*)std::aligned_alloc(4096, bytes(rows, n))) {}
    ~Scratch() { std::free(data); }
    Scratch(const Scratch&) = delete;
    static long stride(long n) { return (n * (long)sizeof(T) + 4095) / 4096 * 4096 + 1344; }
    static long bytes(long rows, long n) { return (rows * stride(n) + 4095) / 4096 * 4096; }
    T* row(long n) {
        T* p = data + used;
        used += stride(n) / sizeof(T);
        return p;
    }
};
