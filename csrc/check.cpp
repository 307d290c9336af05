// Every kernel that runs here against the plainest arithmetic: a test program without Python, for
// sanitizers and for processors that are only emulated. Prints what failed, and how many passed.
//
//   check [NAME ...]    those kernels only
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "run.h"

using namespace hidiff;

namespace {

std::mt19937 generator(7);
int passed = 0, failed = 0;

void expect(bool holds, const std::string& what) {
    ++(holds ? passed : failed);
    if (!holds) std::printf("FAILED %s\n", what.c_str());
}

float real() { return std::uniform_real_distribution<float>(-2, 2)(generator); }
int integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

std::vector<float> reals(int64_t count) {
    std::vector<float> result(static_cast<size_t>(count));
    for (float& x : result) x = real();
    return result;
}

template <class T>
std::string join(std::initializer_list<T> values) {
    std::string text;
    for (T v : values) text += " " + std::to_string(v);
    return text;
}

// `rows` rows of so many signs, as +1 and -1, and packed.
struct Signs {
    int64_t rows, channels;
    std::vector<int> values;
    std::vector<uint32_t> bits;

    Signs(int64_t rows, int64_t channels)
        : rows(rows), channels(channels), values(static_cast<size_t>(rows * channels)),
          bits(static_cast<size_t>(rows * words_of(channels))) {
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t c = 0; c < channels; ++c) {
                const int bit = integer(0, 1);
                values[static_cast<size_t>(i * channels + c)] = 2 * bit - 1;
                if (bit) bits[static_cast<size_t>(i * words_of(channels) + c / kWord)] |=
                    1u << (c % kWord);
            }
    }
    int at(int64_t row, int64_t channel) const {
        return values[static_cast<size_t>(row * channels + channel)];
    }
};

struct Case {
    int64_t batch, height, width, in, out, kernel, stride;
    std::string name() const {
        return join({batch, height, width, in, out, kernel, stride});
    }
};

