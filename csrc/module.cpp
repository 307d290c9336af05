// The Python module: checks what it is given, and hands it to a kernel without copies.
//
// Arrays come over DLPack, so that nothing here depends on PyTorch or on its version. Results are
// written into arrays that the caller made.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <optional>
#include <string>

#include "run.h"

namespace nb = nanobind;
using namespace hidiff;

namespace {

template <class T, int N>
using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <int N>
using Words = Array<const int32_t, N>;
template <int N>
using Floats = Array<const float, N>;

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(what.c_str()); }

void require(bool holds, const char* what) {
    if (!holds) refuse(std::string("packed kernels: ") + what);
}

const uint32_t* words(const int32_t* p) { return reinterpret_cast<const uint32_t*>(p); }
uint32_t* words(int32_t* p) { return reinterpret_cast<uint32_t*>(p); }

const Kernels& find(const std::string& name) {
    for (const Kernels* k : supported_kernels())
        if (name == k->name) return *k;
    refuse("no kernel '" + name + "' runs on this processor");
}

struct Layer {
    Words<4> bits;     // b h w words
    Words<3> blocks;   // out/16, taps * words, 16
    Words<2> offsets;  // 16, out padded
};

Conv conv_of(const Layer& l, int64_t out_channels, int64_t kernel, int64_t stride) {
    Conv c{};
    c.bits = words(l.bits.data());
    c.batch = l.bits.shape(0), c.height = l.bits.shape(1), c.width = l.bits.shape(2);
    c.words = l.bits.shape(3);
    c.blocks = words(l.blocks.data());
    c.offsets = l.offsets.data();
    c.out_channels = out_channels, c.kernel = kernel, c.stride = stride;
    require(kernel == 1 || kernel == 3, "kernel must be 1 or 3");
    require(stride == 1 || stride == 2, "stride must be 1 or 2");
    require(c.height > 0 && c.width > 0 && c.words > 0 && out_channels > 0, "an empty side");
    c.out_height = (c.height - 1) / stride + 1, c.out_width = (c.width - 1) / stride + 1;
    const auto blocks = static_cast<size_t>(padded(out_channels) / kBlock);
    require(l.blocks.shape(0) == blocks && l.blocks.shape(2) == kBlock &&
                l.blocks.shape(1) == static_cast<size_t>(c.taps() * c.words),
            "the weights do not fit the bits");
    require(l.offsets.shape(0) == 16 && l.offsets.shape(1) == blocks * kBlock,
            "the offsets do not fit the weights");
    return c;
}

template <class A>
void require_map(const A& out, const Conv& c, int64_t last, size_t first_dim) {
    require(out.shape(first_dim) == static_cast<size_t>(c.batch) &&
                out.shape(first_dim + 1) == static_cast<size_t>(c.out_height) &&
                out.shape(first_dim + 2) == static_cast<size_t>(c.out_width) &&
                out.shape(first_dim + 3) == static_cast<size_t>(last),
            "the output has another size");
}

template <class T>
void conv_sums(const std::string& kernels, Words<4> bits, Words<3> blocks, Words<2> offsets,
               int64_t kernel, int64_t stride, Array<T, 4> out, int threads) {
    Conv c = conv_of({bits, blocks, offsets}, out.shape(3), kernel, stride);
    require_map(out, c, c.out_channels, 0);
    if constexpr (sizeof(T) == 2)
        c.sums16 = out.data();
    else
        c.sums32 = out.data();
    const Kernels& chosen = find(kernels);
    nb::gil_scoped_release release;
    run_conv(chosen, c, threads);
}

