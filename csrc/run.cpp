#include "run.h"

#include <algorithm>
#include <cmath>

#include "threads.h"

namespace hidiff {
namespace {

// Scratch memory for each thread, each in cache lines of its own.
class Scratch {
  public:
    Scratch(int64_t size, int threads)
        : size_((size + 15) / 16 * 16), memory_((size_ + 16) * threads) {}
    int32_t* of(int thread) { return memory_.data() + (size_ + 16) * thread; }

  private:
    int64_t size_;
    std::vector<int32_t> memory_;
};

// Calls work(begin, end, thread) on runs of `run` items.
template <class Work>
void in_runs(int64_t items, int64_t run, int threads, const Work& work) {
    parallel_for((items + run - 1) / run, threads, [&](int64_t i, int thread) {
        work(i * run, std::min(items, (i + 1) * run), thread);
    });
}

// A few runs for each thread, so that one which starts late or is slowed takes fewer of them.
int64_t even_run(int64_t items, int threads) {
    return std::max<int64_t>(1, items / (8 * threads));
}

// The weights, 4 bits a byte; those of channels that there are not are 0.
std::vector<uint8_t> nibbles_of(const Conv& c) {
    const int64_t num_k = c.taps() * c.words, blocks = padded(c.out_channels) / kBlock;
    std::vector<uint8_t> nibbles(c.groups() * c.group_nibbles());
    for (int64_t block = 0; block < blocks; ++block)
        for (int64_t k = 0; k < num_k; ++k) {
            const uint32_t* from = c.blocks + (block * num_k + k) * kBlock;
            const int64_t tap = k / c.words, row = tap / c.kernel, column = tap % c.kernel;
            uint8_t* to = nibbles.data() + block / 2 * c.group_nibbles() + block % 2 * kBlock +
                          ((row * c.words + k % c.words) * 8 * c.kernel + column) * kWord;
            for (int64_t n = 0; n < 8; ++n, to += c.kernel * kWord)
                for (int64_t o = 0; o < kBlock; ++o)
                    to[o] = static_cast<uint8_t>(from[o] >> (4 * n) & 15u);
        }
    return nibbles;
}

uint32_t bit_of(const uint32_t* bits, int64_t i) { return bits[i / kWord] >> (i % kWord) & 1u; }

// The `dim` bits of one head of one token, moved to begin a word.
void copy_head(const uint32_t* token, int64_t head, int64_t dim, uint32_t* to) {
    const int64_t words = words_of(dim), first = head * dim, skip = first % kWord;
    for (int64_t j = 0; j < words; ++j) {
        const int64_t at = first / kWord + j;
        uint32_t word = token[at] >> skip;
        const int64_t wanted = std::min(dim - j * kWord, kWord);
        if (skip && kWord - skip < wanted) word |= token[at + 1] << (kWord - skip);
        to[j] = wanted < kWord ? word & ((1u << wanted) - 1u) : word;
    }
}

}  // namespace

std::vector<const Kernels*> built_kernels() {
    return {
#if defined(HIDIFF_X86)
        &kAvx512Vpopcntdq, &kAvx512bw, &kAvx2,
#endif
#if defined(HIDIFF_NEON)
        &kNeon,
#endif
        &kPortable,
    };
}

std::vector<const Kernels*> supported_kernels() {
    std::vector<const Kernels*> kernels = built_kernels();
    kernels.erase(std::remove_if(kernels.begin(), kernels.end(),
                                 [](const Kernels* k) { return !k->supported(); }),
                  kernels.end());
    return kernels;
}

void run_conv(const Kernels& kernels, const Conv& given, int threads) {
    threads = std::max(threads, 1);
    Conv conv = given;
    std::vector<uint8_t> nibbles;
    if (kernels.looks_up && conv.suits_lookup()) {
        nibbles = nibbles_of(conv);
        conv.nibbles = nibbles.data();
    }
    Scratch scratch(conv.scratch(), threads);
    const int64_t items = conv.num_tiles();
    in_runs(items, even_run(items, threads), threads, [&](int64_t begin, int64_t end, int thread) {
        kernels.conv(conv, begin, end, scratch.of(thread));
    });
}

void run_attention(const Kernels& kernels, const uint32_t* query, const uint32_t* key,
                   const uint32_t* value, const Attention& shape, int threads) {
    threads = std::max(threads, 1);
    Attention a = shape;
    const int64_t dim = a.head_dim, dim_words = words_of(dim), key_words = words_of(a.keys);
    const int64_t token_words = words_of(a.heads * dim), all_heads = a.batch * a.heads;
    std::vector<uint32_t> queries(all_heads * a.queries * dim_words);
    std::vector<uint32_t> keys(all_heads * padded(a.keys) * dim_words);
    std::vector<uint32_t> values(all_heads * padded(dim) * key_words);
    std::vector<int32_t> steps(std::max(dim_words, key_words));
    for (size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<int32_t>(i);

    parallel_for(all_heads, threads, [&](int64_t item, int) {
        const int64_t image = item / a.heads, head = item % a.heads;
        std::vector<uint32_t> one(dim_words);
        for (int64_t n = 0; n < a.queries; ++n)
            copy_head(query + (image * a.queries + n) * token_words, head, dim,
                      queries.data() + (item * a.queries + n) * dim_words);
        uint32_t* key_blocks = keys.data() + item * padded(a.keys) * dim_words;
        uint32_t* value_blocks = values.data() + item * padded(dim) * key_words;
        for (int64_t n = 0; n < a.keys; ++n) {
            copy_head(key + (image * a.keys + n) * token_words, head, dim, one.data());
            for (int64_t j = 0; j < dim_words; ++j)
                key_blocks[(n / kBlock * dim_words + j) * kBlock + n % kBlock] = one[j];
            const uint32_t* token = value + (image * a.keys + n) * token_words;
            for (int64_t d = 0; d < dim; ++d)
                value_blocks[(d / kBlock * key_words + n / kWord) * kBlock + d % kBlock] |=
                    bit_of(token, head * dim + d) << (n % kWord);
        }
    });

    a.query = queries.data();
    a.key_blocks = keys.data();
    a.value_blocks = values.data();
    a.steps = steps.data();
    Scratch scratch(a.scratch(), threads);
    const int64_t items = a.num_items();
    in_runs(items, even_run(items, threads), threads, [&](int64_t begin, int64_t end, int thread) {
        kernels.attention(a, begin, end, scratch.of(thread));
    });
}

void run_pack(const Kernels& kernels, const Pack& pack, int threads) {
    in_runs(pack.pixels, 1024, threads,
            [&](int64_t begin, int64_t end, int) { kernels.pack(pack, begin, end); });
}

void run_modulate(const Kernels& kernels, const Modulate& modulate, int threads) {
    in_runs(modulate.pixels, 1024, threads,
            [&](int64_t begin, int64_t end, int) { kernels.modulate(modulate, begin, end); });
}

void run_join(const uint32_t* left, const uint32_t* right, int64_t pixels, int64_t left_channels,
              int64_t right_channels, uint32_t* out, int threads) {
    const int64_t first = words_of(left_channels), second = words_of(right_channels);
    const int64_t words = words_of(left_channels + right_channels), skip = left_channels % kWord;
    in_runs(pixels, 4096, threads, [&](int64_t begin, int64_t end, int) {
        if (first == 1 && second == 1 && words == 1) {
            for (int64_t i = begin; i < end; ++i) out[i] = left[i] | right[i] << skip;
            return;
        }
        for (int64_t i = begin; i < end; ++i) {
            const uint32_t *a = left + i * first, *b = right + i * second;
            uint32_t* to = out + i * words;
            for (int64_t j = 0; j < words; ++j) to[j] = j < first ? a[j] : 0;
            for (int64_t j = 0; j < second; ++j) {
                const int64_t at = left_channels / kWord + j;
                to[at] |= b[j] << skip;
                if (skip && at + 1 < words) to[at + 1] |= b[j] >> (kWord - skip);
            }
        }
    });
}

void run_real_conv(const Kernels& kernels, const RealConv& conv, int threads) {
    threads = std::max(threads, 1);
    const int64_t scratch = (conv.scratch() + 15) / 16 * 16 + 16, items = conv.batch * conv.bands();
    std::vector<float> memory(scratch * threads);
    in_runs(items, even_run(items, threads), threads, [&](int64_t begin, int64_t end, int thread) {
        kernels.real_conv(conv, begin, end, memory.data() + scratch * thread);
    });
}

void run_norm(const Kernels& kernels, const Norm& norm, int threads) {
    const int64_t bands = norm.bands(), items = norm.batch * bands, channels = norm.channels;
    std::vector<float> parts(items * 2 * channels);
    in_runs(items, even_run(items, std::max(threads, 1)), std::max(threads, 1),
            [&](int64_t begin, int64_t end, int) {
                kernels.moments(norm, begin, end, parts.data());
            });
    const int64_t size = channels / norm.groups;
    for (int64_t image = 0; image < norm.batch; ++image)
        for (int64_t group = 0; group < norm.groups; ++group) {
            // parts are joined in double, one after another (Chan, Golub and LeVeque)
            double count = 0, mean = 0, squares = 0;
            for (int64_t c = group * size; c < (group + 1) * size; ++c)
                for (int64_t band = 0; band < bands; ++band) {
                    const float* part = parts.data() + (image * bands + band) * 2 * channels + c;
                    const double more = static_cast<double>(
                        std::min(Norm::kPixels, norm.pixels - band * Norm::kPixels));
                    const double away = part[0] - mean, total = count + more;
                    squares += part[channels] + away * away * count * more / total;
                    mean += away * more / total;
                    count = total;
                }
            const double scale = 1 / std::sqrt(squares / count + norm.eps);
            for (int64_t c = group * size; c < (group + 1) * size; ++c) {
                const double factor = norm.weight[c] * scale;
                norm.factor[image * channels + c] = static_cast<float>(factor);
                norm.shift[image * channels + c] = static_cast<float>(norm.bias[c] - mean * factor);
            }
        }
}

void run_unpack(const uint32_t* bits, int64_t pixels, int64_t channels, float* out, int threads) {
    const int64_t words = words_of(channels);
    in_runs(pixels, 1024, threads, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i)
            for (int64_t c = 0; c < channels; ++c)
                out[i * channels + c] = bit_of(bits + i * words, c) ? 1.0f : -1.0f;
    });
}

}  // namespace hidiff
