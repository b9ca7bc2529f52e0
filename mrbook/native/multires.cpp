// MultiresConv on the CPU: all levels of a sequence while it is in cache, forward and backward.
//
// With a_0 = x and, for level l = 1..J of dilation d = 2^(l-1),
//
//     a_l[t] = sum_k c_l[k] a_{l-1}[t - k d]            c_l: the taps of h0 by lag
//     y[t]   = sum_l sum_j q_l[j] a_{l-1}[t - j d]      q_l: the readout of level l
//
// q_l is h1 by lag convolved with the weights of the coefficients kept at level l.  q_1 also holds
// the skip weight and q_J the weight of a_J, so one pass over a_{l-1} gives both a_l and the share
// of the level in y, and a_J itself is never formed.
#include "simd.h"

namespace {

struct Shape {
    int64_t batch, channels, length, taps, depth, filters, weights, threads;
    const int64_t* kept;  // coefficients kept per level, coarsest first
    explicit Shape(const int64_t* s)
        : batch(s[0]), channels(s[1]), length(s[2]), taps(s[3]), depth(s[4]), filters(s[5]),
          weights(s[6]), threads(s[7]), kept(s + 8) {}
};

template <class T> struct Level {
    std::vector<T> c, q;  // by lag, in units of the dilation; c is empty where a_l isn't needed
    long dilation;
};
template <class T> using Levels = std::vector<Level<T>>;

// The levels of one channel.
template <class T>
void read_levels(const Shape& s, const T* h0, const T* h1, const T* w, Levels<T>& levels) {
    const long K = s.taps;
    levels.resize(s.depth);
    const T* weight = w + 1;  // w[0] belongs to a_J; then the levels follow, coarsest first
    for (long l = s.depth - 1; l >= 0; l--) {
        const long kept = s.kept[s.depth - 1 - l], row = s.filters > 1 ? l * K : 0;
        const bool last = l == s.depth - 1;
        Level<T>& level = levels[l];
        level.dilation = 1L << l;
        level.c.resize(K);
        level.q.assign(kept ? 2 * (kept - 1) + K : last ? K : l == 0, T(0));
        for (long k = 0; k < K; k++) {
            level.c[k] = h0[row + K - 1 - k];
            for (long i = 0; i < kept; i++) level.q[2 * i + k] += weight[i] * h1[row + K - 1 - k];
            if (last) level.q[k] += w[0] * level.c[k];
        }
        if (last) level.c.clear();
        weight += kept;
    }
    levels[0].q[0] += w[s.weights - 1];
}

// Two levels in one pass over memory: as many multiplications for two taps, half the traffic.
template <class T> void merge(const Level<T>& one, const Level<T>& two, Level<T>& both) {
    both.dilation = one.dilation;
    both.c.assign(two.c.empty() ? 0 : one.c.size() + 2 * (two.c.size() - 1), T(0));
    both.q.assign(std::max(one.q.size(), one.c.size() + 2 * (two.q.size() - 1)), T(0));
    std::copy(one.q.begin(), one.q.end(), both.q.begin());
    for (size_t k = 0; k < one.c.size(); k++) {
        for (size_t i = 0; i < two.c.size(); i++) both.c[2 * i + k] += one.c[k] * two.c[i];
        for (size_t i = 0; i < two.q.size(); i++) both.q[2 * i + k] += one.c[k] * two.q[i];
    }
}

// ---- forward ----------------------------------------------------------------------------------

// next and y at t.  TAPS > 0: that many taps in both filters, known to the compiler.
template <int TAPS, bool NEXT, bool ADD, class A, class C, class T>
INLINE void forward_at(A, long t, const T* a, T* next, T* y, const C* c, const C* q, long d) {
    typename A::value n[A::units], s[A::units];
    UNROLL for (int u = 0; u < A::units; u++) {
        auto v = A::load(a + t + u * A::width);
        if (NEXT) n[u] = c[0] * v;
        s[u] = q[0] * v;
        if (ADD) s[u] += A::load(y + t + u * A::width);
    }
    UNROLL for (int k = 1; k < TAPS; k++) {
        UNROLL for (int u = 0; u < A::units; u++) {
            auto v = A::load(a + t - k * d + u * A::width);
            if (NEXT) n[u] += c[k] * v;
            s[u] += q[k] * v;
        }
    }
    UNROLL for (int u = 0; u < A::units; u++) {
        if (NEXT) A::store(next + t + u * A::width, n[u]);
        A::store(y + t + u * A::width, s[u]);
    }
}

template <int TAPS, bool NEXT, bool ADD, class T>
void forward_taps(long begin, long end, const T* a, T* next, T* y, const T* c, const T* q, long d) {
    typename Simd<T>::vec cv[TAPS], qv[TAPS];
    T cs[TAPS], qs[TAPS];
    for (int k = 0; k < TAPS; k++) {
        cv[k] = typename Simd<T>::vec{} + (cs[k] = NEXT ? c[k] : 0);
        qv[k] = typename Simd<T>::vec{} + (qs[k] = q[k]);
    }
    downward<2, T>(begin, end, [&](auto at, long t) {
        if constexpr (at.scalar) forward_at<TAPS, NEXT, ADD>(at, t, a, next, y, cs, qs, d);
        else forward_at<TAPS, NEXT, ADD>(at, t, a, next, y, cv, qv, d);
    });
}

// out = or += a filter of any number of taps.
template <class T>
void filter(long begin, long end, const T* a, T* out, const T* c, long taps, long d, bool add) {
    downward<4, T>(begin, end, [&](auto at, long t) {
        typedef decltype(at) A;
        typename A::value s[A::units];
        UNROLL for (int u = 0; u < A::units; u++)
            s[u] = add ? A::load(out + t + u * A::width) : typename A::value{};
        for (long k = 0; k < taps; k++)
            UNROLL for (int u = 0; u < A::units; u++)
                s[u] += c[k] * A::load(a + t - k * d + u * A::width);
        UNROLL for (int u = 0; u < A::units; u++) A::store(out + t + u * A::width, s[u]);
    });
}

// One level over n samples: next, which may be a itself, and y = or += its share.  Taps that reach
// before the start are left out.
template <class T>
void forward_level(const Level<T>& level, long d, const T* a, T* next, T* y, bool add, long n) {
    const T *c = level.c.data(), *q = level.q.data();
    const long nc = level.c.size(), nq = y ? level.q.size() : 0, most = std::max(nc, nq);
    for (long first = std::min(most - 1, (n - 1) / d), end = n; first >= 0; first--) {
        const long begin = first * d, taps = std::min(nc, first + 1), reads = std::min(nq, first + 1);
        auto run = [&](auto count) {
            constexpr int K = count;
            if (nc && add) forward_taps<K, true, true>(begin, end, a, next, y, c, q, d);
            else if (nc) forward_taps<K, true, false>(begin, end, a, next, y, c, q, d);
            else if (add) forward_taps<K, false, true>(begin, end, a, next, y, c, q, d);
            else forward_taps<K, false, false>(begin, end, a, next, y, c, q, d);
        };
        const bool equal = reads == taps || nc == 0;
        if (equal && reads == 2) run(std::integral_constant<int, 2>{});
        else if (equal && reads == 4) run(std::integral_constant<int, 4>{});
        else {
            if (reads || !add) filter(begin, end, a, y, q, reads, d, add);
            if (taps) filter(begin, end, a, next, c, taps, d, false);
        }
        end = begin;
    }
}

// How a sequence is cut so that what is worked on stays in the first-level cache: the fine levels
// run over blocks of time, each with the halo of the past that it needs; then the others, whose
// dilations are multiples of 2^split, run over columns: every 2^split-th vector of the sequence.
template <class T> struct Cut {
    long split = 0, block, halo = 0, width = 0;
    Cut(long L, const Levels<T>& levels) : block(16384 / sizeof(T)) {
        const long w = Simd<T>::width, depth = levels.size();
        if (L <= block) return;
        while (((L + (1L << split) - 1) >> split) * w > block) split++;
        if (split >= depth) split = 0;
        for (long l = 0; l < split; l++) halo += (std::max(levels[l].c.size(), levels[l].q.size()) - 1) << l;
        halo = (halo + w - 1) / w * w;
        if (halo > L / 4) split = 0;
        block = std::max(block, 4 * halo);
        width = w;
    }
};

template <class T>
void forward_sequence(const Levels<T>& fine, const Levels<T>& coarse, const Cut<T>& cut, const T* x, T* y, long L, T* a, T* column, T* part) {
    if (!cut.split) {
        for (size_t l = 0; l < fine.size(); l++)
            forward_level(fine[l], fine[l].dilation, l ? a : x, a, y, l > 0, L);
        return;
    }
    // From the end to the start: what a block leaves in its halo is overwritten by the next one.
    for (long t = (L - 1) / cut.block * cut.block; t >= 0; t -= cut.block) {
        const long from = std::max(0L, t - cut.halo), n = std::min(t + cut.block, L) - from;
        for (size_t l = 0; l < fine.size(); l++)
            forward_level(fine[l], fine[l].dilation, l ? a + from : x + from, a + from, y + from, l > 0, n);
    }
    const long d0 = 1L << cut.split, w = cut.width;
    for (long r = 0; r < d0; r += w) {
        const long rows = (L - r + d0 - 1) / d0;
        for (long i = 0; i < rows; i++) {
            const T* from = a + r + i * d0;
            upward<1, T>(0, std::min(w, L - r - i * d0), [&](auto at, long t) { at.store(column + i * w + t, at.load(from + t)); });
        }
        for (size_t l = 0; l < coarse.size(); l++)
            forward_level(coarse[l], coarse[l].dilation / d0 * w, column, column, part, l > 0, rows * w);
        for (long i = 0; i < rows; i++) {
            T* to = y + r + i * d0;
            upward<1, T>(0, std::min(w, L - r - i * d0), [&](auto at, long t) { at.store(to + t, at.load(to + t) + at.load(part + i * w + t)); });
        }
    }
}

template <class T> void merge_pairs(const Levels<T>& levels, long lo, long hi, Levels<T>& out) {
    long n = 0;
    out.resize((hi - lo + 1) / 2 * 2);
    for (long l = lo; l < hi; n++) {
        const bool pair = l + 1 < hi && levels[l].c.size() == 2 && levels[l].q.size() == 2 && levels[l+1].q.size() == 2;
        if (pair) merge(levels[l], levels[l + 1], out[n]), l += 2;
        else out[n] = levels[l++];
    }
    out.resize(n);
}

template <class T>
void forward(const Shape& s, const T* x, const T* h0, const T* h1, const T* w, T* y) {
    const long L = s.length, filters = s.filters * s.taps;
#pragma omp parallel num_threads(s.threads)
    {
        Scratch<T> scratch(3, L);
        T *a = scratch.row(L), *column = scratch.row(L), *part = scratch.row(L);
        Levels<T> levels, fine, coarse;
        long ready = -1;
#pragma omp for schedule(static)
        for (long i = 0; i < s.channels * s.batch; i++) {
            const long d = i / s.batch, b = i % s.batch, at = (b * s.channels + d) * L;
            if (d != ready) read_levels(s, h0 + d * filters, h1 + d * filters, w + d * s.weights, levels);
            const Cut<T> cut(L, levels);
            if (d != ready) {
                merge_pairs(levels, 0, cut.split ? cut.split : s.depth, fine);
                merge_pairs(levels, cut.split ? cut.split : s.depth, s.depth, coarse);
            }
            ready = d;
            forward_sequence(fine, coarse, cut, x + at, y + at, L, a, column, part);
        }
    }
}

// ---- backward ---------------------------------------------------------------------------------
//
// With g = dL/dy and r_l = dL/da_l (r_J is not needed), going from the coarsest level up:
//
//     r_{l-1}[s] = sum_k c_l[k] r_l[s + k d] + sum_j q_l[j] g[s + j d]
//     dL/dc_l[k] = sum_s r_l[s + k d] a_{l-1}[s]
//     dL/dq_l[j] = sum_s g[s + j d] a_{l-1}[s]
//
// The values that a row needs for r_{l-1} are the very ones that meet a_{l-1}[s] in the sums.

template <int TAPS, bool INNER, class T>
void backward_taps(long begin, long end, const T* a, const T* r, const T* g, T* out, const T* c,
                   const T* q, long d, T* dc, T* dq) {
    typedef typename Simd<T>::vec V;
    V dcv[TAPS] = {}, dqv[TAPS] = {};
    T dcs[TAPS] = {}, dqs[TAPS] = {};
    upward<1, T>(begin, end, [&](auto at, long s) {
        const auto v = at.load(a + s);
        typename decltype(at)::value sum{};
        UNROLL for (int k = 0; k < TAPS; k++) {
            auto gk = at.load(g + s + k * d), rk = INNER ? at.load(r + s + k * d) : gk;
            sum += q[k] * gk;
            if (INNER) sum += c[k] * rk;
            if constexpr (at.scalar) dqs[k] += gk * v, dcs[k] += rk * v;
            else dqv[k] += gk * v, dcv[k] += rk * v;
        }
        at.store(out + s, sum);
    });
    for (int k = 0; k < TAPS; k++) {
        dq[k] += dqs[k] + horizontal_sum<T>(dqv[k]);
        if (INNER) dc[k] += dcs[k] + horizontal_sum<T>(dcv[k]);
    }
}

template <class T> T dot(long begin, long end, const T* a, const T* b) {
    typename Simd<T>::vec v = {};
    T s = 0;
    upward<1, T>(begin, end, [&](auto at, long t) {
        if constexpr (at.scalar) s += a[t] * b[t];
        else v += at.load(a + t) * at.load(b + t);
    });
    return s + horizontal_sum<T>(v);
}

// out = r_{l-1} over n samples, and the sums for c and q added to dc and dq.
template <class T>
void backward_level(const Level<T>& level, const T* a, const T* r, const T* g, T* out, T* dc, T* dq, long n) {
    const T *c = level.c.data(), *q = level.q.data();
    const long nc = level.c.size(), nq = level.q.size(), most = std::max(nc, nq), d = level.dilation;
    for (long last = std::min(most - 1, (n - 1) / d), begin = 0; last >= 0; last--) {
        const long end = n - last * d, taps = std::min(nc, last + 1), reads = std::min(nq, last + 1);
        auto run = [&](auto count) {
            constexpr int K = count;
            if (nc) backward_taps<K, true>(begin, end, a, r, g, out, c, q, d, dc, dq);
            else backward_taps<K, false>(begin, end, a, r, g, out, c, q, d, dc, dq);
        };
        const bool equal = reads == taps || nc == 0;
        if (equal && reads == 2) run(std::integral_constant<int, 2>{});
        else if (equal && reads == 4) run(std::integral_constant<int, 4>{});
        else {
            filter(begin, end, g, out, q, reads, -d, false);
            if (taps) filter(begin, end, r, out, c, taps, -d, true);
            for (long k = 0; k < reads; k++) dq[k] += dot(begin, end, g + k * d, a);
            for (long k = 0; k < taps; k++) dc[k] += dot(begin, end, r + k * d, a);
        }
        begin = end;
    }
}

// From the sums for c and q to the gradients of h0, h1 and w of one channel.
template <class T>
void read_gradients(const Shape& s, const double* sums, const Levels<T>& levels, const T* h0, const T* h1,
                    const T* w, T* dh0, T* dh1, T* dw) {
    const long K = s.taps, rows = s.filters;
    std::vector<double> g0(rows * K), g1(rows * K), gw(s.weights);
    std::vector<const double*> starts;
    for (const auto& level : levels) starts.push_back(sums), sums += level.c.size() + level.q.size();
    gw[s.weights - 1] = starts[0][levels[0].c.size()];
    for (long l = s.depth - 1, first = 1; l >= 0; l--) {
        const long kept = s.kept[s.depth - 1 - l], row = rows > 1 ? l * K : 0;
        const bool last = l == s.depth - 1;
        const double *dc = starts[l], *dq = dc + levels[l].c.size();
        for (long k = 0; k < K; k++) {
            const long tap = row + K - 1 - k;
            g0[tap] += last ? w[0] * dq[k] : dc[k];
            if (last) gw[0] += h0[tap] * dq[k];
            for (long i = 0; i < kept; i++) {
                g1[tap] += w[first + i] * dq[2 * i + k];
                gw[first + i] += h1[tap] * dq[2 * i + k];
            }
        }
        first += kept;
    }
    std::copy(g0.begin(), g0.end(), dh0);
    std::copy(g1.begin(), g1.end(), dh1);
    std::copy(gw.begin(), gw.end(), dw);
}

template <class T>
void backward(const Shape& s, const T* g, const T* x, const T* h0, const T* h1, const T* w, T* dx,
              T* dh0, T* dh1, T* dw) {
    const long L = s.length, filters = s.filters * s.taps;
    long width = 0;  // how many sums a sequence gives
    {
        Levels<T> levels;
        read_levels(s, h0, h1, w, levels);
        for (const auto& level : levels) width += level.c.size() + level.q.size();
    }
    std::vector<T> sums(s.channels * s.batch * width);
#pragma omp parallel num_threads(s.threads)
    {
        Scratch<T> scratch(s.depth + 1, L);
        std::vector<T*> a(s.depth);
        for (auto& row : a) row = scratch.row(L);
        T* spare[2] = {a[0], scratch.row(L)};
        Levels<T> levels;
        long ready = -1;
#pragma omp for schedule(static)
        for (long i = 0; i < s.channels * s.batch; i++) {
            const long d = i / s.batch, at = (i % s.batch * s.channels + d) * L;
            if (d != ready) read_levels(s, h0 + d * filters, h1 + d * filters, w + d * s.weights, levels);
            ready = d;
            for (long l = 0; l + 1 < s.depth; l++)
                forward_level(levels[l], levels[l].dilation, l ? a[l] : x + at, a[l + 1], (T*)nullptr, true, L);
            T *sum = sums.data() + (i + 1) * width;
            const T* r = nullptr;
            for (long l = s.depth - 1; l >= 0; l--) {
                const Level<T>& level = levels[l];
                T* out = l ? spare[l % 2] : dx + at;
                sum -= level.c.size() + level.q.size();
                backward_level(level, l ? a[l] : x + at, r, g + at, out, sum, sum + level.c.size(), L);
                r = out;
            }
        }
        // The batch is summed in its own order, so the result doesn't depend on the threads.
        std::vector<double> total(width);
#pragma omp for schedule(static)
        for (long d = 0; d < s.channels; d++) {
            std::fill(total.begin(), total.end(), 0.0);
            for (long i = d * s.batch; i < (d + 1) * s.batch; i++)
                for (long j = 0; j < width; j++) total[j] += sums[i * width + j];
            const long f = d * filters, m = d * s.weights;
            read_levels(s, h0 + f, h1 + f, w + m, levels);
            read_gradients(s, total.data(), levels, h0 + f, h1 + f, w + m, dh0 + f, dh1 + f, dw + m);
        }
    }
}

}  // namespace

// shape: batch, channels, length, taps, depth, rows of filters (1 or depth), weights, threads, and
// the coefficients kept per level, coarsest first.  All arrays are contiguous.
#define MULTIRES(T, NAME)                                                                         \
    extern "C" void multires_forward_##NAME(const int64_t* shape, const T* x, const T* h0,        \
                                            const T* h1, const T* w, T* y) {                      \
        forward<T>(Shape(shape), x, h0, h1, w, y);                                                \
    }                                                                                             \
    extern "C" void multires_backward_##NAME(const int64_t* shape, const T* g, const T* x,        \
                                             const T* h0, const T* h1, const T* w, T* dx, T* dh0, \
                                             T* dh1, T* dw) {                                     \
        backward<T>(Shape(shape), g, x, h0, h1, w, dx, dh0, dh1, dw);                             \
    }
MULTIRES(float, float32)
MULTIRES(double, float64)
