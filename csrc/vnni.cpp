// int8 multiply-adds by VPDPBUSD, only to be weighed against popcount: research/speed/kernels.py.
#include <immintrin.h>

#include "kernels.h"

namespace hidiff {

bool has_vnni() {
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
}

uint64_t peak_vnni(const uint32_t* words, int64_t rounds) {
    __m512i acc[8];
    for (int j = 0; j < 8; ++j) acc[j] = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds; ++r) {
        const __m512i x = _mm512_set1_epi32(static_cast<int>(words[r % kPeakWords]));
        for (int64_t i = 0; i < kPeakWords; i += 8 * 16) {
#pragma GCC unroll 8
            for (int j = 0; j < 8; ++j)
                acc[j] = _mm512_dpbusd_epi32(acc[j], x, _mm512_loadu_si512(words + i + j * 16));
        }
    }
    uint64_t total = 0;
    for (int j = 0; j < 8; ++j) {
        int32_t lanes[16];
        _mm512_storeu_si512(lanes, acc[j]);
        for (int32_t lane : lanes) total += static_cast<uint32_t>(lane);
    }
    return total;
}

}  // namespace hidiff
