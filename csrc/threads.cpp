#include "threads.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#if defined(_WIN32)
#include <process.h>
static int process_id() { return _getpid(); }
#else
#include <unistd.h>
static int process_id() { return getpid(); }
#endif

namespace hidiff {
namespace {

class Pool {
  public:
    explicit Pool(int process) : process_(process) {}

    int process() const { return process_; }

    void run(int64_t items, int threads, const std::function<void(int64_t, int)>& work) {
        for (; num_threads_ < threads - 1; ++num_threads_)
            std::thread([this, number = num_threads_ + 1, seen = round_] {
                serve(number, seen);
            }).detach();
        {
            std::lock_guard lock(mutex_);
            work_ = &work;
            items_ = items;
            next_.store(0, std::memory_order_relaxed);
            helpers_ = working_ = threads - 1;
            ++round_;
        }
        start_.notify_all();
        take_items(0);
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return working_ == 0; });
    }

  private:
    void take_items(int thread) {
        for (int64_t item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < items_;)
            (*work_)(item, thread);
    }

    // `seen`: the rounds before this thread was made, which it has no part in.
    void serve(int number, uint64_t seen) {
        std::unique_lock lock(mutex_);
        for (;;) {
            start_.wait(lock, [&] { return round_ != seen; });
            seen = round_;
            if (number > helpers_) continue;
            lock.unlock();
            take_items(number);
            lock.lock();
            if (--working_ == 0) done_.notify_one();
        }
    }

    const int process_;
    std::mutex mutex_;
    std::condition_variable start_, done_;
    int num_threads_ = 0;
    const std::function<void(int64_t, int)>* work_ = nullptr;
    int64_t items_ = 0;
    std::atomic<int64_t> next_{0};
    int helpers_ = 0, working_ = 0;
    uint64_t round_ = 0;
};

std::atomic_flag busy = ATOMIC_FLAG_INIT;
Pool* pool = nullptr;  // never deleted: its threads serve until the process ends

// A forked child (PyTorch's data loaders fork) has the pool, but none of its threads. If its parent
// was at work in that moment, `busy` stays set there, and the child works on one thread.
Pool& pool_of_this_process() {
    if (!pool || pool->process() != process_id()) pool = new Pool(process_id());
    return *pool;
}

}  // namespace

void parallel_for(int64_t items, int threads, const std::function<void(int64_t, int)>& work) {
    if (threads > items) threads = static_cast<int>(items);
    if (threads <= 1 || busy.test_and_set(std::memory_order_acquire)) {
        for (int64_t item = 0; item < items; ++item) work(item, 0);
        return;
    }
    pool_of_this_process().run(items, threads, work);
    busy.clear(std::memory_order_release);
}

}  // namespace hidiff
