// The loops of all kernels, the same for every instruction set. Each of their files includes this,
// and describes its vectors of 32-bit words, one for each of some output channels, in a struct:
//
//   Vec, kLanes, zero, load, broadcast, store     broadcast: one pixel's word to all lanes
//   bit_xor, bit_and, add_counts                  add_counts adds 32-bit lanes
//   add(acc, v)             counts the ones of v into acc, which holds kFlush of them (0: any number)
//   counts(acc)             acc as one count a lane
//   add_bits(s, a, b)       a full adder on every bit: s becomes the sum, the carry is returned
//   kCarrySave              whether adding bits up before they are counted is faster here; if so:
//   byte_counts, add_bytes, times2, times4, times8_counts
//   halves(bytes, low, high)   the counts of the lower and of the upper 16 bits of each lane
//   kPixels, kVecs          the block of results that the registers hold
//   signs(x, bias)          the signs of 32 floats, as a word
//   signs8(x, bias)         the signs of 8 floats
//   kLooksUp                whether looking up 4 bits at once is faster yet, see lookup.inl
//
// and its vectors of floats:
//
//   Float, Word, kFloats    GCC's vectors of floats and of int32, and how many of them
//   fma(a, b, c)            a * b + c, rounded once
//   signs_of(x)             a bit for each float, 1 where it is >= 0
//   pair_sums(a, b)         sums of neighbours: those of a, then those of b
//   kRealPixels             pixels whose sums for 16 channels the registers hold
#include "kernels.h"

