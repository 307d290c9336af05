// What a kernel is given, and the table of kernels that each instruction set fills.
//
// Everything is NHWC. A pixel's bits are `words` 32-bit words, bit 1 for +1 and 0 for -1, the bits
// past the last channel 0. Weights lie in blocks of 16 output channels, [block][k][16], where k
// runs over the taps and, inside a tap, over its words: one load gives a word of 16 channels.
//
// The files of the instruction sets are compiled with flags of their own. They include nothing of
// the C++ library but <cstdint>, and keep their code in an unnamed namespace: an inline function
// compiled for AVX-512 in one of them could otherwise be the copy that the linker keeps for all.
#pragma once

#include <cstdint>

namespace hidiff {

constexpr int64_t kWord = 32;   // channels in a word
constexpr int64_t kBlock = 16;  // output channels in a block of weights

constexpr int64_t words_of(int64_t channels) { return (channels + kWord - 1) / kWord; }
constexpr int64_t padded(int64_t channels) { return (channels + kBlock - 1) / kBlock * kBlock; }

// Pixels that are worked on together: their sums stay in the first cache until they are written.
constexpr int64_t tile_width(int64_t out_channels) {
    const int64_t pixels = 4096 / padded(out_channels);
    return pixels < 6 ? 6 : pixels > 48 ? 48 : pixels / 6 * 6;
}

// A full-precision tensor that the block adds. Two of them stand for their channels side by side.
enum class Zoom { kNone, kPool, kRepeat };  // twice the output's size, or half of it
struct Source {
    const float* data;
    int64_t channels, height, width;
    Zoom zoom;
};

// scale * sum + offset + shortcut, PReLU, + bias; then the signs of out + next_bias, per channel.
struct Epilogue {
    const float *scale, *offset, *slope, *bias;
    Source sources[2];
    int num_sources;
    float* out;
    const float* next_bias;  // [num_next][out_channels]
    uint32_t* next_bits;     // [num_next][pixels][words]
    int num_next;
};

struct Conv {
    const uint32_t* bits;
    int64_t batch, height, width, words;
    const uint32_t* blocks;
    // The same as a byte for each 4 bits, for kernels that look them up; null where none does.
    const uint8_t* nibbles;  // [padded(out) / 16, up to even / 2][row][word][8][column][32]
    int64_t out_channels;
    // Sum of a pixel = offset - 2 * (bits that differ). One row for each set of sides over which
    // the kernel hangs (1 top, 2 bottom, 4 left, 8 right), as a tap outside counts for nothing.
    const int32_t* offsets;  // [16][padded(out_channels)]
    int64_t kernel, stride;
    int64_t out_height, out_width;
    // Exactly one of the three is wanted.
    int32_t* sums32;
    int16_t* sums16;
    const Epilogue* epilogue;

    int64_t taps() const { return kernel * kernel; }
    int64_t tiles_in_row() const {
        const int64_t tile = tile_width(out_channels);
        return (out_width + tile - 1) / tile;
    }
    int64_t num_tiles() const { return batch * out_height * tiles_in_row(); }
    // Per thread, in 4-byte units: sums, a shortcut row, tap offsets twice, a tile with its border.
    int64_t scratch_sums() const { return tile_width(out_channels) * padded(out_channels); }
    int64_t scratch_taps() const { return padded(taps() * words); }
    int64_t scratch_border() const {
        return padded(kernel * ((tile_width(out_channels) - 1) * stride + kernel) * words);
    }
    int64_t scratch_nibbles() const { return nibbles ? 2 * scratch_border() : 0; }
    int64_t scratch() const {
        return 2 * scratch_sums() + 2 * scratch_taps() + scratch_border() + scratch_nibbles();
    }

    // Whether 4 bits at once can be looked up, counted in 16 bits, and gain time: for few pixels, to
    // bring the weights into that order takes longer than it saves.
    bool suits_lookup() const {
        return kernel == 3 && stride == 1 && words <= 128 && out_channels >= kWord &&
               out_width >= 16;
    }
    int64_t groups() const { return words_of(out_channels); }
    int64_t group_nibbles() const { return taps() * words * 8 * kWord; }
};

// Weights are 0 or 1: 1 where a score exceeds `thresholds[largest score of the query + head_dim]`.
struct Attention {
    const uint32_t* query;         // [batch][heads][queries][head_words]
    const uint32_t* key_blocks;    // [batch][heads][padded(keys) / 16][head_words][16]
    const uint32_t* value_blocks;  // [batch][heads][padded(head_dim) / 16][words_of(keys)][16]
    const int32_t* thresholds;     // [2 * head_dim + 1]
    const int32_t* steps;          // 0, 1, 2, ... as many as a query has words, or keys have
    int64_t batch, heads, queries, keys, head_dim;
    int32_t* out;  // [batch][queries][heads * head_dim]

