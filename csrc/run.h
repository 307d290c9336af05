// Runs a kernel over threads, each with scratch memory of its own.
#pragma once

#include <vector>

#include "kernels.h"

namespace hidiff {

// The kernels that this processor can run, fastest first.
std::vector<const Kernels*> supported_kernels();
// All kernels in this build.
std::vector<const Kernels*> built_kernels();

void run_conv(const Kernels& kernels, const Conv& conv, int threads);
// Bits as packed: [batch][tokens][words_of(heads * head_dim)]; the rest as in `Attention`.
void run_attention(const Kernels& kernels, const uint32_t* query, const uint32_t* key,
                   const uint32_t* value, const Attention& shape, int threads);
void run_pack(const Kernels& kernels, const Pack& pack, int threads);
void run_modulate(const Kernels& kernels, const Modulate& modulate, int threads);
// Channels side by side: `left` and `right` are the words of so many channels.
void run_join(const uint32_t* left, const uint32_t* right, int64_t pixels, int64_t left_channels,
              int64_t right_channels, uint32_t* out, int threads);
void run_real_conv(const Kernels& kernels, const RealConv& conv, int threads);
void run_norm(const Kernels& kernels, const Norm& norm, int threads);
void run_unpack(const uint32_t* bits, int64_t pixels, int64_t channels, float* out, int threads);

}  // namespace hidiff