void conv_block(const std::string& kernels, Words<4> bits, Words<3> blocks, Words<2> offsets,
                int64_t kernel, int64_t stride, Floats<2> channel_values, Floats<4> source1,
                std::optional<Floats<4>> source2, Floats<2> next_bias, Array<float, 4> out,
                Array<int32_t, 5> next_bits, int threads) {
    Conv c = conv_of({bits, blocks, offsets}, out.shape(3), kernel, stride);
    const auto n = static_cast<size_t>(c.out_channels);
    require_map(out, c, c.out_channels, 0);
    require_map(next_bits, c, words_of(c.out_channels), 1);
    require(channel_values.shape(0) == 4 && channel_values.shape(1) == n,
            "scale, offset, slope and bias want one number for each output channel");
    require(next_bias.shape(0) == next_bits.shape(0) && next_bias.shape(1) == n,
            "each next bias wants one number for each output channel");
    Epilogue e{};
    e.scale = channel_values.data(), e.offset = e.scale + n;
    e.slope = e.offset + n, e.bias = e.slope + n;
    e.out = out.data();
    e.next_bias = next_bias.data(), e.next_bits = words(next_bits.data());
    e.num_next = static_cast<int>(next_bias.shape(0));
    int64_t channels = 0;
    for (const Floats<4>* s : {&source1, source2 ? &*source2 : nullptr}) {
        if (!s) continue;
        Source& source = e.sources[e.num_sources++];
        const auto height = static_cast<int64_t>(s->shape(1));
        const auto width = static_cast<int64_t>(s->shape(2));
        source = {s->data(), static_cast<int64_t>(s->shape(3)), height, width, Zoom::kNone};
        if (height / 2 == c.out_height && width / 2 == c.out_width)
            source.zoom = Zoom::kPool;
        else if (2 * height == c.out_height && 2 * width == c.out_width)
            source.zoom = Zoom::kRepeat;
        else
            require(height == c.out_height && width == c.out_width,
                    "a shortcut has neither the output's size nor twice nor half of it");
        require(s->shape(0) == static_cast<size_t>(c.batch), "a shortcut has another batch");
        channels += source.channels;
    }
    for (int i = 0; i < e.num_sources; ++i)
        require(channels <= c.out_channels
                    ? c.out_channels % channels == 0
                    : channels % c.out_channels == 0 &&
                          e.sources[i].channels % (channels / c.out_channels) == 0,
                "the shortcut's channels neither divide the output's nor are a multiple of them");
    c.epilogue = &e;
    const Kernels& chosen = find(kernels);
    nb::gil_scoped_release release;
    run_conv(chosen, c, threads);
}

void attention(const std::string& kernels, Words<3> query, Words<3> key, Words<3> value,
               int64_t heads, Words<1> thresholds, Array<int32_t, 3> out, int threads) {
    Attention a{};
    a.batch = out.shape(0), a.queries = out.shape(1), a.keys = key.shape(1), a.heads = heads;
    require(heads > 0 && out.shape(2) > 0 && a.queries > 0 && a.keys > 0 &&
                out.shape(2) % heads == 0,
            "channels must be a multiple of the heads, and none of the sides may be empty");
    a.head_dim = out.shape(2) / heads;
    const auto token_words = static_cast<size_t>(words_of(out.shape(2)));
    const auto batch = static_cast<size_t>(a.batch), keys = static_cast<size_t>(a.keys);
    require(query.shape(0) == batch && query.shape(1) == static_cast<size_t>(a.queries) &&
                query.shape(2) == token_words && key.shape(0) == batch &&
                key.shape(2) == token_words && value.shape(0) == batch &&
                value.shape(1) == keys && value.shape(2) == token_words,
            "query, key and value do not fit each other");
    require(thresholds.shape(0) == static_cast<size_t>(2 * a.head_dim + 1),
            "thresholds want one number for each score a head can have");
    a.thresholds = thresholds.data();
    a.out = out.data();
    const Kernels& chosen = find(kernels);
    nb::gil_scoped_release release;
    run_attention(chosen, words(query.data()), words(key.data()), words(value.data()), a, threads);
}

void pack(const std::string& kernels, nb::ndarray<const float, nb::ndim<4>, nb::device::cpu> x,
          std::optional<Floats<1>> bias, Array<int32_t, 4> bits, int threads) {
    const auto batch = x.shape(0), channels = x.shape(1), height = x.shape(2), width = x.shape(3);
    require(bits.shape(0) == batch && bits.shape(1) == height && bits.shape(2) == width &&
                bits.shape(3) == static_cast<size_t>(words_of(channels)),
            "the bits have another size than the floats");
    require(!bias || bias->shape(0) == channels, "bias wants one number for each channel");
    Pack p{};
    p.x = x.data();
    p.pixels_in_image = static_cast<int64_t>(height * width);
    p.pixels = static_cast<int64_t>(batch) * p.pixels_in_image;
    p.channels = static_cast<int64_t>(channels);
    p.image_stride = x.stride(0), p.channel_stride = x.stride(1), p.pixel_stride = x.stride(3);
    require(height == 1 || x.stride(2) == p.pixel_stride * static_cast<int64_t>(width),
            "the rows of an image must follow each other");
    require(p.channel_stride == 1 || p.pixel_stride == 1 || width == 1,
            "either channels or pixels must lie side by side");
    p.bias = bias ? bias->data() : nullptr;
    p.bits = words(bits.data());
    const Kernels& chosen = find(kernels);
    nb::gil_scoped_release release;
    run_pack(chosen, p, threads);
}