void check_conv(const Kernels& kernels, const Case& t, int threads) {
    const Signs x(t.batch * t.height * t.width, t.in);
    const Signs w(t.out * t.kernel * t.kernel, t.in);  // row: output channel, then tap
    const int64_t taps = t.kernel * t.kernel, words = words_of(t.in), pad = t.kernel / 2;

    std::vector<uint32_t> blocks(static_cast<size_t>(padded(t.out) * taps * words));
    for (int64_t o = 0; o < t.out; ++o)
        for (int64_t k = 0; k < taps * words; ++k)
            blocks[static_cast<size_t>((o / kBlock * taps * words + k) * kBlock + o % kBlock)] =
                w.bits[static_cast<size_t>(o * taps * words + k)];
    std::vector<int32_t> offsets(static_cast<size_t>(16 * padded(t.out)));
    for (int sides = 0; sides < 16; ++sides)
        for (int64_t o = 0; o < t.out; ++o) {
            int32_t& offset = offsets[static_cast<size_t>(sides * padded(t.out) + o)];
            offset = static_cast<int32_t>(taps * t.in);
            for (int64_t tap = 0; tap < taps && t.kernel == 3; ++tap) {
                const bool outside = (tap / 3 == 0 && sides & 1) || (tap / 3 == 2 && sides & 2) ||
                                     (tap % 3 == 0 && sides & 4) || (tap % 3 == 2 && sides & 8);
                for (int64_t c = 0; c < t.in && outside; ++c) offset += w.at(o * taps + tap, c);
            }
        }

    Conv c{};
    c.bits = x.bits.data(), c.batch = t.batch, c.height = t.height, c.width = t.width;
    c.words = words, c.blocks = blocks.data(), c.out_channels = t.out, c.offsets = offsets.data();
    c.kernel = t.kernel, c.stride = t.stride;
    c.out_height = (t.height - 1) / t.stride + 1, c.out_width = (t.width - 1) / t.stride + 1;
    const int64_t pixels = c.batch * c.out_height * c.out_width, size = pixels * t.out;

    std::vector<int32_t> truth(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
        const int64_t o = i % t.out, px = i / t.out;
        const int64_t ox = px % c.out_width, oy = px / c.out_width % c.out_height;
        const int64_t image = px / c.out_width / c.out_height;
        for (int64_t tap = 0; tap < taps; ++tap) {
            const int64_t y = oy * t.stride - pad + tap / t.kernel;
            const int64_t xx = ox * t.stride - pad + tap % t.kernel;
            if (y < 0 || y >= t.height || xx < 0 || xx >= t.width) continue;
            for (int64_t ch = 0; ch < t.in; ++ch)
                truth[static_cast<size_t>(i)] +=
                    x.at((image * t.height + y) * t.width + xx, ch) * w.at(o * taps + tap, ch);
        }
    }

    std::vector<int32_t> sums32(static_cast<size_t>(size));
    c.sums32 = sums32.data();
    run_conv(kernels, c, threads);
    expect(sums32 == truth, std::string(kernels.name) + " conv int32" + t.name());

    std::vector<int16_t> sums16(static_cast<size_t>(size));
    c.sums32 = nullptr, c.sums16 = sums16.data();
    run_conv(kernels, c, threads);
    expect(std::vector<int32_t>(sums16.begin(), sums16.end()) == truth,
           std::string(kernels.name) + " conv int16" + t.name());

    // The block: shortcuts of the same size, pooled, repeated; as many channels, twice, half.
    const auto scale = reals(t.out), offset = reals(t.out), slope = reals(t.out),
               bias = reals(t.out), next_bias = reals(2 * t.out);
    struct Kind {
        Zoom zoom;
        int sources;
        int64_t channels;
    };
    std::vector<Kind> kinds = {{Zoom::kNone, 1, t.out}, {Zoom::kNone, 1, 2 * t.out},
                               {Zoom::kPool, 1, t.out}, {Zoom::kNone, 1, 4 * t.out}};
    if (t.out % 2 == 0) {
        kinds.push_back({Zoom::kPool, 1, t.out / 2});
        kinds.push_back({Zoom::kNone, 2, t.out});
    }
    if (c.out_height % 2 == 0 && c.out_width % 2 == 0) {
        kinds.push_back({Zoom::kRepeat, 1, t.out});
        kinds.push_back({Zoom::kRepeat, 1, 2 * t.out});
    }
    for (const Kind& kind : kinds) {
        int64_t h = c.out_height, ww = c.out_width;
        if (kind.zoom == Zoom::kPool) h *= 2, ww *= 2;
        if (kind.zoom == Zoom::kRepeat) h /= 2, ww /= 2;
        std::vector<float> sources[2];
        Epilogue e{};
        for (int i = 0; i < kind.sources; ++i) {
            sources[i] = reals(t.batch * h * ww * kind.channels);
            e.sources[i] = {sources[i].data(), kind.channels, h, ww, kind.zoom};
        }
        std::vector<float> out(static_cast<size_t>(size));
        std::vector<uint32_t> next(static_cast<size_t>(2 * pixels * words_of(t.out)));
        e.num_sources = kind.sources;
        e.scale = scale.data(), e.offset = offset.data(), e.slope = slope.data();
        e.bias = bias.data(), e.next_bias = next_bias.data(), e.num_next = 2;
        e.out = out.data(), e.next_bits = next.data();
        c.sums16 = nullptr, c.epilogue = &e;
        run_conv(kernels, c, threads);

        const int64_t all = kind.channels * kind.sources;
        bool same = true, same_bits = true;
        for (int64_t i = 0; i < size; ++i) {
            const int64_t o = i % t.out, px = i / t.out;
            const int64_t ox = px % c.out_width, oy = px / c.out_width % c.out_height;
            const int64_t image = px / c.out_width / c.out_height;
            auto source = [&](int64_t ch) {
                const auto& s = sources[ch / kind.channels];
                auto at = [&](int64_t y, int64_t xx) {
                    return s[static_cast<size_t>(((image * h + y) * ww + xx) * kind.channels +
                                                 ch % kind.channels)];
                };
                if (kind.zoom == Zoom::kNone) return at(oy, ox);
                if (kind.zoom == Zoom::kRepeat) return at(oy / 2, ox / 2);
                return (at(2 * oy, 2 * ox) + at(2 * oy, 2 * ox + 1) + at(2 * oy + 1, 2 * ox) +
                        at(2 * oy + 1, 2 * ox + 1)) / 4;
            };
            float shortcut;
            if (all <= t.out) {
                shortcut = source(o % all);
            } else {
                const int64_t group = all / t.out;
                shortcut = source(o * group);
                for (int64_t j = 1; j < group; ++j) shortcut += source(o * group + j);
                shortcut /= static_cast<float>(group);
            }
            const auto k = static_cast<size_t>(o);
            float value = static_cast<float>(truth[static_cast<size_t>(i)]) * scale[k];
            value = value + offset[k] + shortcut;
            value = (value > 0 ? value : slope[k] * value) + bias[k];
            same &= out[static_cast<size_t>(i)] == value;
            for (int64_t n = 0; n < 2; ++n) {
                const auto word = static_cast<size_t>((n * pixels + px) * words_of(t.out)) + k / 32;
                const bool bit = value + next_bias[static_cast<size_t>(n * t.out) + k] >= 0;
                same_bits &= (next[word] >> (k % 32) & 1u) == static_cast<uint32_t>(bit);
                if (o == t.out - 1 && t.out % 32)
                    same_bits &= next[word] >> (t.out % 32) == 0;
            }
        }
        const std::string what = t.name() + " zoom" + join({static_cast<int>(kind.zoom)}) +
                                 " channels" + join({all});
        expect(same, std::string(kernels.name) + " block" + what);
        expect(same_bits, std::string(kernels.name) + " block bits" + what);
    }
}

