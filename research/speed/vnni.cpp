// How many int8 multiply-adds does one thread do by VPDPBUSD, out of its first cache? To be weighed
// against popcount, which research/speed/kernels.py measures ("peak_of_one_thread").
//
//     c++ -std=c++17 -O3 -mavx512f -mavx512bw -mavx512vnni research/speed/vnni.cpp -o vnni && ./vnni
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>

constexpr int64_t kWords = 4096;  // 16 KiB

uint64_t multiply(const uint32_t* words, int64_t rounds) {
    __m512i acc[8];
    for (int j = 0; j < 8; ++j) acc[j] = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds; ++r) {
        const __m512i x = _mm512_set1_epi32(static_cast<int>(words[r % kWords]));
        for (int64_t i = 0; i < kWords; i += 8 * 16) {
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

int main() {
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vnni")) {
        std::puts("this processor has no AVX512-VNNI");
        return 1;
    }
    alignas(64) static uint32_t words[kWords];
    for (int64_t i = 0; i < kWords; ++i) words[i] = static_cast<uint32_t>(i * 2654435761u);
    using Clock = std::chrono::steady_clock;
    constexpr int64_t kRounds = 64;
    volatile uint64_t keep = 0;
    double best = 0;
    for (int repeat = 0; repeat < 20000; ++repeat) {
        const auto start = Clock::now();
        keep = keep + multiply(words, kRounds);
        const double took = std::chrono::duration<double>(Clock::now() - start).count();
        best = std::max(best, kRounds * kWords * 4 / took / 1e9);
    }
    std::printf("%.1f billion int8 multiply-adds a second\n", best);
}