    static constexpr int64_t kQueries = 6;  // worked on together
    int64_t num_items() const {
        return batch * heads * ((queries + kQueries - 1) / kQueries);
    }
    int64_t scratch() const {
        return kQueries * (padded(keys) + padded(head_dim) + padded(words_of(keys)));
    }
};

// Floats to bits: 1 where x + bias >= 0. Strides in floats; one of them is 1.
struct Pack {
    const float* x;
    int64_t pixels, channels, pixels_in_image;
    int64_t image_stride, pixel_stride, channel_stride;
    const float* bias;  // or null
    uint32_t* bits;
};

// A source of a float convolution; strides in floats. Rows follow each other.
struct Plane {
    const float* data;
    int64_t channels, image_stride, pixel_stride, channel_stride;
};

// A convolution that stays float: 3x3 or 1x1 with zeros around the image, on silu(x * factor +
// shift) if there are factors; `added`, of the output's size, is added last.
struct RealConv {
    Plane sources[3];  // their channels stand side by side
    int num_sources;
    int64_t batch, height, width, in_channels;
    const float *factor, *shift;  // [batch][in_channels], or null
    const float* blocks;  // [padded(out) / 16][taps][in][16]; narrow: [out][taps][padded(in)]
    const float* bias;    // [padded(out)]
    int64_t out_channels, kernel, stride, out_height, out_width;
    const float* added;  // or null
    float* out;

    static constexpr int64_t kRows = 16;   // worked on together
    static constexpr int64_t kNarrow = 3;  // the most output channels of a narrow one
    bool is_narrow() const { return out_channels <= kNarrow; }
    int64_t taps() const { return kernel * kernel; }
    int64_t bands() const { return (out_height + kRows - 1) / kRows; }
    int64_t row_channels() const { return is_narrow() ? padded(in_channels) : in_channels; }
    // Per thread: a row gathered, factors and shifts along a row, and the rows under the kernel.
    int64_t scratch_row() const { return padded((width + 2) * row_channels()); }
    int64_t scratch() const { return (3 + kernel) * scratch_row(); }
};

// The group norm of each image as x * factor + shift.
struct Norm {
    const float* x;
    int64_t batch, pixels, channels, groups;
    const float *weight, *bias;
    double eps;
    float *factor, *shift;  // [batch][channels]

    static constexpr int64_t kPixels = 1024;  // whose sums are floats
    int64_t bands() const { return (pixels + kPixels - 1) / kPixels; }
};

// out = x * factor + shift, and the signs of out + bias; factors and shifts of all images alike.
struct Modulate {
    const float* x;
    int64_t pixels, channels;
    const float *factor, *shift, *bias;
    float* out;
    uint32_t* bits;
};

struct Kernels {
    const char* name;
    const char* how;  // one phrase on how it counts
    bool (*supported)();
    bool looks_up;  // Conv::nibbles are wanted
    void (*conv)(const Conv&, int64_t begin, int64_t end, int32_t* scratch);
    void (*attention)(const Attention&, int64_t begin, int64_t end, int32_t* scratch);
    void (*pack)(const Pack&, int64_t begin, int64_t end);
    void (*modulate)(const Modulate&, int64_t begin, int64_t end);
    void (*real_conv)(const RealConv&, int64_t begin, int64_t end, float* scratch);
    // mean and squared distances, [image][band][2][channels]
    void (*moments)(const Norm&, int64_t begin, int64_t end, float* out);
    // XOR and popcount out of the first cache, nothing else: the most that this processor can do.
    // Each call works on `rounds` times kPeakBits bits, and returns something that depends on all.
    uint64_t (*peak_plain)(const uint32_t* words, int64_t rounds);
    uint64_t (*peak_carry_save)(const uint32_t* words, int64_t rounds);
};

constexpr int64_t kPeakWords = 4096;  // 16 KiB
constexpr int64_t kPeakBits = kPeakWords * 32;

#if defined(HIDIFF_X86)
extern const Kernels kAvx512Vpopcntdq, kAvx512bw, kAvx2;
#endif
#if defined(HIDIFF_NEON)
extern const Kernels kNeon;
#endif
extern const Kernels kPortable;

}  // namespace hidiff
