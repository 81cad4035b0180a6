/* SPDX-License-Identifier: Apache-2.0 */
#include "census.h"

#include <pthread.h>

int victim_failures;

static struct {
	char key[64], value[400];
} facts[2048];
static int nr_facts;
static int again; /* this is after the restore */

__thread const char *who = "";

static void take_down(const char *key, const char *value)
{
	int i;

	for (i = 0; i < nr_facts && strcmp(facts[i].key, key) != 0; i++)
		;
	if (again) {
		const char *was = i < nr_facts ? facts[i].value : "nothing";

		CHECK(strcmp(was, value) == 0, "%s: is %s, was %s", key, value, was);
		return;
	}
	MUST(i == nr_facts && nr_facts < (int)(sizeof(facts) / sizeof(facts[0])));
	snprintf(facts[i].key, sizeof(facts[i].key), "%s", key);
	snprintf(facts[i].value, sizeof(facts[i].value), "%s", value);
	nr_facts++;
}

void fact(const char *key, const char *fmt, ...)
{
	char full[64], value[400];
	va_list ap;

	snprintf(full, sizeof(full), "%s%s", who, key);
	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	take_down(full, value);
}

void fact_bytes(const char *key, const void *bytes, size_t size)
{
	char hex[257] = "";

	for (size_t i = 0; i < size && i < 128; i++)
		sprintf(hex + 2 * i, "%02x", ((const unsigned char *)bytes)[i]);
	fact(key, "%zu:%s", size, hex);
}

void lacks(const char *key)
{
	if (!again)
		printf("LACKS %s%s: %s\n", who, key, strerror(errno));
}

static pthread_barrier_t ready, go, done;

/* The second thread: its values are others than the first's. They take turns. */
static void *second(void *unused)
{
	who = "thread ";
	set_thread(1);
	tell_thread();
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&go);
	tell_thread();
	pthread_barrier_wait(&done);
	return unused;
}

static void tell_all(void)
{
	tell_thread();
	tell_process();
	tell_dnotify();
	tell_files();
	tell_sockets();
	tell_memory();
}

int main(void)
{
	pthread_t thread;

	victim_begin();
	MUST(pthread_barrier_init(&ready, NULL, 2) == 0);
	MUST(pthread_barrier_init(&go, NULL, 2) == 0 && pthread_barrier_init(&done, NULL, 2) == 0);
	set_before_threads();
	MUST(pthread_create(&thread, NULL, second, NULL) == 0);
	pthread_barrier_wait(&ready);
	set_files();
	set_sockets();
	set_thread(0);
	set_process();
	set_memory();
	tell_all();

	victim_wait();
	again = 1;
	pthread_barrier_wait(&go);
	pthread_barrier_wait(&done);
	tell_all();
	return victim_end();
}
