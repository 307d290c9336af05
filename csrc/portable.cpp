// Plain C++ for any processor: 16 words at a time, in loops that a compiler turns into vectors.
#include "loops.inl"

namespace hidiff {
namespace {

struct Isa {
    struct Vec {
        uint32_t lane[kBlock];
    };
    static constexpr int kLanes = kBlock;
    static constexpr bool kCarrySave = false, kLooksUp = false;
    static constexpr int kFlush = 0;
    static constexpr int kPixels = 1, kVecs = 1;

    typedef float Float __attribute__((vector_size(16)));
    typedef int32_t Word __attribute__((vector_size(16)));
    static constexpr int kFloats = 4, kRealPixels = 4;
    static HIDIFF_INLINE Float fma(Float a, Float b, Float c) {
        Float result;
        for (int i = 0; i < kFloats; ++i) result[i] = __builtin_fmaf(a[i], b[i], c[i]);
        return result;
    }
    static HIDIFF_INLINE uint32_t signs_of(Float x) {
        uint32_t bits = 0;
        for (int i = 0; i < kFloats; ++i) bits |= static_cast<uint32_t>(x[i] >= 0.0f) << i;
        return bits;
    }
    static HIDIFF_INLINE Float pair_sums(Float a, Float b) {
        return Float{a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]};
    }

    template <class F>
    static HIDIFF_INLINE Vec map(F f) {
        Vec result;
        for (int i = 0; i < kLanes; ++i) result.lane[i] = f(i);
        return result;
    }

    static HIDIFF_INLINE Vec zero() { return Vec{}; }
    static HIDIFF_INLINE Vec load(const uint32_t* p) {
        return map([=](int i) { return p[i]; });
    }
    static HIDIFF_INLINE Vec broadcast(uint32_t word) {
        return map([=](int) { return word; });
    }
    static HIDIFF_INLINE void store(int32_t* p, Vec v) { __builtin_memcpy(p, v.lane, sizeof v); }
    static HIDIFF_INLINE Vec bit_xor(Vec a, Vec b) {
        return map([&](int i) { return a.lane[i] ^ b.lane[i]; });
    }
    static HIDIFF_INLINE Vec bit_and(Vec a, Vec b) {
        return map([&](int i) { return a.lane[i] & b.lane[i]; });
    }
    static HIDIFF_INLINE Vec add_counts(Vec a, Vec b) {
        return map([&](int i) { return a.lane[i] + b.lane[i]; });
    }

    static HIDIFF_INLINE Vec add_bits(Vec& sum, Vec a, Vec b) {
        const Vec either = bit_xor(sum, a);
        const Vec carry = map([&](int i) {
            return (sum.lane[i] & a.lane[i]) | (either.lane[i] & b.lane[i]);
        });
        sum = bit_xor(either, b);
        return carry;
    }

    // Sums of 2, 4, 8 bits side by side. std::popcount would be a call for each word where the
    // processor's baseline has no such instruction, and keeps the compiler from using vectors.
    static HIDIFF_INLINE uint32_t ones_of(uint32_t v) {
        v -= (v >> 1) & 0x55555555u;
        v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
        v = (v + (v >> 4)) & 0x0f0f0f0fu;
        v += v >> 8;
        return (v + (v >> 16)) & 63u;
    }
    static HIDIFF_INLINE Vec add(Vec acc, Vec v) {
        return map([&](int i) { return acc.lane[i] + ones_of(v.lane[i]); });
    }
    static HIDIFF_INLINE Vec counts(Vec acc) { return acc; }

    static HIDIFF_INLINE uint32_t signs(const float* x, const float* bias) {
        uint32_t word = 0;
        for (int c = 0; c < kWord; ++c)
            word |= static_cast<uint32_t>(x[c] + bias[c] >= 0.0f) << c;
        return word;
    }
    static HIDIFF_INLINE uint32_t signs8(const float* x, const float* bias) {
        uint32_t word = 0;
        for (int c = 0; c < 8; ++c) word |= static_cast<uint32_t>(x[c] + bias[c] >= 0.0f) << c;
        return word;
    }
};

bool supported() { return true; }

}  // namespace

const Kernels kPortable = kernels_of<Isa>("portable", "plain C++", supported);

}  // namespace hidiff
