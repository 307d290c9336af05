// NEON (every 64-bit Arm): CNT counts the ones of each byte.
#include <arm_neon.h>

#include "loops.inl"

namespace hidiff {
namespace {

struct Isa {
    using Vec = uint32x4_t;
    static constexpr int kLanes = 4;
    static constexpr bool kCarrySave = false, kLooksUp = false;
    static constexpr int kFlush = 31;
    static constexpr int kPixels = 4, kVecs = 4;

    typedef float Float __attribute__((vector_size(16)));
    typedef int32_t Word __attribute__((vector_size(16)));
    static constexpr int kFloats = 4, kRealPixels = 6;
    static HIDIFF_INLINE Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
    static HIDIFF_INLINE uint32_t signs_of(Float x) {
        static const uint32_t kBits[4] = {1, 2, 4, 8};
        return vaddvq_u32(vandq_u32(vcgezq_f32(x), vld1q_u32(kBits)));
    }
    static HIDIFF_INLINE Float pair_sums(Float a, Float b) { return vpaddq_f32(a, b); }

    static HIDIFF_INLINE Vec zero() { return vdupq_n_u32(0); }
    static HIDIFF_INLINE Vec load(const uint32_t* p) { return vld1q_u32(p); }
    static HIDIFF_INLINE Vec broadcast(uint32_t word) { return vdupq_n_u32(word); }
    static HIDIFF_INLINE void store(int32_t* p, Vec v) { vst1q_s32(p, vreinterpretq_s32_u32(v)); }
    static HIDIFF_INLINE Vec bit_xor(Vec a, Vec b) { return veorq_u32(a, b); }
    static HIDIFF_INLINE Vec bit_and(Vec a, Vec b) { return vandq_u32(a, b); }
    static HIDIFF_INLINE Vec add_counts(Vec a, Vec b) { return vaddq_u32(a, b); }

    static HIDIFF_INLINE Vec add_bits(Vec& sum, Vec a, Vec b) {
        const Vec either = veorq_u32(sum, a);
        const Vec carry = vbslq_u32(either, b, a);
        sum = veorq_u32(either, b);
        return carry;
    }

    static HIDIFF_INLINE Vec add(Vec acc, Vec v) {
        const uint8x16_t ones = vcntq_u8(vreinterpretq_u8_u32(v));
        return vreinterpretq_u32_u8(vaddq_u8(vreinterpretq_u8_u32(acc), ones));
    }
    static HIDIFF_INLINE Vec counts(Vec acc) {
        return vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_u32(acc)));
    }

    static HIDIFF_INLINE uint32_t signs(const float* x, const float* bias) {
        static const uint32_t kBits[4] = {1, 2, 4, 8};
        const Vec bits = vld1q_u32(kBits);
        uint32_t word = 0;
        HIDIFF_UNROLL
        for (int i = 0; i < 8; ++i) {
            const float32x4_t sum = vaddq_f32(vld1q_f32(x + 4 * i), vld1q_f32(bias + 4 * i));
            word |= vaddvq_u32(vandq_u32(vcgezq_f32(sum), bits)) << (4 * i);
        }
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

const Kernels kNeon = kernels_of<Isa>("neon", "CNT", supported);

}  // namespace hidiff
