// The Python module: checks the arrays it is given, and hands them to a kernel without copies.
//
// This is the border: whatever Python passes, nothing behind it reads or writes outside of an array.
// Arrays come over DLPack, so that nothing here depends on PyTorch or on its version. Results are
// written into arrays that the caller made. A bad size raises ValueError here; an array of another
// type, layout or device never gets here, as nanobind raises TypeError, which hidiff.packed.compiled
// turns into a ValueError that describes the arrays.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <limits>
#include <optional>
#include <sstream>
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

// Raises ValueError, whose text is the parts one after another, unless the condition holds.
template <class... Parts>
void require(bool holds, const Parts&... parts) {
    if (holds) return;
    std::ostringstream text;
    (text << ... << parts);
    throw nb::value_error(text.str().c_str());
}

const uint32_t* words(const int32_t* p) { return reinterpret_cast<const uint32_t*>(p); }
uint32_t* words(int32_t* p) { return reinterpret_cast<uint32_t*>(p); }

const Kernels& find(const std::string& name) {
    for (const Kernels* k : supported_kernels())
        if (name == k->name) return *k;
    require(false, "no kernel '", name, "' runs on this processor; packed.kernel_info() lists those ",
            "that do");
    return kPortable;  // never reached
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
    require(kernel == 1 || kernel == 3, "kernel is ", kernel, ", but must be 1 or 3");
    require(stride == 1 || stride == 2, "stride is ", stride, ", but must be 1 or 2");
    require(c.height > 0 && c.width > 0 && c.words > 0 && out_channels > 0, "bits are ", c.height, "x",
            c.width, " with ", c.words, " words a pixel, the output has ", out_channels,
            " channels: none of them may be 0");
    // Where a tap lies is an int32.
    require(c.width <= std::numeric_limits<int32_t>::max() / (4 * c.words), "bits are ", c.width,
            " pixels wide with ", c.words, " words each, too long a row; split the image");
    c.out_height = (c.height - 1) / stride + 1, c.out_width = (c.width - 1) / stride + 1;
    const int64_t weight_words = static_cast<int64_t>(l.blocks.shape(1)) / c.taps();
    require(l.blocks.shape(1) == static_cast<size_t>(c.taps() * c.words), "bits have ", c.words,
            " words a pixel, but the weights read ", weight_words,
            "; pack as many channels as the layer reads");
    const auto blocks = static_cast<size_t>(padded(out_channels) / kBlock);
    require(l.blocks.shape(0) == blocks && l.blocks.shape(2) == kBlock, "the weights are ",
            l.blocks.shape(0), " blocks of ", l.blocks.shape(2), " channels, but ", out_channels,
            " output channels want ", blocks, " blocks of ", kBlock);
    require(l.offsets.shape(0) == 16 && l.offsets.shape(1) == blocks * kBlock, "the offsets are ",
            l.offsets.shape(0), "x", l.offsets.shape(1), ", but the weights want 16x",
            blocks * kBlock);
    return c;
}

// `map` is batch, height, width and `last`, after its first `skip` dimensions.
template <class A>
void require_map(const char* what, const A& map, size_t skip, const Conv& c, int64_t last) {
    const int64_t want[] = {c.batch, c.out_height, c.out_width, last};
    bool same = true;
    for (size_t i = 0; i < 4; ++i) same &= static_cast<int64_t>(map.shape(skip + i)) == want[i];
    require(same, what, " is ", map.shape(skip), "x", map.shape(skip + 1), "x", map.shape(skip + 2),
            "x", map.shape(skip + 3), " (batch, height, width, last), but must be ", want[0], "x",
            want[1], "x", want[2], "x", want[3]);
}

template <class T>
void py_conv(const Kernels& kernels, Words<4> bits, Words<3> blocks, Words<2> offsets,
             int64_t kernel, int64_t stride, Array<T, 4> out, int threads) {
    Conv c = conv_of({bits, blocks, offsets}, out.shape(3), kernel, stride);
    require_map("out", out, 0, c, c.out_channels);
    if constexpr (sizeof(T) == 2)
        c.sums16 = out.data();
    else
        c.sums32 = out.data();
    nb::gil_scoped_release release;
    run_conv(kernels, c, threads);
}

