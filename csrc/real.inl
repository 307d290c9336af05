// Layers that stay float: 3x3 and 1x1 convolutions with norm and SiLU before them, and the sums of a
// group norm. Every product is added by one fused multiply and add, in the order of rows, columns
// and channels, so that all instruction sets round alike.
#include "kernels.h"

namespace hidiff {
namespace {

// e to the x, to about the last bit, for -87 <= x <= 87 (Cephes' polynomial).
template <class I>
HIDIFF_INLINE typename I::Float exponential(typename I::Float x) {
    using Float = typename I::Float;
    using Word = typename I::Word;
    const Float magic = all_floats<I>(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
    const Float shifted = x * 1.44269504088896341f + magic;
    const Float n = shifted - magic;
    Float r = I::fma(n, all_floats<I>(-0.693359375f), x);
    r = I::fma(n, all_floats<I>(2.12194440e-4f), r);
    Float y = all_floats<I>(1.9875691500e-4f);
    y = I::fma(y, r, all_floats<I>(1.3981999507e-3f));
    y = I::fma(y, r, all_floats<I>(8.3334519073e-3f));
    y = I::fma(y, r, all_floats<I>(4.1665795894e-2f));
    y = I::fma(y, r, all_floats<I>(1.6666665459e-1f));
    y = I::fma(y, r, all_floats<I>(5.0000001201e-1f));
    y = I::fma(y, r * r, r) + 1.0f;
    const Word power = ((Word)shifted - (Word)magic + 127) << 23;
    return y * (Float)power;
}

// silu(x * factor + shift)
template <class I>
HIDIFF_INLINE typename I::Float activate(typename I::Float x, typename I::Float factor,
                                         typename I::Float shift) {
    const typename I::Float h = I::fma(x, factor, shift), most = all_floats<I>(87.0f);
    typename I::Float minus = -h;
    minus = choose<I>((typename I::Word)(minus < most), minus, most);
    minus = choose<I>((typename I::Word)(minus > -most), minus, -most);
    return h / (exponential<I>(minus) + 1.0f);
}

template <class I>
void activate_row(const float* x, const float* factor, const float* shift, int64_t count, float* to) {
    constexpr int64_t kStep = I::kFloats;
    int64_t i = 0;
    for (; i + kStep <= count; i += kStep)
        store_floats<I>(to + i, activate<I>(load_floats<I>(x + i), load_floats<I>(factor + i),
                                            load_floats<I>(shift + i)));
    if (i == count) return;
    float rest[3][kStep] = {};
    for (int64_t j = i; j < count; ++j)
        rest[0][j - i] = x[j], rest[1][j - i] = factor[j], rest[2][j - i] = shift[j];
    store_floats<I>(rest[0], activate<I>(load_floats<I>(rest[0]), load_floats<I>(rest[1]),
                                         load_floats<I>(rest[2])));
    for (int64_t j = i; j < count; ++j) to[j] = rest[0][j - i];
}

HIDIFF_INLINE void copy_floats(float* to, const float* from, int64_t count) {
    __builtin_memcpy(to, from, count * sizeof(float));
}

// A row of all sources, channels side by side.
const float* gather_row(const RealConv& c, int64_t image, int64_t y, float* row) {
    if (c.num_sources == 1) {
        const Plane& s = c.sources[0];
        if (s.channel_stride == 1 && s.pixel_stride == s.channels)
            return s.data + image * s.image_stride + y * c.width * s.pixel_stride;
    }
    int64_t first = 0;
    for (int i = 0; i < c.num_sources; ++i) {
        const Plane& s = c.sources[i];
        const float* from = s.data + image * s.image_stride + y * c.width * s.pixel_stride;
        for (int64_t x = 0; x < c.width; ++x)
            for (int64_t ch = 0; ch < s.channels; ++ch)
                row[x * c.in_channels + first + ch] =
                    from[x * s.pixel_stride + ch * s.channel_stride];
        first += s.channels;
    }
    return row;
}

// A row as the kernel reads it: activated, with zeros beyond the borders and past the channels.
template <class I>
void fill_row(const RealConv& c, int64_t image, int64_t y, const float* factor, const float* shift,
              float* row, float* to) {
    const int64_t channels = c.row_channels(), pad = c.kernel / 2;
    const int64_t whole = (c.width + 2 * pad) * channels;
    if (y < 0 || y >= c.height) {
        for (int64_t i = 0; i < whole; ++i) to[i] = 0.0f;
        return;
    }
    const float* from = gather_row(c, image, y, row);
    const int64_t count = c.width * c.in_channels;
    float* inside = to + pad * channels;
    if (channels == c.in_channels) {
        if (factor)
            activate_row<I>(from, factor, shift, count, inside);
        else
            copy_floats(inside, from, count);
    } else {
        if (factor) {
            activate_row<I>(from, factor, shift, count, row);
            from = row;
        }
        for (int64_t x = 0; x < c.width; ++x) {
            copy_floats(inside + x * channels, from + x * c.in_channels, c.in_channels);
            for (int64_t ch = c.in_channels; ch < channels; ++ch) inside[x * channels + ch] = 0.0f;
        }
    }
    for (int64_t i = 0; i < pad * channels; ++i) to[i] = to[whole - 1 - i] = 0.0f;
}

// 16 output channels of `P` pixels.
template <class I, int P>
HIDIFF_INLINE void real_pixels(const RealConv& c, const float* const* rows, int64_t x0,
                               const float* weights, const float* bias, const float* added,
                               int64_t some, float* out) {
    using Float = typename I::Float;
    constexpr int V = kBlock / I::kFloats;
    const int64_t run = c.kernel * c.in_channels, step = c.stride * c.in_channels;
    Float acc[P][V];
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) {
        HIDIFF_UNROLL
        for (int v = 0; v < V; ++v) acc[p][v] = load_floats<I>(bias + v * I::kFloats);
    }
    for (int64_t ky = 0; ky < c.kernel; ++ky) {
        const float* x = rows[ky] + x0 * step;
        for (int64_t j = 0; j < run; ++j, weights += kBlock) {
            Float w[V];
            HIDIFF_UNROLL
            for (int v = 0; v < V; ++v) w[v] = load_floats<I>(weights + v * I::kFloats);
            HIDIFF_UNROLL
            for (int p = 0; p < P; ++p) {
                const Float xp = all_floats<I>(x[p * step + j]);
                HIDIFF_UNROLL
                for (int v = 0; v < V; ++v) acc[p][v] = I::fma(xp, w[v], acc[p][v]);
            }
        }
    }
    if (some == kBlock) {
        HIDIFF_UNROLL
        for (int p = 0; p < P; ++p) {
            HIDIFF_UNROLL
            for (int v = 0; v < V; ++v) {
                const int64_t at = p * c.out_channels + v * I::kFloats;
                if (added) acc[p][v] += load_floats<I>(added + at);
                store_floats<I>(out + at, acc[p][v]);
            }
        }
        return;
    }
    float all[kBlock];
    HIDIFF_UNROLL
    for (int p = 0; p < P; ++p) {
        HIDIFF_UNROLL
        for (int v = 0; v < V; ++v) store_floats<I>(all + v * I::kFloats, acc[p][v]);
        for (int64_t o = 0; o < some; ++o) {
            const int64_t at = p * c.out_channels + o;
            out[at] = added ? all[o] + added[at] : all[o];
        }
    }
}

template <class I>
void real_row(const RealConv& c, const float* const* rows, int64_t pixel) {
    for (int64_t first = 0; first < c.out_channels; first += kBlock) {
        const float* weights = c.blocks + first * c.taps() * c.in_channels;
        const int64_t left = c.out_channels - first, some = left < kBlock ? left : kBlock;
        int64_t x = 0;
        auto step = [&](auto count) {
            constexpr int P = decltype(count)::value;
            for (; x + P <= c.out_width; x += P) {
                const int64_t at = (pixel + x) * c.out_channels + first;
                real_pixels<I, P>(c, rows, x, weights, c.bias + first,
                                  c.added ? c.added + at : nullptr, some, c.out + at);
            }
        };
        step(Int<I::kRealPixels>{});
        if constexpr (I::kRealPixels > 4) step(Int<4>{});
        step(Int<1>{});
    }
}

// Few output channels: one vector of sums, over the input channels, for each of them.
template <class I>
void narrow_row(const RealConv& c, const float* const* rows, int64_t pixel) {
    using Float = typename I::Float;
    constexpr int V = kBlock / I::kFloats;
    const int64_t channels = c.row_channels(), run = c.kernel * channels;
    for (int64_t x = 0; x < c.out_width; ++x)
        for (int64_t o = 0; o < c.out_channels; ++o) {
            const float* w = c.blocks + o * c.taps() * channels;
            Float acc[V];
            HIDIFF_UNROLL
            for (int v = 0; v < V; ++v) acc[v] = Float{};
            for (int64_t ky = 0; ky < c.kernel; ++ky, w += run) {
                const float* from = rows[ky] + x * c.stride * channels;
                for (int64_t j = 0; j < run; j += kBlock) {
                    HIDIFF_UNROLL
                    for (int v = 0; v < V; ++v) {
                        const int64_t at = j + v * I::kFloats;
                        acc[v] = I::fma(load_floats<I>(from + at), load_floats<I>(w + at), acc[v]);
                    }
                }
            }
            float sums[kBlock];
            HIDIFF_UNROLL
            for (int v = 0; v < V; ++v) store_floats<I>(sums + v * I::kFloats, acc[v]);
            // halves are added to halves, which is the same for vectors of any length
            for (int half = kBlock / 2; half; half /= 2)
                for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
            const int64_t at = (pixel + x) * c.out_channels + o;
            const float sum = sums[0] + c.bias[o];
            c.out[at] = c.added ? sum + c.added[at] : sum;
        }
}

// Bands of rows [begin, end), image by image.
template <class I>
void real_conv(const RealConv& c, int64_t begin, int64_t end, float* scratch) {
    const int64_t row = c.scratch_row(), pad = c.kernel / 2;
    float *gathered = scratch, *factor = scratch + row, *shift = scratch + 2 * row;
    float* ring = scratch + 3 * row;
    for (int64_t item = begin; item < end; ++item) {
        const int64_t image = item / c.bands(), top = item % c.bands() * RealConv::kRows;
        const int64_t bottom =
            c.out_height - top < RealConv::kRows ? c.out_height : top + RealConv::kRows;
        if (c.factor)
            for (int64_t x = 0; x < c.width; ++x) {
                copy_floats(factor + x * c.in_channels, c.factor + image * c.in_channels,
                            c.in_channels);
                copy_floats(shift + x * c.in_channels, c.shift + image * c.in_channels,
                            c.in_channels);
            }
        int64_t filled = top * c.stride - pad;  // the first row that is not in the ring
        for (int64_t y = top; y < bottom; ++y) {
            const int64_t first = y * c.stride - pad;
            if (filled < first) filled = first;
            for (; filled < first + c.kernel; ++filled)
                fill_row<I>(c, image, filled, c.factor ? factor : nullptr, shift, gathered,
                            ring + (filled + pad) % c.kernel * row);
            const float* rows[3];
            for (int64_t ky = 0; ky < c.kernel; ++ky)
                rows[ky] = ring + (first + ky + pad) % c.kernel * row;
            const int64_t pixel = (image * c.out_height + y) * c.out_width;
            if (c.is_narrow())
                narrow_row<I>(c, rows, pixel);
            else
                real_row<I>(c, rows, pixel);
        }
    }
}

// Pixels [begin, end).
template <class I>
void modulate(const Modulate& m, int64_t begin, int64_t end) {
    const int64_t n = m.channels, words = words_of(n);
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const float* x = m.x + pixel * n;
        float* out = m.out + pixel * n;
        for (int64_t j = 0; j < words; ++j) {
            const int64_t end = n - j * kWord < kWord ? n : (j + 1) * kWord;
            uint32_t word = 0;
            int64_t c = j * kWord;
            for (; c + I::kFloats <= end; c += I::kFloats) {
                const typename I::Float value =
                    load_floats<I>(x + c) * load_floats<I>(m.factor + c) +
                    load_floats<I>(m.shift + c);
                store_floats<I>(out + c, value);
                word |= I::signs_of(value + load_floats<I>(m.bias + c)) << (c - j * kWord);
            }
            for (; c < end; ++c) {
                out[c] = x[c] * m.factor[c] + m.shift[c];
                word |= static_cast<uint32_t>(out[c] + m.bias[c] >= 0.0f) << (c - j * kWord);
            }
            m.bits[pixel * words + j] = word;
        }
    }
}

// The mean of some pixels and their squared distances from it, for `N` neighbouring channels; four
// sums, so that none waits for another.
template <class Float, class Load, class Fma>
HIDIFF_INLINE void moments_of(int64_t pixels, Load load, Fma fma, Float& mean, Float& squares) {
    Float sum[4] = {}, square[4] = {};
    int64_t i = 0;
    for (; i + 4 <= pixels; i += 4) {
        HIDIFF_UNROLL
        for (int j = 0; j < 4; ++j) sum[j] = sum[j] + load(i + j);
    }
    for (; i < pixels; ++i) sum[0] = sum[0] + load(i);
    mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / static_cast<float>(pixels);
    for (i = 0; i + 4 <= pixels; i += 4) {
        HIDIFF_UNROLL
        for (int j = 0; j < 4; ++j) {
            const Float away = load(i + j) - mean;
            square[j] = fma(away, away, square[j]);
        }
    }
    for (; i < pixels; ++i) {
        const Float away = load(i) - mean;
        square[0] = fma(away, away, square[0]);
    }
    squares = (square[0] + square[1]) + (square[2] + square[3]);
}

template <class I>
void moments(const Norm& n, int64_t begin, int64_t end, float* out) {
    using Float = typename I::Float;
    for (int64_t item = begin; item < end; ++item) {
        const int64_t image = item / n.bands(), first = item % n.bands() * Norm::kPixels;
        const int64_t left = n.pixels - first, pixels = left < Norm::kPixels ? left : Norm::kPixels;
        const float* x = n.x + (image * n.pixels + first) * n.channels;
        float *means = out + item * 2 * n.channels, *squares = means + n.channels;
        int64_t c = 0;
        for (; c + I::kFloats <= n.channels; c += I::kFloats) {
            Float mean, square;
            moments_of(
                pixels, [&](int64_t i) { return load_floats<I>(x + i * n.channels + c); },
                [](Float a, Float b, Float s) { return I::fma(a, b, s); }, mean, square);
            store_floats<I>(means + c, mean);
            store_floats<I>(squares + c, square);
        }
        for (; c < n.channels; ++c)
            moments_of(
                pixels, [&](int64_t i) { return x[i * n.channels + c]; },
                [](float a, float b, float s) { return __builtin_fmaf(a, b, s); }, means[c],
                squares[c]);
    }
}

}  // namespace
}  // namespace hidiff