void check_attention(const Kernels& kernels, int64_t batch, int64_t heads, int64_t dim,
                     int64_t queries, int64_t keys, int threads) {
    const Signs q(batch * queries, heads * dim), k(batch * keys, heads * dim),
        v(batch * keys, heads * dim);
    std::vector<int32_t> thresholds;
    for (int64_t largest = -dim; largest <= dim; ++largest)
        thresholds.push_back(
            static_cast<int32_t>(std::floor(0.35 * static_cast<double>(largest))));
    Attention a{};
    a.batch = batch, a.heads = heads, a.head_dim = dim, a.queries = queries, a.keys = keys;
    a.thresholds = thresholds.data();
    std::vector<int32_t> out(static_cast<size_t>(batch * queries * heads * dim)), truth(out);
    a.out = out.data();
    run_attention(kernels, q.bits.data(), k.bits.data(), v.bits.data(), a, threads);
    for (int64_t image = 0; image < batch; ++image)
        for (int64_t h = 0; h < heads; ++h)
            for (int64_t i = 0; i < queries; ++i) {
                std::vector<int> scores;
                for (int64_t j = 0; j < keys; ++j) {
                    scores.push_back(0);
                    for (int64_t d = 0; d < dim; ++d)
                        scores.back() += q.at(image * queries + i, h * dim + d) *
                                         k.at(image * keys + j, h * dim + d);
                }
                int largest = scores[0];
                for (int s : scores) largest = std::max(largest, s);
                for (int64_t j = 0; j < keys; ++j)
                    for (int64_t d = 0; d < dim; ++d)
                        if (scores[static_cast<size_t>(j)] >
                            thresholds[static_cast<size_t>(largest + dim)])
                            truth[static_cast<size_t>(
                                ((image * queries + i) * heads + h) * dim + d)] +=
                                v.at(image * keys + j, h * dim + d);
            }
    expect(out == truth, std::string(kernels.name) + " attention" +
                             join({batch, heads, dim, queries, keys}));
}