// A full-precision tensor that the block adds: the output's size, twice it, or half of it.
Source source_of(const Floats<4>& s, const Conv& c) {
    Source source{s.data(), static_cast<int64_t>(s.shape(3)), static_cast<int64_t>(s.shape(1)),
                  static_cast<int64_t>(s.shape(2)), Zoom::kNone};
    const auto is = [&](int64_t height, int64_t width) {
        return height == c.out_height && width == c.out_width;
    };
    if (is(source.height / 2, source.width / 2))
        source.zoom = Zoom::kPool;
    else if (is(2 * source.height, 2 * source.width))
        source.zoom = Zoom::kRepeat;
    require((source.zoom != Zoom::kNone || is(source.height, source.width)) &&
                s.shape(0) == static_cast<size_t>(c.batch),
            "a shortcut has batch ", s.shape(0), " and size ", source.height, "x", source.width,
            ", but the output has batch ", c.batch, " and ", c.out_height, "x", c.out_width,
            ": the sizes must be equal, or one twice the other");
    return source;
}

// The sources' channels, side by side, divide the output's, or are a multiple of them.
void require_channels(const Epilogue& e, int64_t out_channels) {
    int64_t channels = 0;
    bool fits = true;
    for (int i = 0; i < e.num_sources; ++i) {
        channels += e.sources[i].channels;
        fits &= e.sources[i].channels > 0;
    }
    fits = fits && (channels <= out_channels ? out_channels % channels : channels % out_channels) == 0;
    for (int i = 0; fits && channels > out_channels && i < e.num_sources; ++i)
        fits = e.sources[i].channels % (channels / out_channels) == 0;
    require(fits, "shortcuts have ", channels, " channels, the output ", out_channels,
            ": one must be a multiple of the other, and means may not span two shortcuts");
}

void py_conv_block(const Kernels& kernels, Words<4> bits, Words<3> blocks, Words<2> offsets,
                   int64_t kernel, int64_t stride, Floats<2> channel_values,
                   std::vector<Floats<4>> shortcuts, Floats<2> next_bias, Array<float, 4> out,
                   Array<int32_t, 5> next_bits, int threads) {
    Conv c = conv_of({bits, blocks, offsets}, out.shape(3), kernel, stride);
    const auto n = static_cast<size_t>(c.out_channels);
    require_map("out", out, 0, c, c.out_channels);
    require_map("next_bits", next_bits, 1, c, words_of(c.out_channels));
    require(channel_values.shape(0) == 4 && channel_values.shape(1) == n,
            "scale, offset, slope and bias have ", channel_values.shape(1),
            " numbers, but must have one for each of ", n, " output channels");
    require(next_bias.shape(0) == next_bits.shape(0) && next_bias.shape(1) == n, "next_bias is ",
            next_bias.shape(0), "x", next_bias.shape(1), ", but must be ", next_bits.shape(0), "x", n,
            ": one number for each output channel");
    require(shortcuts.size() == 1 || shortcuts.size() == 2, "got ", shortcuts.size(),
            " shortcuts, but a block wants one or two");
    Epilogue e{};
    e.scale = channel_values.data(), e.offset = e.scale + n;
    e.slope = e.offset + n, e.bias = e.slope + n;
    e.out = out.data();
    e.next_bias = next_bias.data(), e.next_bits = words(next_bits.data());
    e.num_next = static_cast<int>(next_bias.shape(0));
    for (const Floats<4>& s : shortcuts) e.sources[e.num_sources++] = source_of(s, c);
    require_channels(e, c.out_channels);
    c.epilogue = &e;
    nb::gil_scoped_release release;
    run_conv(kernels, c, threads);
}

