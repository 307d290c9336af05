// Counting by looking up: a byte shuffle finds, for 4 bits of a pixel, how many differ from 4 bits of
// the weights of each of 32 output channels. The vector of 16 answers is chosen by the pixel's bits, and
// indexed by the weights'. A pixel's vector serves all three columns of a 3x3 kernel.
//
// Beside what loops.inl wants of an instruction set, one that looks up has
//
//   Bytes                   32 bytes; zero_bytes, load_bytes
//   answers(p)              16 bytes, twice
//   look_up(answers, at)    a byte for each index
//   add_bytes(a, b)
//   Wide                    32 numbers of 16 bits; zero_wide
//   add_wide(wide, bytes)   wide + bytes
//   store_wide(p, wide, some)   the first `some` of them, 16 or 32, as int32
namespace hidiff {
namespace {

// Answers for each 4 bits of a pixel, at 16 times the bits.
struct Answers {
    alignas(16) uint8_t of[256];
    constexpr Answers() : of() {
        for (int a = 0; a < 16; ++a)
            for (int b = 0; b < 16; ++b) {
                const int differ = a ^ b;
                of[16 * a + b] = static_cast<uint8_t>((differ & 1) + (differ >> 1 & 1) +
                                                      (differ >> 2 & 1) + (differ >> 3 & 1));
            }
    }
};
static constexpr Answers kAnswers;

// Where the answers of each 4 bits lie: a word becomes 8 bytes.
HIDIFF_INLINE void spread_words(const uint32_t* from, int64_t count, uint8_t* to) {
    for (int64_t i = 0; i < count; ++i) {
        uint64_t x = from[i];
        x = (x | x << 16) & 0x0000ffff0000ffffu;
        x = (x | x << 8) & 0x00ff00ff00ff00ffu;
        x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
        x <<= 4;
        __builtin_memcpy(to + 8 * i, &x, sizeof x);
    }
}

// Counts of `P` pixels that follow each other, for 32 output channels or the 16 that are left.
template <class I, int P>
HIDIFF_INLINE void look_up_pixels(const uint8_t* x, int64_t pitch, int64_t words,
                                  const uint8_t* weights, int64_t some, int32_t* counts,
                                  int64_t row) {
    using Bytes = typename I::Bytes;
    constexpr int64_t kTogether = 2;  // a byte holds 2 * 8 * 3 counts of at most 4
    const int64_t step = 8 * words;
    typename I::Wide total[P];
    Bytes acc[P];
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) total[p] = I::zero_wide(), acc[p] = I::zero_bytes();
    int64_t waiting = 0;
    for (int64_t ky = 0; ky < 3; ++ky, x += pitch)
        for (int64_t j = 0; j < words; ++j) {
            if (waiting++ == kTogether) {
                HIDIFF_UNROLL
                for (int p = 0; p < P; ++p) {
                    total[p] = I::add_wide(total[p], acc[p]);
                    acc[p] = I::zero_bytes();
                }
                waiting = 1;
            }
            for (const uint8_t* from = x + 8 * j; from < x + 8 * (j + 1); ++from) {
                Bytes w[3];
                HIDIFF_UNROLL
                for (int kx = 0; kx < 3; ++kx) w[kx] = I::load_bytes(weights + kx * kWord);
                weights += 3 * kWord;
                HIDIFF_UNROLL
                for (int q = 0; q < P + 2; ++q) {
                    const Bytes answers = I::answers(kAnswers.of + from[q * step]);
                    HIDIFF_UNROLL
                    for (int kx = 0; kx < 3; ++kx)
                        if (q >= kx && q - kx < P)
                            acc[q - kx] =
                                I::add_bytes(acc[q - kx], I::look_up(answers, w[kx]));
                }
            }
        }
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) I::store_wide(counts + p * row, I::add_wide(total[p], acc[p]), some);
}

// Counts of a row of at least `P` pixels; the last ones may be counted twice.
template <class I, int P>
void look_up_run(const Conv& c, const uint8_t* x, int64_t pitch, int64_t pixels,
                 const uint8_t* weights, int64_t some, int32_t* counts) {
    const int64_t row = padded(c.out_channels), step = 8 * c.words;
    for (int64_t next = 0; next < pixels; next += P) {
        const int64_t p = next + P <= pixels ? next : pixels - P;
        look_up_pixels<I, P>(x + p * step, pitch, c.words, weights, some, counts + p * row, row);
    }
}

// counts[pixel][channel] for a row of pixels; `x` are the spread words under them, `pitch` bytes a row.
template <class I>
void look_up_row(const Conv& c, const uint8_t* x, int64_t pitch, int64_t pixels, int32_t* counts) {
    for (int64_t group = 0; group < c.groups(); ++group) {
        const uint8_t* weights = c.nibbles + group * c.group_nibbles();
        const int64_t left = padded(c.out_channels) - group * kWord;
        const int64_t some = left < kWord ? left : kWord;
        int32_t* to = counts + group * kWord;
        if (pixels >= 6)
            look_up_run<I, 6>(c, x, pitch, pixels, weights, some, to);
        else if (pixels >= 4)
            look_up_run<I, 4>(c, x, pitch, pixels, weights, some, to);
        else
            look_up_run<I, 1>(c, x, pitch, pixels, weights, some, to);
    }
}

}  // namespace
}  // namespace hidiff