void check_pack(const Kernels& kernels, int64_t batch, int64_t pixels, int64_t channels,
                bool planes, bool biased, int threads) {
    const auto x = reals(batch * pixels * channels), bias = reals(channels);
    std::vector<uint32_t> bits(static_cast<size_t>(batch * pixels * words_of(channels)), ~0u);
    Pack p{};
    p.x = x.data(), p.pixels = batch * pixels, p.pixels_in_image = pixels, p.channels = channels;
    p.image_stride = pixels * channels;
    p.pixel_stride = planes ? 1 : channels, p.channel_stride = planes ? pixels : 1;
    p.bias = biased ? bias.data() : nullptr, p.bits = bits.data();
    run_pack(kernels, p, threads);
    std::vector<float> unpacked(static_cast<size_t>(batch * pixels * channels));
    run_unpack(bits.data(), p.pixels, channels, unpacked.data(), threads);
    bool same = true;
    for (int64_t i = 0; i < p.pixels; ++i)
        for (int64_t c = 0; c < channels; ++c) {
            const float value =
                x[static_cast<size_t>(i / pixels * p.image_stride + i % pixels * p.pixel_stride +
                                      c * p.channel_stride)] +
                (biased ? bias[static_cast<size_t>(c)] : 0.0f);
            same &= unpacked[static_cast<size_t>(i * channels + c)] == (value >= 0 ? 1.0f : -1.0f);
            if (channels % 32)
                same &= bits[static_cast<size_t>((i + 1) * words_of(channels) - 1)] >>
                            (channels % 32) == 0;
        }
    expect(same, std::string(kernels.name) + " pack" +
                     join({batch, pixels, channels, int64_t{planes}, int64_t{biased}}));
}

// Kernels round alike, so all of them must give what plain C++ gives, bit for bit.
void check_real(const Kernels& kernels, const Case& t, bool activated, int threads) {
    RealConv c{};
    c.batch = t.batch, c.height = t.height, c.width = t.width, c.in_channels = t.in;
    c.out_channels = t.out, c.kernel = t.kernel, c.stride = t.stride;
    c.out_height = (t.height - 1) / t.stride + 1, c.out_width = (t.width - 1) / t.stride + 1;
    const int64_t taps = t.kernel * t.kernel, pixels = t.height * t.width;
    const int64_t size = t.batch * c.out_height * c.out_width * t.out;
    // two sources where there are channels enough, the second with its planes one after another
    const int64_t first = (t.in + 1) / 2, second = t.in - first;
    const auto left = reals(t.batch * pixels * first), right = reals(t.batch * pixels * second);
    c.sources[c.num_sources++] = {left.data(), first, pixels * first, first, 1};
    if (second) c.sources[c.num_sources++] = {right.data(), second, pixels * second, 1, pixels};
    const auto factor = reals(t.batch * t.in), shift = reals(t.batch * t.in);
    const auto bias = reals(padded(t.out)), added = reals(size), weights = reals(t.out * taps * t.in);
    std::vector<float> blocks(static_cast<size_t>(
        c.is_narrow() ? t.out * taps * padded(t.in) : padded(t.out) * taps * t.in));
    for (int64_t o = 0; o < t.out; ++o)
        for (int64_t tap = 0; tap < taps; ++tap)
            for (int64_t i = 0; i < t.in; ++i)
                blocks[static_cast<size_t>(
                    c.is_narrow() ? (o * taps + tap) * padded(t.in) + i
                                  : ((o / kBlock * taps + tap) * t.in + i) * kBlock + o % kBlock)] =
                    weights[static_cast<size_t>((o * taps + tap) * t.in + i)];
    if (activated) c.factor = factor.data(), c.shift = shift.data(), c.added = added.data();
    c.blocks = blocks.data(), c.bias = bias.data();
    std::vector<float> out(static_cast<size_t>(size)), plain(out);
    c.out = out.data();
    run_real_conv(kernels, c, threads);
    c.out = plain.data();
    run_real_conv(kPortable, c, 1);
    bool close = true;
    for (int64_t i = 0; i < size; ++i) {
        const int64_t o = i % t.out, px = i / t.out, ox = px % c.out_width;
        const int64_t oy = px / c.out_width % c.out_height, image = px / c.out_width / c.out_height;
        double sum = bias[static_cast<size_t>(o)];
        for (int64_t tap = 0; tap < taps; ++tap) {
            const int64_t y = oy * t.stride - t.kernel / 2 + tap / t.kernel;
            const int64_t x = ox * t.stride - t.kernel / 2 + tap % t.kernel;
            if (y < 0 || y >= t.height || x < 0 || x >= t.width) continue;
            const int64_t at = y * t.width + x;
            for (int64_t ch = 0; ch < t.in; ++ch) {
                double value =
                    ch < first
                        ? left[static_cast<size_t>((image * pixels + at) * first + ch)]
                        : right[static_cast<size_t>((image * second + ch - first) * pixels + at)];
                if (activated) {
                    const auto k = static_cast<size_t>(image * t.in + ch);
                    value = value * factor[k] + shift[k];
                    value /= 1 + std::exp(-value);
                }
                sum += value * weights[static_cast<size_t>((o * taps + tap) * t.in + ch)];
            }
        }
        if (activated) sum += added[static_cast<size_t>(i)];
        close &= std::abs(sum - out[static_cast<size_t>(i)]) < 1e-3;
    }
    const std::string what = t.name() + (activated ? " activated" : "");
    expect(close, std::string(kernels.name) + " float convolution" + what);
    expect(out == plain, std::string(kernels.name) + " rounds float convolution" + what);
}