void py_attention(const Kernels& kernels, Words<3> query, Words<3> key, Words<3> value,
                  int64_t heads, Words<1> thresholds, Array<int32_t, 3> out, int threads) {
    Attention a{};
    const auto channels = static_cast<int64_t>(out.shape(2));
    a.batch = out.shape(0), a.queries = out.shape(1), a.keys = key.shape(1), a.heads = heads;
    require(heads > 0 && channels > 0 && channels % heads == 0, channels,
            " channels do not divide into ", heads, " heads");
    require(a.queries > 0 && a.keys > 0, "attention of ", a.queries, " queries to ", a.keys,
            " keys: there must be one of each at least");
    a.head_dim = channels / heads;
    const auto want = static_cast<size_t>(words_of(channels));
    for (const Words<3>* tokens : {&query, &key, &value})
        require(tokens->shape(2) == want, "bits have ", tokens->shape(2), " words a token, but ",
                channels, " channels want ", want, "; pack as many channels as the layer reads");
    require(query.shape(0) == out.shape(0) && key.shape(0) == out.shape(0) &&
                value.shape(0) == out.shape(0) && query.shape(1) == out.shape(1) &&
                value.shape(1) == key.shape(1),
            "query, key and value are ", query.shape(0), "x", query.shape(1), ", ", key.shape(0), "x",
            key.shape(1), " and ", value.shape(0), "x", value.shape(1),
            " (batch, tokens): the batch must be the same, and each key must have one value");
    require(thresholds.shape(0) == static_cast<size_t>(2 * a.head_dim + 1), "got ",
            thresholds.shape(0), " thresholds, but a head has ", 2 * a.head_dim + 1, " scores");
    a.thresholds = thresholds.data();
    a.out = out.data();
    nb::gil_scoped_release release;
    run_attention(kernels, words(query.data()), words(key.data()), words(value.data()), a, threads);
}

// The bits' size is that of the floats, whose dimensions are given.
template <class A>
void require_bits(const A& bits, size_t batch, size_t height, size_t width,
                  size_t channels) {
    const auto want = static_cast<size_t>(words_of(static_cast<int64_t>(channels)));
    require(bits.shape(0) == batch && bits.shape(1) == height && bits.shape(2) == width,
            "bits are ", bits.shape(0), "x", bits.shape(1), "x", bits.shape(2), ", but the floats ",
            batch, "x", height, "x", width, " (batch, height, width)");
    require(bits.shape(3) == want, "bits have ", bits.shape(3), " words a pixel, but ", channels,
            " channels want ", want, "; pass the number of channels that was packed");
}

void py_pack(const Kernels& kernels, nb::ndarray<const float, nb::ndim<4>, nb::device::cpu> x,
             std::optional<Floats<1>> bias, Array<int32_t, 4> bits, int threads) {
    const auto batch = x.shape(0), channels = x.shape(1), height = x.shape(2), width = x.shape(3);
    require_bits(bits, batch, height, width, channels);
    require(!bias || bias->shape(0) == channels, "bias has ", bias ? bias->shape(0) : 0,
            " numbers, but must have one for each of ", channels, " channels");
    Pack p{};
    p.x = x.data();
    p.pixels_in_image = static_cast<int64_t>(height * width);
    p.pixels = static_cast<int64_t>(batch) * p.pixels_in_image;
    p.channels = static_cast<int64_t>(channels);
    // The stride of a dimension of 1 says nothing.
    p.image_stride = x.stride(0), p.channel_stride = channels > 1 ? x.stride(1) : 1;
    p.pixel_stride = width > 1 ? x.stride(3) : height > 1 ? x.stride(2) : 1;
    require(height <= 1 || x.stride(2) == p.pixel_stride * static_cast<int64_t>(width),
            "the rows of x do not follow each other; pass x.contiguous()");
    require(p.channel_stride == 1 || p.pixel_stride == 1,
            "neither channels nor pixels of x lie side by side; pass x.contiguous()");
    p.bias = bias ? bias->data() : nullptr;
    p.bits = words(bits.data());
    nb::gil_scoped_release release;
    run_pack(kernels, p, threads);
}