void unpack(Words<4> bits, Array<float, 4> out, int threads) {
    const auto channels = static_cast<int64_t>(out.shape(3));
    require(bits.shape(0) == out.shape(0) && bits.shape(1) == out.shape(1) &&
                bits.shape(2) == out.shape(2) &&
                bits.shape(3) == static_cast<size_t>(words_of(channels)),
            "the bits have another size than the floats");
    const int64_t pixels = static_cast<int64_t>(out.shape(0) * out.shape(1) * out.shape(2));
    nb::gil_scoped_release release;
    run_unpack(words(bits.data()), pixels, channels, out.data(), threads);
}

// Billions of bits (or int8 products) a second that one thread gets through, out of its first cache.
double peak(const std::string& kernels, const std::string& way, double seconds) {
    alignas(64) static uint32_t data[kPeakWords];
    for (int64_t i = 0; i < kPeakWords; ++i) data[i] = static_cast<uint32_t>(i * 2654435761u);
    uint64_t (*run)(const uint32_t*, int64_t) = nullptr;
    double work = kPeakBits;
    if (way == "plain") run = find(kernels).peak_plain;
    if (way == "carry_save") run = find(kernels).peak_carry_save;
#if defined(HIDIFF_X86)
    if (way == "vnni") {
        require(has_vnni(), "this processor has no AVX512-VNNI");
        run = peak_vnni, work = kPeakWords * 4;
    }
#endif
    require(run, "the ways to reach the peak are plain, carry_save and, on x86, vnni");
    nb::gil_scoped_release release;
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    double best = 0, passed = 0;
    volatile uint64_t keep = 0;
    while (passed < seconds) {
        constexpr int64_t kRounds = 64;
        const auto start = Clock::now();
        keep = keep + run(data, kRounds);
        const auto now = Clock::now();
        const double took = std::chrono::duration<double>(now - start).count();
        best = std::max(best, kRounds * work / took / 1e9);
        passed = std::chrono::duration<double>(now - begin).count();
    }
    return best;
}

}  // namespace

NB_MODULE(_kernels, m) {
    m.attr("__doc__") = "The compiled kernels; hidiff.packed.kernels is their face.";
    const auto names = [](const std::vector<const Kernels*>& kernels) {
        nb::dict result;
        for (const Kernels* k : kernels) result[k->name] = k->how;
        return result;
    };
    m.def("supported", [names] { return names(supported_kernels()); });
    m.def("built", [names] { return names(built_kernels()); });
    m.def("has_vnni", [] {
#if defined(HIDIFF_X86)
        return has_vnni();
#else
        return false;
#endif
    });
    // noconvert: an array of another type or layout is an error, never a silent copy
    using nb::arg;
    m.def("conv_int32", conv_sums<int32_t>, arg("kernels"), arg("bits").noconvert(),
          arg("blocks").noconvert(), arg("offsets").noconvert(), arg("kernel"), arg("stride"),
          arg("out").noconvert(), arg("threads"));
    m.def("conv_int16", conv_sums<int16_t>, arg("kernels"), arg("bits").noconvert(),
          arg("blocks").noconvert(), arg("offsets").noconvert(), arg("kernel"), arg("stride"),
          arg("out").noconvert(), arg("threads"));
    m.def("conv_block", conv_block, arg("kernels"), arg("bits").noconvert(),
          arg("blocks").noconvert(), arg("offsets").noconvert(), arg("kernel"), arg("stride"),
          arg("channel_values").noconvert(), arg("source1").noconvert(),
          arg("source2").noconvert().none(), arg("next_bias").noconvert(), arg("out").noconvert(),
          arg("next_bits").noconvert(), arg("threads"));
    m.def("attention", attention, arg("kernels"), arg("query").noconvert(),
          arg("key").noconvert(), arg("value").noconvert(), arg("heads"),
          arg("thresholds").noconvert(), arg("out").noconvert(), arg("threads"));
    m.def("pack", pack, arg("kernels"), arg("x").noconvert(), arg("bias").noconvert().none(),
          arg("bits").noconvert(), arg("threads"));
    m.def("unpack", unpack, arg("bits").noconvert(), arg("out").noconvert(), arg("threads"));
    m.def("peak", peak, arg("kernels"), arg("way"), arg("seconds"));
}