void check_norm(const Kernels& kernels, int64_t pixels, int64_t channels, int64_t groups,
                int threads) {
    const auto x = reals(2 * pixels * channels), weight = reals(channels), bias = reals(channels);
    Norm n{x.data(), 2, pixels, channels, groups, weight.data(), bias.data(), 1e-5, nullptr, nullptr};
    std::vector<float> numbers(static_cast<size_t>(4 * channels)), plain(numbers);
    n.factor = numbers.data(), n.shift = n.factor + 2 * channels;
    run_norm(kernels, n, threads);
    n.factor = plain.data(), n.shift = n.factor + 2 * channels;
    run_norm(kPortable, n, 1);
    bool close = true;
    const int64_t size = channels / groups;
    for (int64_t item = 0; item < 2 * channels; ++item) {
        const int64_t image = item / channels, c = item % channels, group = c / size;
        double mean = 0, squares = 0;
        const auto each = [&](auto take) {
            for (int64_t i = 0; i < pixels; ++i)
                for (int64_t ch = group * size; ch < (group + 1) * size; ++ch)
                    take(x[static_cast<size_t>((image * pixels + i) * channels + ch)]);
        };
        const double count = static_cast<double>(pixels * size);
        each([&](double value) { mean += value / count; });
        each([&](double value) { squares += (value - mean) * (value - mean) / count; });
        const double factor = weight[static_cast<size_t>(c)] / std::sqrt(squares + 1e-5);
        const double shift = bias[static_cast<size_t>(c)] - mean * factor;
        close &= std::abs(factor - numbers[static_cast<size_t>(item)]) < 1e-3 * (1 + std::abs(factor));
        close &= std::abs(shift - numbers[static_cast<size_t>(2 * channels + item)]) <
                 1e-3 * (1 + std::abs(shift));
    }
    const std::string what = join({pixels, channels, groups});
    expect(close, std::string(kernels.name) + " norm" + what);
    expect(numbers == plain, std::string(kernels.name) + " rounds norm" + what);
}

void check_modulate(const Kernels& kernels, int64_t pixels, int64_t channels, int threads) {
    const auto x = reals(pixels * channels), numbers = reals(3 * channels);
    std::vector<float> out(x.size()), signs(x.size());
    std::vector<uint32_t> bits(static_cast<size_t>(pixels * words_of(channels)), ~0u);
    const float* factor = numbers.data();
    run_modulate(kernels, {x.data(), pixels, channels, factor, factor + channels,
                           factor + 2 * channels, out.data(), bits.data()}, threads);
    run_unpack(bits.data(), pixels, channels, signs.data(), threads);
    bool same = true;
    for (size_t i = 0; i < x.size(); ++i) {
        const auto c = i % static_cast<size_t>(channels), n = static_cast<size_t>(channels);
        const float value = x[i] * numbers[c] + numbers[n + c];
        same &= out[i] == value && signs[i] == (value + numbers[2 * n + c] >= 0 ? 1.0f : -1.0f);
    }
    expect(same, std::string(kernels.name) + " modulate" + join({pixels, channels}));
}

void check_join(int64_t pixels, int64_t left, int64_t right, int threads) {
    const Signs a(pixels, left), b(pixels, right);
    std::vector<uint32_t> out(static_cast<size_t>(pixels * words_of(left + right)), ~0u);
    std::vector<float> signs(static_cast<size_t>(pixels * (left + right)));
    run_join(a.bits.data(), b.bits.data(), pixels, left, right, out.data(), threads);
    run_unpack(out.data(), pixels, left + right, signs.data(), threads);
    bool same = true;
    for (int64_t i = 0; i < pixels; ++i)
        for (int64_t c = 0; c < left + right; ++c)
            same &= signs[static_cast<size_t>(i * (left + right) + c)] ==
                    static_cast<float>(c < left ? a.at(i, c) : b.at(i, c - left));
    expect(same, "join" + join({pixels, left, right}));
}

