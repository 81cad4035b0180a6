/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process of a container: tells its identity in /id whenever it changes, and ends when /stop exists. With
 * "serve ADDRESS PORT [INTERFACE]" it also echoes what a client sends. At a terminal it answers each line with its identity. Its
 * System V shared memory has to stay what it is.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int good)
{
	if (!good)
		_exit(1);
}

static void tell(const char *id)
{
	FILE *f = fopen("/id.new", "w");

	must(f != NULL && fputs(id, f) >= 0 && fclose(f) == 0 && rename("/id.new", "/id") == 0);
}

static int listening(const char *address, const char *port, const char *interface)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = inet_addr(address),
				  .sin_port = htons(atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (interface != NULL)
		must(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface)) == 0);
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0);
	return fd;
}

static void echo(int client)
{
	char buf[4096];
	ssize_t n = read(client, buf, sizeof(buf));

	must(n >= 0);
	for (ssize_t done = 0, sent; done < n; done += sent)
		must((sent = write(client, buf + done, n - done)) > 0);
	if (n == 0)
		shutdown(client, SHUT_WR);
}

static void answer(void)
{
	char line[256];
	ssize_t n = read(0, line, sizeof(line));

	must(n > 0 && printf("%s: %.*s", getenv("INSTANCE_ID"), (int)n, line) > 0 && fflush(stdout) == 0);
}

/* Waits for a moment, or until there is something to do. A poll of descriptor -1 is of none. */
static void serve(int terminal, int listener, int *client)
{
	struct pollfd fds[] = { { .fd = terminal, .events = POLLIN },
				{ .fd = *client < 0 ? listener : *client, .events = POLLIN } };

	if (poll(fds, 2, 10) <= 0)
		return;
	if (fds[0].revents & POLLIN)
		answer();
	if (!(fds[1].revents & POLLIN))
		return;
	if (*client < 0)
		must((*client = accept(listener, NULL, NULL)) >= 0);
	else
		echo(*client);
}

/* Makes shared memory of the container's IPC namespace, whose settings it may only read. */
static char *shared(const char *text)
{
	char *memory = shmat(shmget(IPC_PRIVATE, 4096, 0600), NULL, 0);

	must(memory != (void *)-1);
	return strcpy(memory, text);
}

int main(int argc, char **argv)
{
	int listener = argc >= 4 ? listening(argv[2], argv[3], argv[4]) : -1;
	int client = -1, terminal = isatty(0) ? 0 : -1;
	char told[128] = "", *kept = shared("kept");

	for (; access("/stop", F_OK) != 0; serve(terminal, listener, &client)) {
		const char *id = getenv("INSTANCE_ID");

		must(strcmp(kept, "kept") == 0);
		if (id != NULL && strcmp(id, told) != 0) {
			snprintf(told, sizeof(told), "%s", id);
			tell(id);
		}
	}
	return 7;
}
