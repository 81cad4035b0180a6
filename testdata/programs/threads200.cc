/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 200 C++ threads that never rest: 100 produce numbered items, 100 take them, through a small queue with a mutex and two
 * condition variables. Every item is thrown and caught on its way, counted in thread-local objects and in tables behind
 * a shared mutex. Afterwards each number has arrived exactly once.
 */
#include "../victims/victim.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <vector>

int victim_failures;

namespace {

constexpr int pairs = 100;
constexpr unsigned some = 20; /* items of each producer before READY, and again after SIGUSR1 */

struct Item {
	int producer;
	unsigned number;
};

/* A bounded queue; get returns false when it is closed and empty. */
class Queue {
public:
	void put(Item item)
	{
		std::unique_lock lock(mutex);
		room.wait(lock, [this] { return items.size() < 16; });
		items.push_back(item);
		filled.notify_one();
	}

	bool get(Item &item)
	{
		std::unique_lock lock(mutex);
		while (items.empty() && !closed) /* timed, so that some threads are in the middle of a timeout */
			filled.wait_for(lock, std::chrono::milliseconds(20));
		if (items.empty())
			return false;
		item = items.front();
		items.pop_front();
		room.notify_one();
		return true;
	}

	void close()
	{
		std::lock_guard lock(mutex);
		closed = true;
		filled.notify_all();
	}

private:
	std::mutex mutex;
	std::condition_variable room, filled;
	std::deque<Item> items;
	bool closed = false;
};

/* What has arrived of one producer. */
class Arrived {
public:
	void add(unsigned number)
	{
		std::unique_lock lock(mutex);
		if (seen.size() <= number)
			seen.resize(number + 1);
		if (seen[number])
			differs("item %u has arrived twice", number);
		seen[number] = true;
		count++;
		more.notify_all();
	}

	unsigned size()
	{
		std::shared_lock lock(mutex);
		return count;
	}

	void await(unsigned wanted)
	{
		std::unique_lock lock(mutex);
		if (!more.wait_for(lock, std::chrono::seconds(60), [&] { return count >= wanted; }))
			differs("%u items have arrived, no more come", count);
	}

private:
	std::shared_mutex mutex;
	std::condition_variable_any more;
	std::vector<bool> seen;
	unsigned count = 0;
};

/* Each thread's own count, which its end adds to everybody's. */
struct Tally {
	unsigned items = 0, unwound = 0;
	~Tally();
};

std::atomic<unsigned long> total, unwound;

Tally::~Tally()
{
	total += items;
	::unwound += unwound;
}

thread_local Tally tally;
thread_local const int *self;

/* Sees the stack being unwound. */
struct Frame {
	~Frame() { tally.unwound++; }
};

struct Thrown : std::runtime_error {
	Item item;
	explicit Thrown(Item i) : std::runtime_error("item " + std::to_string(i.number)), item(i) {}
};

[[gnu::noinline]] void deliver(Item item, int depth)
{
	Frame frame;

	if (depth == 0)
		throw Thrown(item);
	deliver(item, depth - 1);
	asm volatile(""); /* no tail call */
}

Queue queue;
std::array<Arrived, pairs> arrived;
std::atomic<bool> stop;

unsigned produce(int producer)
{
	unsigned n = 0;

	self = &producer;
	for (; !stop; tally.items++)
		queue.put({producer, n++});
	CHECK(self == &producer, "thread-local pointer of producer %d", producer);
	CHECK(tally.items == n, "thread-local count of producer %d: %u, want %u", producer, tally.items, n);
	return n;
}

void consume()
{
	for (Item item; queue.get(item); tally.items++) {
		try {
			deliver(item, 3);
		} catch (const Thrown &thrown) {
			CHECK(thrown.what() == "item " + std::to_string(item.number), "caught %s", thrown.what());
			arrived[thrown.item.producer].add(thrown.item.number);
		}
	}
	CHECK(tally.unwound == 4 * tally.items, "%u frames unwound for %u items", tally.unwound, tally.items);
}

void get_on()
{
	std::array<unsigned, pairs> goal;

	for (int i = 0; i < pairs; i++)
		goal[i] = arrived[i].size() + some;
	for (int i = 0; i < pairs; i++)
		arrived[i].await(goal[i]);
}

} // namespace

int main()
{
	std::vector<std::future<unsigned>> producers;
	std::vector<std::thread> threads;
	unsigned long produced = 0;

	victim_begin();
	for (int i = 0; i < pairs; i++) {
		std::packaged_task<unsigned(int)> task(produce);

		producers.push_back(task.get_future());
		threads.emplace_back(std::move(task), i);
		threads.emplace_back(consume);
	}
	get_on();
	victim_wait();
	get_on();
	stop = true;
	for (int i = 0; i < pairs; i++) {
		unsigned n = producers[i].get();

		produced += n;
		arrived[i].await(n);
		CHECK(arrived[i].size() == n, "producer %d: %u items have arrived of %u", i, arrived[i].size(), n);
	}
	queue.close();
	for (auto &t : threads)
		t.join();
	CHECK(total == 2 * produced, "the threads have counted %lu, want %lu", total.load(), 2 * produced);
	CHECK(unwound == 4 * produced, "%lu frames unwound, want %lu", unwound.load(), 4 * produced);
	return victim_end();
}