void check(const Kernels& kernels) {
    const int64_t channels[] = {1, 3, 8, 31, 32, 33, 63, 64, 65, 100, 128, 256};
    const int64_t sizes[][2] = {{1, 1}, {1, 9}, {9, 1}, {2, 2}, {7, 5}, {5, 50}, {4, 6}};
    int turn = 0;
    for (int64_t in : channels)
        for (int64_t out : {channels[turn % 12], channels[(turn + 5) % 12]}) {
            const auto& size = sizes[turn % 7];
            const int64_t kernel = turn % 3 ? 3 : 1, stride = turn % 4 == 1 ? 2 : 1;
            check_conv(kernels, {1 + turn % 2, size[0], size[1], in, out, kernel, stride},
                       1 + turn % 3);
            ++turn;
        }
    check_conv(kernels, {1, 3, 3, 1000, 17, 3, 1}, 2);  // byte counters overflow several times
    check_conv(kernels, {1, 3, 20, 1000, 40, 3, 1}, 2);
    check_conv(kernels, {1, 12, 13, 64, 64, 3, 2}, 2);
    check_conv(kernels, {2, 1, 130, 512, 40, 1, 1}, 2);  // tokens
    for (int i = 0; i < 6; ++i)
        check_conv(kernels, {1, integer(1, 9), integer(1, 60), integer(1, 140), integer(1, 140),
                             integer(0, 1) ? 3 : 1, integer(1, 2)},
                   2);

    check_attention(kernels, 1, 4, 128, 64, 64, 2);
    check_attention(kernels, 2, 4, 8, 5, 7, 2);
    check_attention(kernels, 1, 3, 33, 13, 40, 1);
    check_attention(kernels, 1, 1, 1, 1, 1, 1);
    check_attention(kernels, 2, 2, 50, 20, 33, 3);

    const int64_t real_channels[] = {1, 3, 5, 16, 17, 24, 33, 64};
    for (int64_t in : real_channels)
        for (int64_t out : {real_channels[turn % 8], real_channels[(turn + 3) % 8]}) {
            const auto& size = sizes[turn % 7];
            const int64_t kernel = turn % 3 ? 3 : 1, stride = turn % 4 == 1 ? 2 : 1;
            check_real(kernels, {1 + turn % 2, size[0], size[1], in, out, kernel, stride},
                       turn % 2, 1 + turn % 3);
            ++turn;
        }
    check_real(kernels, {2, 37, 29, 16, 16, 3, 1}, true, 3);  // several bands of rows
    check_real(kernels, {1, 37, 29, 16, 16, 3, 2}, true, 2);
    check_real(kernels, {1, 40, 15, 20, 2, 3, 1}, true, 2);
    for (int64_t c : real_channels) {
        check_norm(kernels, 2500, c, c % 8 ? 1 : 8, 2);  // several bands of pixels
        check_norm(kernels, 3, c, c, 1);
        check_modulate(kernels, 70, c, 2);
        for (int64_t other : {1, 16, 40}) check_join(5, c, other, 1);
    }

    for (int64_t c : channels)
        for (int way = 0; way < 4; ++way)
            check_pack(kernels, 2, way < 2 ? 37 : 130, c, way % 2, way > 1, 2);
}

}  // namespace

int main(int count, char** names) {
    for (const Kernels* kernels : built_kernels()) {
        bool wanted = count == 1;
        for (int i = 1; i < count; ++i) wanted |= std::strcmp(names[i], kernels->name) == 0;
        if (!wanted) continue;
        if (!kernels->supported()) {
            std::printf("%s: not tested, as this processor cannot run it\n", kernels->name);
            continue;
        }
        const int before = passed;
        check(*kernels);
        std::printf("%s: %d checks passed\n", kernels->name, passed - before);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed ? 1 : 0;
}
