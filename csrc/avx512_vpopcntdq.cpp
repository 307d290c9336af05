// AVX-512 that counts by itself (Ice Lake, Zen 4 and newer): VPOPCNTD on 16 words at a time.
#include "avx512.inl"

namespace hidiff {
namespace {

struct Isa : Avx512 {
    static constexpr bool kCarrySave = false, kLooksUp = false;
    static constexpr int kFlush = 0;
    // 24 of the 32 registers count, 4 hold weights
    static constexpr int kPixels = 6, kVecs = 4;

    static HIDIFF_INLINE Vec add(Vec acc, Vec v) { return add_counts(acc, _mm512_popcnt_epi32(v)); }
    static HIDIFF_INLINE Vec counts(Vec acc) { return acc; }
};

bool supported() {
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vpopcntdq");
}

}  // namespace

const Kernels kAvx512Vpopcntdq = kernels_of<Isa>("avx512_vpopcntdq", "VPOPCNTD", supported);

}  // namespace hidiff
