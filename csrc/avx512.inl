// What both AVX-512 kernels share.
#include <immintrin.h>

#include "loops.inl"

namespace hidiff {
namespace {

struct Avx512 {
    using Vec = __m512i;
    static constexpr int kLanes = 16;

    typedef float Float __attribute__((vector_size(64)));
    typedef int32_t Word __attribute__((vector_size(64)));
    static constexpr int kFloats = 16, kRealPixels = 12;
    static HIDIFF_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
    static HIDIFF_INLINE uint32_t signs_of(Float x) {
        return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
    }
    static HIDIFF_INLINE Float pair_sums(Float a, Float b) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26,
                                               28, 30);
        const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,
                                              29, 31);
        return _mm512_add_ps(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b));
    }

    static HIDIFF_INLINE Vec zero() { return _mm512_setzero_si512(); }
    static HIDIFF_INLINE Vec load(const uint32_t* p) { return _mm512_loadu_si512(p); }
    static HIDIFF_INLINE Vec broadcast(uint32_t word) {
        return _mm512_set1_epi32(static_cast<int>(word));
    }
    static HIDIFF_INLINE void store(int32_t* p, Vec v) { _mm512_storeu_si512(p, v); }
    static HIDIFF_INLINE Vec bit_xor(Vec a, Vec b) { return _mm512_xor_si512(a, b); }
    static HIDIFF_INLINE Vec bit_and(Vec a, Vec b) { return _mm512_and_si512(a, b); }
    static HIDIFF_INLINE Vec add_counts(Vec a, Vec b) { return _mm512_add_epi32(a, b); }

    static HIDIFF_INLINE Vec add_bits(Vec& sum, Vec a, Vec b) {
        const Vec carry = _mm512_ternarylogic_epi32(sum, a, b, 0xe8);  // the majority
        sum = _mm512_ternarylogic_epi32(sum, a, b, 0x96);              // whether odd
        return carry;
    }

    static HIDIFF_INLINE uint32_t signs(const float* x, const float* bias) {
        const __m512 zero = _mm512_setzero_ps();
        const __m512 low = _mm512_add_ps(_mm512_loadu_ps(x), _mm512_loadu_ps(bias));
        const __m512 high = _mm512_add_ps(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(bias + 16));
        return static_cast<uint32_t>(_mm512_cmp_ps_mask(low, zero, _CMP_GE_OQ)) |
               static_cast<uint32_t>(_mm512_cmp_ps_mask(high, zero, _CMP_GE_OQ)) << 16;
    }
    static HIDIFF_INLINE uint32_t signs8(const float* x, const float* bias) {
        const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(bias));
        return _mm256_cmp_ps_mask(sum, _mm256_setzero_ps(), _CMP_GE_OQ);
    }
};

}  // namespace
}  // namespace hidiff