void py_unpack(const Kernels&, Words<4> bits, Array<float, 4> out, int threads) {
    const auto channels = static_cast<int64_t>(out.shape(3));
    require_bits(bits, out.shape(0), out.shape(1), out.shape(2), out.shape(3));
    const int64_t pixels = static_cast<int64_t>(out.shape(0) * out.shape(1) * out.shape(2));
    nb::gil_scoped_release release;
    run_unpack(words(bits.data()), pixels, channels, out.data(), threads);
}

void py_real_conv(const Kernels& kernels,
                  std::vector<nb::ndarray<const float, nb::ndim<4>, nb::device::cpu>> sources,
                  std::optional<Floats<2>> factor, std::optional<Floats<2>> shift,
                  Floats<4> blocks, Floats<1> bias, int64_t kernel, int64_t stride,
                  std::optional<Floats<4>> added, Array<float, 4> out, int threads) {
    RealConv c{};
    require(!sources.empty() && sources.size() <= 3, "got ", sources.size(),
            " sources, but a convolution wants 1 to 3");
    require(kernel == 1 || kernel == 3, "kernel is ", kernel, ", but must be 1 or 3");
    require(stride == 1 || stride == 2, "stride is ", stride, ", but must be 1 or 2");
    const auto size = [](size_t number) { return static_cast<int64_t>(number); };
    c.batch = size(sources[0].shape(0)), c.height = size(sources[0].shape(1));
    c.width = size(sources[0].shape(2));
    for (const auto& s : sources) {
        require(size(s.shape(0)) == c.batch && size(s.shape(1)) == c.height &&
                    size(s.shape(2)) == c.width,
                "sources are of several sizes: ", s.shape(0), "x", s.shape(1), "x", s.shape(2),
                " (batch, height, width) and ", c.batch, "x", c.height, "x", c.width);
        // The stride of a dimension of 1 says nothing.
        Plane p{s.data(), size(s.shape(3)), s.stride(0), s.stride(2), s.stride(3)};
        if (p.channels <= 1) p.channel_stride = 1;
        if (c.width <= 1) p.pixel_stride = c.height > 1 ? s.stride(1) : p.channels;
        require(c.height <= 1 || s.stride(1) == p.pixel_stride * c.width,
                "the rows of a source do not follow each other; pass x.contiguous()");
        c.sources[c.num_sources++] = p;
        c.in_channels += p.channels;
    }
    require(c.height > 0 && c.width > 0 && c.in_channels > 0, "sources are ", c.height, "x", c.width,
            " with ", c.in_channels, " channels: none of them may be 0");
    c.kernel = kernel, c.stride = stride, c.out_channels = size(out.shape(3));
    c.out_height = (c.height - 1) / stride + 1, c.out_width = (c.width - 1) / stride + 1;
    const auto same = [&](const auto& map) {
        return size(map.shape(0)) == c.batch && size(map.shape(1)) == c.out_height &&
               size(map.shape(2)) == c.out_width && size(map.shape(3)) == c.out_channels;
    };
    require(c.out_channels > 0 && same(out), "out is ", out.shape(0), "x", out.shape(1), "x",
            out.shape(2), "x", out.shape(3), ", but must be ", c.batch, "x", c.out_height, "x",
            c.out_width, "x channels");
    require(!added || same(*added), "what is added has not the output's size");
    const int64_t wanted[] = {c.is_narrow() ? c.out_channels : padded(c.out_channels) / kBlock,
                              c.taps(), c.is_narrow() ? 1 : c.in_channels,
                              c.is_narrow() ? padded(c.in_channels) : kBlock};
    bool fits = size(bias.shape(0)) == padded(c.out_channels);
    for (size_t i = 0; i < 4; ++i) fits &= size(blocks.shape(i)) == wanted[i];
    require(fits, "the weights are ", blocks.shape(0), "x", blocks.shape(1), "x", blocks.shape(2), "x",
            blocks.shape(3), " and ", bias.shape(0), " biases, but must be ", wanted[0], "x",
            wanted[1], "x", wanted[2], "x", wanted[3], " and ", padded(c.out_channels));
    require(factor.has_value() == shift.has_value(), "a factor wants a shift, and a shift a factor");
    for (const auto* each : {&factor, &shift})
        require(!*each || (size((*each)->shape(0)) == c.batch &&
                           size((*each)->shape(1)) == c.in_channels),
                "factor and shift must be ", c.batch, "x", c.in_channels, " (batch, channels)");
    c.factor = factor ? factor->data() : nullptr, c.shift = shift ? shift->data() : nullptr;
    c.blocks = blocks.data(), c.bias = bias.data();
    c.added = added ? added->data() : nullptr, c.out = out.data();
    nb::gil_scoped_release release;
    run_real_conv(kernels, c, threads);
}

