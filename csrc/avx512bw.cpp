// AVX-512 without VPOPCNTDQ (Skylake to Cascade Lake): carry-save adders out of VPTERNLOG, and a
// byte shuffle that looks up the ones of half a byte.
#include "avx512.inl"

namespace hidiff {
namespace {

struct Isa : Avx512 {
    static constexpr bool kCarrySave = true, kLooksUp = false;
    static constexpr int kFlush = 31;
    static constexpr int kPixels = 2, kVecs = 4;

    static HIDIFF_INLINE Vec byte_counts(Vec v) {
        const Vec table = _mm512_broadcast_i32x4(
            _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const Vec low = _mm512_set1_epi8(15);
        const Vec a = _mm512_shuffle_epi8(table, _mm512_and_si512(v, low));
        const Vec b =
            _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), low));
        return _mm512_add_epi8(a, b);
    }
    static HIDIFF_INLINE Vec add_bytes(Vec a, Vec b) { return _mm512_add_epi8(a, b); }
    // No byte of these grows past 255, so that shifting pairs of bytes moves nothing across.
    static HIDIFF_INLINE Vec times2(Vec v) { return _mm512_slli_epi16(v, 1); }
    static HIDIFF_INLINE Vec times4(Vec v) { return _mm512_slli_epi16(v, 2); }
    static HIDIFF_INLINE Vec times8_counts(Vec v) { return _mm512_slli_epi32(v, 3); }

    static HIDIFF_INLINE Vec add(Vec acc, Vec v) { return add_bytes(acc, byte_counts(v)); }
    static HIDIFF_INLINE Vec counts(Vec bytes) {
        const Vec pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1));
        return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
    }
    static HIDIFF_INLINE void halves(Vec bytes, Vec& low, Vec& high) {
        const Vec pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1));
        low = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
        high = _mm512_srli_epi32(pairs, 16);
    }
};

bool supported() { return __builtin_cpu_supports("avx512bw"); }

}  // namespace

const Kernels kAvx512bw =
    kernels_of<Isa>("avx512bw", "carry-save adders and byte shuffles", supported);

}  // namespace hidiff