namespace hidiff {
namespace {

#define HIDIFF_INLINE inline __attribute__((always_inline))
#define HIDIFF_UNROLL _Pragma("GCC unroll 16")

template <int N>
struct Int {
    static constexpr int value = N;
};

template <class I>
HIDIFF_INLINE typename I::Float load_floats(const float* p) {
    typename I::Float v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <class I>
HIDIFF_INLINE void store_floats(float* p, typename I::Float v) {
    __builtin_memcpy(p, &v, sizeof v);
}
template <class I>
HIDIFF_INLINE typename I::Float all_floats(float x) {
    return x - typename I::Float{};  // x + 0 would be another number for -0, and an addition
}
template <class I>
HIDIFF_INLINE typename I::Float choose(typename I::Word mask, typename I::Float yes,
                                       typename I::Float no) {
    using Word = typename I::Word;
    return (typename I::Float)((mask & (Word)yes) | (~mask & (Word)no));
}

struct Xor {
    template <class I>
    static HIDIFF_INLINE typename I::Vec of(typename I::Vec a, typename I::Vec b) {
        return I::bit_xor(a, b);
    }
};
struct And {
    template <class I>
    static HIDIFF_INLINE typename I::Vec of(typename I::Vec a, typename I::Vec b) {
        return I::bit_and(a, b);
    }
};

// Where the words of weights of one vector of output channels begin; the next k is kBlock further.
template <class I>
HIDIFF_INLINE const uint32_t* weights_of(const uint32_t* blocks, int64_t num_k, int64_t vec) {
    const int64_t channel = vec * I::kLanes;
    return blocks + (channel / kBlock) * num_k * kBlock + channel % kBlock;
}

// counts[p][v] = number of ones in x op w, for `P` pixels and `V` vectors of output channels.
template <class I, class Op, int P, int V>
HIDIFF_INLINE void count_plain(const uint32_t* x, int64_t pixel_stride, const int32_t* taps,
                               int64_t num_k, const uint32_t* blocks, int64_t vec, int32_t* counts,
                               int64_t row) {
    using Vec = typename I::Vec;
    constexpr bool kOverflows = I::kFlush > 0;
    const uint32_t* w[V];
    Vec acc[P][V], total[P][V];
    HIDIFF_UNROLL
    for (int v = 0; v < V; ++v) w[v] = weights_of<I>(blocks, num_k, vec + v);
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) {
        HIDIFF_UNROLL
        for (int v = 0; v < V; ++v) acc[p][v] = total[p][v] = I::zero();
    }
    for (int64_t begin = 0, end; begin < num_k; begin = end) {
        end = kOverflows && begin + I::kFlush < num_k ? begin + I::kFlush : num_k;
        for (int64_t k = begin; k < end; ++k) {
            Vec wk[V];
            HIDIFF_UNROLL
            for (int v = 0; v < V; ++v) wk[v] = I::load(w[v] + k * kBlock);
            const uint32_t* xk = x + taps[k];
            HIDIFF_UNROLL
            for (int p = 0; p < P; ++p) {
                const Vec xp = I::broadcast(xk[p * pixel_stride]);
                HIDIFF_UNROLL
                for (int v = 0; v < V; ++v)
                    acc[p][v] = I::add(acc[p][v], Op::template of<I>(xp, wk[v]));
            }
        }
        if constexpr (kOverflows) {
            HIDIFF_UNROLL
            for (int p = 0; p < P; ++p) {
                HIDIFF_UNROLL
                for (int v = 0; v < V; ++v) {
                    total[p][v] = I::add_counts(total[p][v], I::counts(acc[p][v]));
                    acc[p][v] = I::zero();
                }
            }
        }
    }
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) {
        HIDIFF_UNROLL
        for (int v = 0; v < V; ++v)
            I::store(counts + p * row + (vec + v) * I::kLanes,
                     kOverflows ? total[p][v] : acc[p][v]);
    }
}

// The same by carry-save adders (Harley and Seal): eight words are added up bit by bit into
// ones, twos and fours that wait, and one word of eights that is counted.
template <class I, class Op, int P>
HIDIFF_INLINE void count_carry_save(const uint32_t* x, int64_t pixel_stride, const int32_t* taps,
                                    int64_t num_k, const uint32_t* blocks, int64_t vec,
                                    int32_t* counts, int64_t row) {
    using Vec = typename I::Vec;
    constexpr int64_t kEights = 24;  // a byte holds 31 counts of at most 8
    const uint32_t* w = weights_of<I>(blocks, num_k, vec);
    Vec ones[P], twos[P], fours[P], bytes[P], total[P];
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) ones[p] = twos[p] = fours[p] = total[p] = bytes[p] = I::zero();
    auto both = [&](int p, int64_t k) __attribute__((always_inline)) {
        return Op::template of<I>(I::broadcast(x[taps[k] + p * pixel_stride]),
                                  I::load(w + k * kBlock));
    };
    int64_t k = 0, waiting = 0;
    for (; k + 8 <= num_k; k += 8) {
        HIDIFF_UNROLL
        for (int p = 0; p < P; ++p) {
            Vec two1 = I::add_bits(ones[p], both(p, k), both(p, k + 1));
            Vec two2 = I::add_bits(ones[p], both(p, k + 2), both(p, k + 3));
            const Vec four1 = I::add_bits(twos[p], two1, two2);
            two1 = I::add_bits(ones[p], both(p, k + 4), both(p, k + 5));
            two2 = I::add_bits(ones[p], both(p, k + 6), both(p, k + 7));
            const Vec four2 = I::add_bits(twos[p], two1, two2);
            bytes[p] = I::add_bytes(bytes[p], I::byte_counts(I::add_bits(fours[p], four1, four2)));
        }
        if (++waiting == kEights) {
            HIDIFF_UNROLL
            for (int p = 0; p < P; ++p) {
                total[p] = I::add_counts(total[p], I::counts(bytes[p]));
                bytes[p] = I::zero();
            }
            waiting = 0;
        }
    }
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) total[p] = I::add_counts(total[p], I::counts(bytes[p]));
    // What is left, fewer than 8 words: a byte holds 8 * (4 + 2 + 1 + 4) and 8 for each of 3 more.
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) {
        int64_t rest = k;
        Vec few = I::times4(I::byte_counts(fours[p]));
        if (rest + 4 <= num_k) {
            const Vec two1 = I::add_bits(ones[p], both(p, rest), both(p, rest + 1));
            const Vec two2 = I::add_bits(ones[p], both(p, rest + 2), both(p, rest + 3));
            few = I::add_bytes(few, I::times4(I::byte_counts(I::add_bits(twos[p], two1, two2))));
            rest += 4;
        }
        if (rest + 2 <= num_k) {
            const Vec two = I::add_bits(ones[p], both(p, rest), both(p, rest + 1));
            few = I::add_bytes(few, I::times2(I::byte_counts(two)));
            rest += 2;
        }
        if (rest < num_k) few = I::add_bytes(few, I::byte_counts(both(p, rest)));
        few = I::add_bytes(few, I::times2(I::byte_counts(twos[p])));
        few = I::add_bytes(few, I::byte_counts(ones[p]));
        const Vec eights = I::times8_counts(total[p]);
        I::store(counts + p * row + vec * I::kLanes,
                        I::add_counts(eights, I::counts(few)));
    }
}

// Counts, byte by byte, of nine words each of x op w. Three threes are added up into three words and
// three carries, and these again, so that four words of different weight are counted: at most 72.
template <class I, class Op>
HIDIFF_INLINE typename I::Vec nine_counts(const uint32_t* x, const int32_t* taps,
                                          const uint32_t* w) {
    using Vec = typename I::Vec;
    Vec sum[3], carry[3];
    HIDIFF_UNROLL
    for (int j = 0; j < 3; ++j) {
        Vec v[3];
        HIDIFF_UNROLL
        for (int i = 0; i < 3; ++i)
            v[i] = Op::template of<I>(I::broadcast(x[taps[3 * j + i]]),
                                      I::load(w + (3 * j + i) * kBlock));
        carry[j] = I::add_bits(v[0], v[1], v[2]);
        sum[j] = v[0];
    }
    const Vec two = I::add_bits(sum[0], sum[1], sum[2]);
    const Vec four = I::add_bits(carry[0], carry[1], carry[2]);
    Vec bytes = I::add_bytes(I::byte_counts(carry[0]), I::byte_counts(two));
    bytes = I::add_bytes(bytes, I::times2(I::byte_counts(four)));
    return I::add_bytes(I::times2(bytes), I::byte_counts(sum[0]));
}