void py_modulate(const Kernels& kernels, Floats<4> x, Floats<1> factor, Floats<1> shift,
                 Floats<1> bias, Array<float, 4> out, Array<int32_t, 4> bits, int threads) {
    bool same = true;
    for (size_t i = 0; i < 4; ++i) same &= x.shape(i) == out.shape(i);
    require(same, "out has not the size of x");
    require_bits(bits, x.shape(0), x.shape(1), x.shape(2), x.shape(3));
    for (const Floats<1>* each : {&factor, &shift, &bias})
        require(each->shape(0) == x.shape(3),
                "factor, shift and bias must have one number for each of ", x.shape(3), " channels");
    Modulate m{};
    m.x = x.data(), m.channels = static_cast<int64_t>(x.shape(3));
    m.pixels = static_cast<int64_t>(x.shape(0) * x.shape(1) * x.shape(2));
    m.factor = factor.data(), m.shift = shift.data(), m.bias = bias.data();
    m.out = out.data(), m.bits = words(bits.data());
    nb::gil_scoped_release release;
    run_modulate(kernels, m, threads);
}

void py_join(const Kernels&, Words<4> left, Words<4> right, int64_t left_channels,
             int64_t right_channels, Array<int32_t, 4> out, int threads) {
    require(left_channels > 0 && right_channels > 0, "channels are ", left_channels, " and ",
            right_channels, ": none of them may be 0");
    require_bits(left, out.shape(0), out.shape(1), out.shape(2), left_channels);
    require_bits(right, out.shape(0), out.shape(1), out.shape(2), right_channels);
    require_bits(out, out.shape(0), out.shape(1), out.shape(2), left_channels + right_channels);
    const auto pixels = static_cast<int64_t>(out.shape(0) * out.shape(1) * out.shape(2));
    nb::gil_scoped_release release;
    run_join(words(left.data()), words(right.data()), pixels, left_channels, right_channels,
             words(out.data()), threads);
}

void py_norm(const Kernels& kernels, Floats<4> x, int64_t groups, Floats<1> weight, Floats<1> bias,
             double eps, Array<float, 2> factor, Array<float, 2> shift, int threads) {
    const auto size = [](size_t number) { return static_cast<int64_t>(number); };
    Norm n{};
    n.x = x.data(), n.batch = size(x.shape(0)), n.channels = size(x.shape(3));
    n.pixels = size(x.shape(1) * x.shape(2)), n.groups = groups, n.eps = eps;
    require(n.pixels > 0 && n.channels > 0 && groups > 0 && n.channels % groups == 0, "x is ",
            x.shape(1), "x", x.shape(2), " with ", n.channels, " channels, for ", groups,
            " groups: none of them may be 0, and groups must divide channels");
    require(size(weight.shape(0)) == n.channels && size(bias.shape(0)) == n.channels,
            "weight and bias must have one number for each of ", n.channels, " channels");
    for (const auto* each : {&factor, &shift})
        require(size(each->shape(0)) == n.batch && size(each->shape(1)) == n.channels,
                "factor and shift must be ", n.batch, "x", n.channels, " (batch, channels)");
    n.weight = weight.data(), n.bias = bias.data();
    n.factor = factor.data(), n.shift = shift.data();
    nb::gil_scoped_release release;
    run_norm(kernels, n, threads);
}

