// AVX2 and FMA: a byte shuffle looks up how many of 4 bits differ, in 32 channels at once; where
// that does not fit, carry-save adders and the same shuffle count ones.
#include <immintrin.h>

#include "loops.inl"

namespace hidiff {
namespace {

struct Isa {
    using Vec = __m256i;
    static constexpr int kLanes = 8;
    static constexpr bool kCarrySave = true;
    static constexpr int kFlush = 31;
    static constexpr int kPixels = 2, kVecs = 8;
    static constexpr bool kLooksUp = true;

    typedef float Float __attribute__((vector_size(32)));
    typedef int32_t Word __attribute__((vector_size(32)));
    static constexpr int kFloats = 8, kRealPixels = 6;
    static HIDIFF_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
    static HIDIFF_INLINE uint32_t signs_of(Float x) {
        const __m256 set = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ);
        return static_cast<uint32_t>(_mm256_movemask_ps(set));
    }
    static HIDIFF_INLINE Float pair_sums(Float a, Float b) {
        const __m256d sums = _mm256_castps_pd(_mm256_hadd_ps(a, b));  // in quarters a, b, a, b
        return _mm256_castpd_ps(_mm256_permute4x64_pd(sums, 0xd8));
    }

    static HIDIFF_INLINE Vec zero() { return _mm256_setzero_si256(); }
    static HIDIFF_INLINE Vec load(const uint32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const Vec*>(p));
    }
    static HIDIFF_INLINE Vec broadcast(uint32_t word) {
        return _mm256_set1_epi32(static_cast<int>(word));
    }
    static HIDIFF_INLINE void store(int32_t* p, Vec v) {
        _mm256_storeu_si256(reinterpret_cast<Vec*>(p), v);
    }
    static HIDIFF_INLINE Vec bit_xor(Vec a, Vec b) { return _mm256_xor_si256(a, b); }
    static HIDIFF_INLINE Vec bit_and(Vec a, Vec b) { return _mm256_and_si256(a, b); }
    static HIDIFF_INLINE Vec add_counts(Vec a, Vec b) { return _mm256_add_epi32(a, b); }

    static HIDIFF_INLINE Vec add_bits(Vec& sum, Vec a, Vec b) {
        const Vec either = _mm256_xor_si256(sum, a);
        const Vec carry =
            _mm256_or_si256(_mm256_and_si256(sum, a), _mm256_and_si256(either, b));
        sum = _mm256_xor_si256(either, b);
        return carry;
    }

    static HIDIFF_INLINE Vec byte_counts(Vec v) {
        const Vec table = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const Vec low = _mm256_set1_epi8(15);
        const Vec a = _mm256_shuffle_epi8(table, _mm256_and_si256(v, low));
        const Vec b =
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
        return _mm256_add_epi8(a, b);
    }
    static HIDIFF_INLINE Vec add_bytes(Vec a, Vec b) { return _mm256_add_epi8(a, b); }
    // No byte of these grows past 255, so that shifting pairs of bytes moves nothing across.
    static HIDIFF_INLINE Vec times2(Vec v) { return _mm256_slli_epi16(v, 1); }
    static HIDIFF_INLINE Vec times4(Vec v) { return _mm256_slli_epi16(v, 2); }
    static HIDIFF_INLINE Vec times8_counts(Vec v) { return _mm256_slli_epi32(v, 3); }

    static HIDIFF_INLINE Vec add(Vec acc, Vec v) { return add_bytes(acc, byte_counts(v)); }
    static HIDIFF_INLINE Vec counts(Vec bytes) {
        const Vec pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
        return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }

    using Bytes = __m256i;
    struct Wide {
        __m256i low, high;  // the lower and the upper 8 of each 16 bytes
    };
    static HIDIFF_INLINE Bytes zero_bytes() { return _mm256_setzero_si256(); }
    static HIDIFF_INLINE Bytes load_bytes(const uint8_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const Bytes*>(p));
    }
    static HIDIFF_INLINE Bytes answers(const uint8_t* p) {
        return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static HIDIFF_INLINE Bytes look_up(Bytes answers, Bytes at) {
        return _mm256_shuffle_epi8(answers, at);
    }
    static HIDIFF_INLINE Wide zero_wide() { return {zero_bytes(), zero_bytes()}; }
    static HIDIFF_INLINE Wide add_wide(Wide sum, Bytes bytes) {
        return {_mm256_add_epi16(sum.low, _mm256_unpacklo_epi8(bytes, zero_bytes())),
                _mm256_add_epi16(sum.high, _mm256_unpackhi_epi8(bytes, zero_bytes()))};
    }
    static HIDIFF_INLINE void store_wide(int32_t* p, Wide sum, int64_t some) {
        store(p, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sum.low)));
        store(p + 8, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sum.high)));
        if (some <= 16) return;
        store(p + 16, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sum.low, 1)));
        store(p + 24, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sum.high, 1)));
    }

    static HIDIFF_INLINE void halves(Vec bytes, Vec& low, Vec& high) {
        const Vec pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
        low = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff));
        high = _mm256_srli_epi32(pairs, 16);
    }

    static HIDIFF_INLINE uint32_t signs(const float* x, const float* bias) {
        uint32_t word = 0;
        HIDIFF_UNROLL
        for (int i = 0; i < 4; ++i) {
            const __m256 sum =
                _mm256_add_ps(_mm256_loadu_ps(x + 8 * i), _mm256_loadu_ps(bias + 8 * i));
            const __m256 set = _mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_GE_OQ);
            word |= static_cast<uint32_t>(_mm256_movemask_ps(set)) << (8 * i);
        }
        return word;
    }
    static HIDIFF_INLINE uint32_t signs8(const float* x, const float* bias) {
        const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(bias));
        const __m256 set = _mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_GE_OQ);
        return static_cast<uint32_t>(_mm256_movemask_ps(set));
    }
};

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

const Kernels kAvx2 = kernels_of<Isa>("avx2", "lookups of 4 bits and carry-save adders", supported);

}  // namespace hidiff