// The same as count_carry_save for 9, 18 or 27 words: a 3x3 kernel on few channels.
template <class I, class Op, int P>
HIDIFF_INLINE void count_nines(const uint32_t* x, int64_t pixel_stride, const int32_t* taps,
                               int64_t num_k, const uint32_t* blocks, int64_t vec, int32_t* counts,
                               int64_t row) {
    using Vec = typename I::Vec;
    const uint32_t* w = weights_of<I>(blocks, num_k, vec);
    Vec total[P];
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) total[p] = I::zero();
    for (int64_t k = 0; k < num_k; k += 9) {
        HIDIFF_UNROLL
        for (int p = 0; p < P; ++p)
            total[p] = I::add_bytes(
                total[p], nine_counts<I, Op>(x + p * pixel_stride, taps + k, w + k * kBlock));
    }
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p)
        I::store(counts + p * row + vec * I::kLanes, I::counts(total[p]));
}

template <class I, class Op, int P>
void count_vecs(const uint32_t* x, int64_t pixel_stride, const int32_t* taps, int64_t num_k,
                const uint32_t* blocks, int64_t vec, int64_t num_vecs, int32_t* counts,
                int64_t row) {
    if constexpr (I::kCarrySave) {
        if (num_k == 9 || num_k == 18 || num_k == 27) {
            for (int64_t v = 0; v < num_vecs; ++v)
                count_nines<I, Op, P>(x, pixel_stride, taps, num_k, blocks, vec + v, counts, row);
            return;
        }
        for (int64_t v = 0; v < num_vecs; ++v)
            count_carry_save<I, Op, P>(x, pixel_stride, taps, num_k, blocks, vec + v, counts, row);
    } else {
        if (num_vecs == I::kVecs)
            return count_plain<I, Op, P, I::kVecs>(x, pixel_stride, taps, num_k, blocks, vec,
                                                   counts, row);
        for (; num_vecs >= 2; num_vecs -= 2, vec += 2)
            count_plain<I, Op, P, I::kVecs >= 2 ? 2 : 1>(x, pixel_stride, taps, num_k, blocks, vec,
                                                        counts, row);
        for (; num_vecs; --num_vecs, ++vec)
            count_plain<I, Op, P, 1>(x, pixel_stride, taps, num_k, blocks, vec, counts, row);
    }
}

// counts[pixel][channel] for a row of pixels and all output channels. The weights of a few vectors
// stay in the first cache while they meet every pixel.
template <class I, class Op>
void count_row(const uint32_t* x, int64_t pixel_stride, const int32_t* taps, int64_t num_k,
               const uint32_t* blocks, int64_t out_channels, int64_t pixels, int32_t* counts) {
    const int64_t row = padded(out_channels), num_vecs = row / I::kLanes;
    for (int64_t vec = 0; vec < num_vecs; vec += I::kVecs) {
        const int64_t some = num_vecs - vec < I::kVecs ? num_vecs - vec : I::kVecs;
        int64_t p = 0;
        auto step = [&](auto count) {
            constexpr int kPixels = decltype(count)::value;
            for (; p + kPixels <= pixels; p += kPixels)
                count_vecs<I, Op, kPixels>(x + p * pixel_stride, pixel_stride, taps, num_k, blocks,
                                           vec, some, counts + p * row, row);
        };
        step(Int<I::kPixels>{});
        if constexpr (I::kPixels > 4) step(Int<4>{});
        if constexpr (I::kPixels > 2) step(Int<2>{});
        if constexpr (I::kPixels > 1) step(Int<1>{});
    }
}

}  // namespace
}  // namespace hidiff

#include "lookup.inl"