// Billions of bits a second that one thread gets through, out of its first cache.
double py_peak(const Kernels& kernels, const std::string& way, double seconds) {
    alignas(64) static uint32_t data[kPeakWords];
    for (int64_t i = 0; i < kPeakWords; ++i) data[i] = static_cast<uint32_t>(i * 2654435761u);
    uint64_t (*run)(const uint32_t*, int64_t) = nullptr;
    if (way == "plain") run = kernels.peak_plain;
    if (way == "carry_save") run = kernels.peak_carry_save;
    require(run, "way is '", way, "', but must be plain or carry_save");
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
        best = std::max(best, kRounds * kPeakBits / took / 1e9);
        passed = std::chrono::duration<double>(now - begin).count();
    }
    return best;
}

}  // namespace

NB_MODULE(_kernels, m) {
    m.attr("__doc__") = "The compiled kernels; hidiff.packed.compiled is their face.";
    // To be raised with every change of what Python calls here: hidiff.packed.compiled asks for it.
    m.attr("INTERFACE") = 3;
    const auto names = [](const std::vector<const Kernels*>& kernels) {
        nb::dict result;
        for (const Kernels* k : kernels) result[k->name] = k->how;
        return result;
    };
    m.def("supported", [names] { return names(supported_kernels()); });
    m.def("built", [names] { return names(built_kernels()); });
    // noconvert: an array of another type or layout is an error, never a silent copy
    using nb::arg;
    m.def("kernel", find, arg("name"), nb::rv_policy::reference);
    nb::class_<Kernels> kernel(m, "Kernel");
    const auto add_conv = [&](const char* name, auto conv) {
        kernel.def(name, conv, arg("bits").noconvert(), arg("blocks").noconvert(),
                   arg("offsets").noconvert(), arg("kernel"), arg("stride"), arg("out").noconvert(),
                   arg("threads"));
    };
    add_conv("conv_int32", py_conv<int32_t>);
    add_conv("conv_int16", py_conv<int16_t>);
    kernel.def("conv_block", py_conv_block, arg("bits").noconvert(), arg("blocks").noconvert(),
               arg("offsets").noconvert(), arg("kernel"), arg("stride"),
               arg("channel_values").noconvert(), arg("shortcuts").noconvert(),
               arg("next_bias").noconvert(), arg("out").noconvert(), arg("next_bits").noconvert(),
               arg("threads"));
    kernel.def("attention", py_attention, arg("query").noconvert(), arg("key").noconvert(),
               arg("value").noconvert(), arg("heads"), arg("thresholds").noconvert(),
               arg("out").noconvert(), arg("threads"));
    kernel.def("pack", py_pack, arg("x").noconvert(), arg("bias").noconvert().none(),
               arg("bits").noconvert(), arg("threads"));
    kernel.def("real_conv", py_real_conv, arg("sources").noconvert(),
               arg("factor").noconvert().none(), arg("shift").noconvert().none(),
               arg("blocks").noconvert(), arg("bias").noconvert(), arg("kernel"), arg("stride"),
               arg("added").noconvert().none(), arg("out").noconvert(), arg("threads"));
    kernel.def("modulate", py_modulate, arg("x").noconvert(), arg("factor").noconvert(),
               arg("shift").noconvert(), arg("bias").noconvert(), arg("out").noconvert(),
               arg("bits").noconvert(), arg("threads"));
    kernel.def("join", py_join, arg("left").noconvert(), arg("right").noconvert(),
               arg("left_channels"), arg("right_channels"), arg("out").noconvert(), arg("threads"));
    kernel.def("norm", py_norm, arg("x").noconvert(), arg("groups"), arg("weight").noconvert(),
               arg("bias").noconvert(), arg("eps"), arg("factor").noconvert(),
               arg("shift").noconvert(), arg("threads"));
    kernel.def("unpack", py_unpack, arg("bits").noconvert(), arg("out").noconvert(), arg("threads"));
    kernel.def("peak", py_peak, arg("way"), arg("seconds"));
}
