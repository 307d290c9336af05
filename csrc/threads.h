// A pool of threads that stays, so that a layer of some microseconds need not start its own.
#pragma once

#include <cstdint>
#include <functional>

namespace hidiff {

// Calls work(item, thread) for every item in [0, items), on at most `threads` threads (the caller's
// is one of them), `thread` in [0, threads). Where the pool is busy for another caller, the items
// are done one after the other.
void parallel_for(int64_t items, int threads, const std::function<void(int64_t, int)>& work);

}  // namespace hidiff