namespace hidiff {
namespace {

// Up to 16 channels fill half a word. So the words of two neighbouring outputs share one: that of the
// left in the lower half, that of the right in the upper half, and both are counted at once.
constexpr int64_t kPairChannels = 64;  // the most output channels for which this is done

// Put the words of each pixel and of the one `stride` further into one; at the end there is no other.
void pair_words(const uint32_t* from, int64_t length, int64_t stride, uint32_t* to) {
    for (int64_t i = 0; i + stride < length; ++i)
        to[i] = (from[i] & 0xffffu) | from[i + stride] << 16;
    for (int64_t i = length - stride; i < length; ++i) to[i] = from[i] & 0xffffu;
}

// counts[pixel][channel] for a row of pixels, from paired words and weights in both halves.
template <class I>
void count_row_of_pairs(const uint32_t* x, int64_t stride, const int32_t* taps,
                        const uint32_t* blocks, int64_t row, int64_t pixels, int32_t* counts) {
    int32_t left_over[2 * I::kLanes];
    for (int64_t vec = 0; vec < row / I::kLanes; ++vec) {
        const uint32_t* w = weights_of<I>(blocks, 9, vec);
        for (int64_t p = 0; p < pixels; p += 2) {
            typename I::Vec low, high;
            I::halves(nine_counts<I, Xor>(x + p * stride, taps, w), low, high);
            int32_t* to = counts + p * row + vec * I::kLanes;
            I::store(to, low);
            I::store(p + 1 < pixels ? to + row : left_over, high);
        }
    }
}

HIDIFF_INLINE void copy_words(uint32_t* to, const uint32_t* from, int64_t count) {
    __builtin_memcpy(to, from, count * sizeof(uint32_t));
}

// The input under a tile, with zeros where it hangs over the border.
void copy_with_border(const Conv& c, int64_t image, int64_t top, int64_t left, int64_t width,
                      uint32_t* to) {
    for (int64_t ky = 0; ky < c.kernel; ++ky, to += width * c.words) {
        const int64_t y = top + ky;
        const bool inside = y >= 0 && y < c.height;
        const int64_t first = left < 0 ? -left : 0;
        const int64_t last = left + width > c.width ? c.width - left : width;
        for (int64_t i = 0; i < width * c.words; ++i) to[i] = 0;
        if (inside && last > first)
            copy_words(to + first * c.words,
                       c.bits + ((image * c.height + y) * c.width + left + first) * c.words,
                       (last - first) * c.words);
    }
}

// One channel group of a shortcut: the pixel(s) of one source under one output pixel, averaged.
struct Pixels {
    const float* at[4];
    int count;
    HIDIFF_INLINE float operator()(int64_t channel) const {
        if (count == 1) return at[0][channel];
        return (((at[0][channel] + at[1][channel]) + at[2][channel]) + at[3][channel]) * 0.25f;
    }
};

Pixels pixels_under(const Source& s, int64_t image, int64_t y, int64_t x) {
    const float* base = s.data + image * s.height * s.width * s.channels;
    auto at = [&](int64_t yy, int64_t xx) { return base + (yy * s.width + xx) * s.channels; };
    if (s.zoom == Zoom::kNone) return {{at(y, x)}, 1};
    if (s.zoom == Zoom::kRepeat) return {{at(y / 2, x / 2)}, 1};
    return {{at(2 * y, 2 * x), at(2 * y, 2 * x + 1), at(2 * y + 1, 2 * x), at(2 * y + 1, 2 * x + 1)},
            4};
}

// Means of pairs of neighbouring channels.
template <int N>
HIDIFF_INLINE void halve(const float* __restrict from, int64_t channels, float* __restrict to) {
    const int64_t n = N ? N : channels / 2;
    for (int64_t o = 0; o < n; ++o) to[o] = (from[2 * o] + from[2 * o + 1]) * 0.5f;
}

// The shortcut of one output pixel: as it is, repeated, or means of neighbouring channels.
const float* shortcut_of(const Conv& c, int64_t image, int64_t y, int64_t x, float* row) {
    const Epilogue& e = *c.epilogue;
    int64_t channels = 0;
    for (int i = 0; i < e.num_sources; ++i) channels += e.sources[i].channels;
    if (e.num_sources == 1 && channels == c.out_channels) {
        const Pixels under = pixels_under(e.sources[0], image, y, x);
        if (under.count == 1) return under.at[0];
    }
    float* to = row;
    for (int i = 0; i < e.num_sources; ++i) {
        const int64_t n = e.sources[i].channels;
        const Pixels under = pixels_under(e.sources[i], image, y, x);
        if (channels <= c.out_channels) {
            if (under.count == 1)
                for (int64_t o = 0; o < n; ++o) to[o] = under.at[0][o];
            else
                for (int64_t o = 0; o < n; ++o) to[o] = under(o);
            to += n;
            continue;
        }
        const int64_t group = channels / c.out_channels;
        if (group == 2 && under.count == 1) {
            // the lengths of narrow networks are known when this is compiled
            if (n == 16)
                halve<8>(under.at[0], n, to);
            else if (n == 32)
                halve<16>(under.at[0], n, to);
            else
                halve<0>(under.at[0], n, to);
        } else
            for (int64_t o = 0; o < n / group; ++o) {
                float sum = under(o * group);
                for (int64_t j = 1; j < group; ++j) sum += under(o * group + j);
                to[o] = sum / static_cast<float>(group);
            }
        to += n / group;
    }
    for (int64_t o = channels; o < c.out_channels; ++o) row[o] = row[o - channels];
    return row;
}

// A word of signs of up to 32 channels.
template <class I>
HIDIFF_INLINE uint32_t signs_of(const float* x, const float* bias, int64_t channels) {
    if (channels >= kWord) return I::signs(x, bias);
    uint32_t word = 0;
    int64_t c = 0;
    for (; c + 8 <= channels; c += 8) word |= I::signs8(x + c, bias + c) << c;
    for (; c < channels; ++c) word |= static_cast<uint32_t>(x[c] + bias[c] >= 0.0f) << c;
    return word;
}

// `N` is the number of output channels, where it is known when this is compiled; else 0.
template <class I, int N>
HIDIFF_INLINE void finish_pixel(const Conv& c, const int32_t* __restrict counts,
                                const int32_t* __restrict offsets,
                                const float* __restrict shortcut, int64_t pixel) {
    const Epilogue& e = *c.epilogue;
    const int64_t n = N ? N : c.out_channels;
    const float* __restrict scale = e.scale;
    const float* __restrict offset = e.offset;
    const float* __restrict slope = e.slope;
    const float* __restrict bias = e.bias;
    float* __restrict out = e.out + pixel * n;
    for (int64_t o = 0; o < n; ++o) {
        float h = static_cast<float>(offsets[o] - 2 * counts[o]) * scale[o];
        h = (h + offset[o]) + shortcut[o];
        const float below = slope[o] * h;  // outside of the choice, which might not load it
        h = h > 0.0f ? h : below;
        out[o] = h + bias[o];
    }
    const int64_t words = words_of(n), pixels = c.batch * c.out_height * c.out_width;
    for (int64_t i = 0; i < e.num_next; ++i) {
        uint32_t* bits = e.next_bits + (i * pixels + pixel) * words;
        for (int64_t j = 0; j < words; ++j)
            bits[j] = signs_of<I>(out + j * kWord, e.next_bias + i * n + j * kWord, n - j * kWord);
    }
}

// Which sides of the input the kernel hangs over.
HIDIFF_INLINE int sides_of(const Conv& c, int64_t y, int64_t x) {
    const int64_t pad = c.kernel / 2;
    return (y * c.stride < pad) | (y * c.stride + pad >= c.height) << 1 |
           (x * c.stride < pad) << 2 | (x * c.stride + pad >= c.width) << 3;
}

// The shortcut of one output pixel as vectors of channels, where all lengths are multiples of 16.
// One source's pixel as it is or repeated; means of 2x2 pixels; or means of neighbouring channels.
enum class Way { kDirect, kPool, kPairs, kOther };

Way way_of(const Conv& c) {
    const Epilogue& e = *c.epilogue;
    const int64_t n = c.out_channels, channels = e.sources[0].channels;
    if (n % kBlock || channels % kBlock) return Way::kOther;
    if (e.num_sources == 1 && e.sources[0].zoom == Zoom::kPool)
        return channels <= n ? Way::kPool : Way::kOther;
    if (e.num_sources == 1 && channels == n) return Way::kDirect;
    if (e.sources[0].zoom != Zoom::kNone) return Way::kOther;
    if (e.num_sources == 1) return channels == 2 * n ? Way::kPairs : Way::kOther;
    const Source& second = e.sources[1];
    return channels == n && second.channels == n && second.zoom == Zoom::kNone ? Way::kPairs
                                                                              : Way::kOther;
}

// Where the shortcut of one output pixel begins: its first, and its second half or rows below.
struct Start {
    const float *first, *second;
};

template <Way way>
HIDIFF_INLINE Start start_of(const Conv& c, int64_t image, int64_t y, int64_t x, int64_t pixel,
                             int64_t n) {
    const Source& s = c.epilogue->sources[0];
    if constexpr (way == Way::kPairs) {
        const bool two = c.epilogue->num_sources == 2;
        const float* first = s.data + pixel * s.channels;
        return {first, two ? c.epilogue->sources[1].data + pixel * n : first + n};
    }
    const int64_t row = s.width * s.channels, base = image * s.height * row;
    if constexpr (way == Way::kPool) {
        const float* above = s.data + base + 2 * y * row + 2 * x * s.channels;
        return {above, above + row};
    }
    if (s.zoom == Zoom::kNone) return {s.data + pixel * s.channels, nullptr};
    return {s.data + base + y / 2 * row + x / 2 * s.channels, nullptr};
}

template <class I, Way way>
HIDIFF_INLINE typename I::Float shortcut_vector(const Start& from, int64_t channels, int64_t n,
                                                int64_t o) {
    constexpr int64_t L = I::kFloats;
    if constexpr (way == Way::kDirect) return load_floats<I>(from.first + o);
    if constexpr (way == Way::kPool) {
        if (channels < n) o %= channels;  // fewer channels are repeated
        const float *above = from.first + o, *below = from.second + o;
        return (((load_floats<I>(above) + load_floats<I>(above + channels)) +
                 load_floats<I>(below)) + load_floats<I>(below + channels)) * 0.25f;
    }
    const auto at = [&](int64_t o) __attribute__((always_inline)) {
        return load_floats<I>(o < n ? from.first + o : from.second + (o - n));
    };
    return I::pair_sums(at(2 * o), at(2 * o + L)) * 0.5f;
}

// Finish some pixels of a row, vector by vector. `N` is as for finish_pixel.
template <class I, int N, Way way>
void finish_vectors(const Conv& c, const int32_t* counts, int64_t ld, int64_t image, int64_t y,
                    int64_t x0, int64_t width) {
    using Float = typename I::Float;
    using Word = typename I::Word;
    constexpr int64_t L = I::kFloats;
    const Epilogue& e = *c.epilogue;
    const int64_t n = N ? N : c.out_channels, words = words_of(n);
    const int64_t pixels = c.batch * c.out_height * c.out_width;
    int64_t pixel = (image * c.out_height + y) * c.out_width + x0;
    for (int64_t p = 0; p < width; ++p, ++pixel, counts += ld) {
        const int32_t* offsets = c.offsets + sides_of(c, y, x0 + p) * ld;
        const Start from = start_of<way>(c, image, y, x0 + p, pixel, n);
        float* out = e.out + pixel * n;
        for (int64_t j = 0; j < words; ++j) {
            constexpr int kMost = 2;  // layers that read an output
            uint32_t bits[kMost] = {};
            const int64_t end = n - j * kWord < kWord ? n : (j + 1) * kWord;
            for (int64_t o = j * kWord; o < end; o += L) {
                Word sum, count;
                __builtin_memcpy(&sum, offsets + o, sizeof sum);
                __builtin_memcpy(&count, counts + o, sizeof count);
                sum -= count + count;
                Float h = __builtin_convertvector(sum, Float) * load_floats<I>(e.scale + o);
                h = (h + load_floats<I>(e.offset + o)) + shortcut_vector<I, way>(from, e.sources[0].channels, n, o);
                h = choose<I>((Word)(h > 0.0f), h, load_floats<I>(e.slope + o) * h);
                h += load_floats<I>(e.bias + o);
                store_floats<I>(out + o, h);
                for (int i = 0; i < kMost; ++i)
                    if (i < e.num_next)
                        bits[i] |= I::signs_of(h + load_floats<I>(e.next_bias + i * n + o))
                                   << (o - j * kWord);
            }
            for (int i = 0; i < kMost; ++i)
                if (i < e.num_next) e.next_bits[(i * pixels + pixel) * words + j] = bits[i];
        }
    }
}

template <class I, int N>
bool finish_by_vectors(const Conv& c, const int32_t* counts, int64_t ld, int64_t image, int64_t y,
                       int64_t x0, int64_t width) {
    if (c.epilogue->num_next > 2) return false;
    switch (way_of(c)) {
        case Way::kDirect:
            finish_vectors<I, N, Way::kDirect>(c, counts, ld, image, y, x0, width);
            return true;
        case Way::kPool:
            finish_vectors<I, N, Way::kPool>(c, counts, ld, image, y, x0, width);
            return true;
        case Way::kPairs:
            finish_vectors<I, N, Way::kPairs>(c, counts, ld, image, y, x0, width);
            return true;
        default:
            return false;
    }
}

// Finish some pixels of a row: the sums, the shortcut and the signs.
template <class I, int N>
void finish_row(const Conv& c, const int32_t* counts, int64_t ld, int64_t image, int64_t y,
                int64_t x0, int64_t width, float* row) {
    if (finish_by_vectors<I, N>(c, counts, ld, image, y, x0, width)) return;
    const Epilogue& e = *c.epilogue;
    const Source& first = e.sources[0];
    const int64_t pixel = (image * c.out_height + y) * c.out_width + x0;
    const bool straight = e.num_sources == 1 && first.zoom == Zoom::kNone &&
                          first.channels == c.out_channels;
    for (int64_t p = 0; p < width; ++p) {
        const float* shortcut = straight ? first.data + (pixel + p) * c.out_channels
                                         : shortcut_of(c, image, y, x0 + p, row);
        finish_pixel<I, N>(c, counts + p * ld, c.offsets + sides_of(c, y, x0 + p) * ld, shortcut,
                           pixel + p);
    }
}

// Where each word of each tap lies, from the first word under a pixel, in rows `pitch` words apart.
void fill_taps(const Conv& c, int64_t pitch, int32_t* taps) {
    const int64_t run = c.kernel * c.words;
    for (int64_t ky = 0; ky < c.kernel; ++ky)
        for (int64_t i = 0; i < run; ++i)
            taps[ky * run + i] = static_cast<int32_t>(ky * pitch + i);
}

template <class I>
void conv(const Conv& c, int64_t begin, int64_t end, int32_t* scratch) {
    int32_t* counts = scratch;
    float* row = reinterpret_cast<float*>(counts + c.scratch_sums());
    int32_t* taps_image = counts + 2 * c.scratch_sums();
    int32_t* taps_border = taps_image + c.scratch_taps();
    uint32_t* border = reinterpret_cast<uint32_t*>(taps_border + c.scratch_taps());
    uint8_t* spread = reinterpret_cast<uint8_t*>(border + c.scratch_border());

    const int64_t tile = tile_width(c.out_channels), tiles_in_row = c.tiles_in_row();
    const int64_t pad = c.kernel / 2, ld = padded(c.out_channels), num_k = c.taps() * c.words;
    const int64_t border_width = (tile - 1) * c.stride + c.kernel;
    fill_taps(c, c.width * c.words, taps_image);
    fill_taps(c, border_width * c.words, taps_border);

    // the sums where the kernel hangs over no side begin with the number of products
    const bool pairs = I::kCarrySave && c.kernel == 3 && c.words == 1 && ld <= kPairChannels &&
                       c.offsets[0] <= 16 * c.taps();
    uint32_t twice[9 * kPairChannels];
    if (pairs)
        for (int64_t i = 0; i < 9 * ld; ++i) twice[i] = (c.blocks[i] & 0xffffu) | c.blocks[i] << 16;

    for (int64_t item = begin; item < end; ++item) {
        const int64_t x0 = item % tiles_in_row * tile;
        const int64_t y = item / tiles_in_row % c.out_height;
        const int64_t image = item / tiles_in_row / c.out_height;
        const int64_t width = c.out_width - x0 < tile ? c.out_width - x0 : tile;
        const int64_t top = y * c.stride - pad, left = x0 * c.stride - pad;
        const uint32_t* x;
        const int32_t* taps;
        if (sides_of(c, y, x0) | sides_of(c, y, x0 + width - 1)) {
            copy_with_border(c, image, top, left, border_width, border);
            x = border, taps = taps_border;
        } else {
            x = c.bits + ((image * c.height + top) * c.width + left) * c.words, taps = taps_image;
        }
        const int64_t length = (width - 1) * c.stride + c.kernel;
        const int64_t pitch = x == border ? border_width : c.width;
        bool is_counted = pairs;
        if constexpr (I::kCarrySave) {
            if (pairs) {
                for (int64_t ky = 0; ky < c.kernel; ++ky)
                    pair_words(x + ky * pitch, length, c.stride, border + ky * border_width);
                count_row_of_pairs<I>(border, c.stride, taps_border, twice, ld, width, counts);
            }
        }
        if constexpr (I::kLooksUp) {
            if (c.nibbles && !pairs) {
                for (int64_t ky = 0; ky < c.kernel; ++ky)
                    spread_words(x + ky * pitch * c.words, length * c.words,
                                 spread + ky * length * c.words * 8);
                look_up_row<I>(c, spread, length * c.words * 8, width, counts);
                is_counted = true;
            }
        }
        if (!is_counted)
            count_row<I, Xor>(x, c.stride * c.words, taps, num_k, c.blocks, c.out_channels, width,
                              counts);
        if (c.epilogue) {
            if (c.out_channels == 16)
                finish_row<I, 16>(c, counts, ld, image, y, x0, width, row);
            else if (c.out_channels == 32)
                finish_row<I, 32>(c, counts, ld, image, y, x0, width, row);
            else
                finish_row<I, 0>(c, counts, ld, image, y, x0, width, row);
            continue;
        }
        for (int64_t p = 0; p < width; ++p) {
            const int64_t pixel = (image * c.out_height + y) * c.out_width + x0 + p;
            const int32_t* offsets = c.offsets + sides_of(c, y, x0 + p) * ld;
            const int32_t* count = counts + p * ld;
            if (c.sums32) {
                int32_t* __restrict out = c.sums32 + pixel * c.out_channels;
                for (int64_t o = 0; o < c.out_channels; ++o) out[o] = offsets[o] - 2 * count[o];
            } else {
                int16_t* __restrict out = c.sums16 + pixel * c.out_channels;
                for (int64_t o = 0; o < c.out_channels; ++o)
                    out[o] = static_cast<int16_t>(offsets[o] - 2 * count[o]);
            }
        }
    }
}

template <class I>
void attention(const Attention& a, int64_t begin, int64_t end, int32_t* scratch) {
    const int64_t dim = a.head_dim, head_words = words_of(dim), key_words = words_of(a.keys);
    const int64_t key_row = padded(a.keys), value_row = padded(dim);
    int32_t* differ = scratch;
    int32_t* context = differ + Attention::kQueries * key_row;
    uint32_t* chosen = reinterpret_cast<uint32_t*>(context + Attention::kQueries * value_row);
    const int64_t groups = (a.queries + Attention::kQueries - 1) / Attention::kQueries;
    for (int64_t item = begin; item < end; ++item) {
        const int64_t head = item / groups, first = item % groups * Attention::kQueries;
        const int64_t count =
            a.queries - first < Attention::kQueries ? a.queries - first : Attention::kQueries;
        const uint32_t* query = a.query + (head * a.queries + first) * head_words;
        count_row<I, Xor>(query, head_words, a.steps, head_words,
                          a.key_blocks + head * key_row * head_words, a.keys, count, differ);
        int32_t sizes[Attention::kQueries];
        for (int64_t q = 0; q < count; ++q) {
            const int32_t* row = differ + q * key_row;
            uint32_t* bits = chosen + q * key_words;
            int32_t least = row[0];
            for (int64_t k = 1; k < a.keys; ++k) least = row[k] < least ? row[k] : least;
            // score = dim - 2 * differ, so the largest score is the least difference
            const int32_t bar = a.thresholds[2 * (dim - least)];
            sizes[q] = 0;
            for (int64_t j = 0; j < key_words; ++j) {
                uint32_t word = 0;
                const int64_t n = a.keys - j * kWord < kWord ? a.keys - j * kWord : kWord;
                for (int64_t k = 0; k < n; ++k)
                    word |= static_cast<uint32_t>(
                                static_cast<int32_t>(dim) - 2 * row[j * kWord + k] > bar)
                            << k;
                bits[j] = word;
                sizes[q] += __builtin_popcount(word);
            }
        }
        count_row<I, And>(chosen, key_words, a.steps, key_words,
                          a.value_blocks + head * value_row * key_words, dim, count, context);
        const int64_t image = head / a.heads, part = head % a.heads;
        for (int64_t q = 0; q < count; ++q) {
            int32_t* out = a.out + ((image * a.queries + first + q) * a.heads + part) * dim;
            for (int64_t d = 0; d < dim; ++d) out[d] = 2 * context[q * value_row + d] - sizes[q];
        }
    }
}

// Pixels [begin, end) of floats to bits.
template <class I>
void pack(const Pack& p, int64_t begin, int64_t end) {
    constexpr int64_t kTogether = 64;
    static const float kNoBias[kWord] = {};
    const int64_t words = words_of(p.channels);
    if (p.channel_stride == 1) {
        for (int64_t i = begin; i < end; ++i) {
            const float* x = p.x + i / p.pixels_in_image * p.image_stride +
                             i % p.pixels_in_image * p.pixel_stride;
            for (int64_t j = 0; j < words; ++j)
                p.bits[i * words + j] =
                    signs_of<I>(x + j * kWord, p.bias ? p.bias + j * kWord : kNoBias,
                                p.channels - j * kWord);
        }
        return;
    }
    for (int64_t i = begin; i < end;) {
        const int64_t in_image = i % p.pixels_in_image;
        const float* x = p.x + i / p.pixels_in_image * p.image_stride + in_image;
        int64_t n = p.pixels_in_image - in_image;
        n = n < end - i ? n : end - i;
        n = n < kTogether ? n : kTogether;
        for (int64_t j = 0; j < words; ++j) {
            uint32_t word[kTogether] = {};
            for (int64_t c = j * kWord; c < p.channels && c < (j + 1) * kWord; ++c) {
                const float* plane = x + c * p.channel_stride;
                const float bias = p.bias ? p.bias[c] : 0.0f;
                for (int64_t q = 0; q < n; ++q)
                    word[q] |= static_cast<uint32_t>(plane[q] + bias >= 0.0f) << (c - j * kWord);
            }
            for (int64_t q = 0; q < n; ++q) p.bits[(i + q) * words + j] = word[q];
        }
        i += n;
    }
}

uint64_t sum_of(const int32_t* lanes, int64_t count) {
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<uint64_t>(lanes[i]);
    return sum;
}

// Eight counters at once, so that none is waited for.
template <class I>
uint64_t peak_plain(const uint32_t* words, int64_t rounds) {
    using Vec = typename I::Vec;
    constexpr int64_t kStep = 8 * I::kLanes, kRun = 16 * kStep;
    static_assert(kPeakWords % kRun == 0, "counters must be emptied before they overflow");
    uint64_t total = 0;
    int32_t out[I::kLanes];
    for (int64_t r = 0; r < rounds; ++r) {
        const Vec x = I::broadcast(words[r % kPeakWords]);
        Vec sum = I::zero();
        for (int64_t run = 0; run < kPeakWords; run += kRun) {
            Vec acc[8];
            HIDIFF_UNROLL
            for (int j = 0; j < 8; ++j) acc[j] = I::zero();
            for (int64_t i = run; i < run + kRun; i += kStep) {
                HIDIFF_UNROLL
                for (int j = 0; j < 8; ++j)
                    acc[j] = I::add(acc[j], I::bit_xor(x, I::load(words + i + j * I::kLanes)));
            }
            HIDIFF_UNROLL
            for (int j = 0; j < 8; ++j) sum = I::add_counts(sum, I::counts(acc[j]));
        }
        I::store(out, sum);
        total += sum_of(out, I::kLanes);
    }
    return total;
}

// Sixteen words are added up into one that is counted.
template <class I>
uint64_t peak_carry_save(const uint32_t* words, int64_t rounds) {
    using Vec = typename I::Vec;
    uint64_t total = 0;
    int32_t out[I::kLanes];
    auto count = [](Vec v) { return I::counts(I::add(I::zero(), v)); };
    for (int64_t r = 0; r < rounds; ++r) {
        const Vec x = I::broadcast(words[r % kPeakWords]);
        Vec sum = I::zero(), ones = sum, twos = sum, fours = sum, eights = sum;
        auto load = [&](int64_t i) { return I::bit_xor(x, I::load(words + i * I::kLanes)); };
        for (int64_t i = 0; i < kPeakWords / I::kLanes; i += 16) {
            Vec eight[2];
            HIDIFF_UNROLL
            for (int h = 0; h < 2; ++h) {
                const int64_t k = i + 8 * h;
                Vec two1 = I::add_bits(ones, load(k), load(k + 1));
                Vec two2 = I::add_bits(ones, load(k + 2), load(k + 3));
                const Vec four1 = I::add_bits(twos, two1, two2);
                two1 = I::add_bits(ones, load(k + 4), load(k + 5));
                two2 = I::add_bits(ones, load(k + 6), load(k + 7));
                const Vec four2 = I::add_bits(twos, two1, two2);
                eight[h] = I::add_bits(fours, four1, four2);
            }
            sum = I::add_counts(sum, count(I::add_bits(eights, eight[0], eight[1])));
        }
        const Vec left[5] = {count(ones), count(twos), count(fours), count(eights), sum};
        for (int i = 0; i < 5; ++i) {
            I::store(out, left[i]);
            total += sum_of(out, I::kLanes) << i;
        }
    }
    return total;
}

}  // namespace
}  // namespace hidiff

#include "real.inl"

namespace hidiff {
namespace {

template <class I>
constexpr Kernels kernels_of(const char* name, const char* how, bool (*supported)()) {
    return {name,         how,     supported,     I::kLooksUp,      conv<I>,
            attention<I>, pack<I>, modulate<I>, real_conv<I>, moments<I>, peak_plain<I>,
            peak_carry_save<I>};
}

}  // namespace
}  // namespace hidiff
