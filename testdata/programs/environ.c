/* SPDX-License-Identifier: Apache-2.0 */
/* Says "ready", and then expects of its environment what testdata/plugins/world.c makes of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILL 300 /* variables beside those that are looked for */

extern char **environ;
static int failed;

static void expect(const char *name, const char *want)
{
	const char *value = getenv(name);

	if (value == NULL ? want != NULL : want == NULL || strcmp(value, want) != 0) {
		printf("%s is %s\n", name, value ? value : "not set");
		failed = 1;
	}
}

int main(void)
{
	char grown[5001], name[16];
	int i, entries = 0;

	for (i = 0; i < FILL; i++) {
		snprintf(name, sizeof(name), "FILL%d", i);
		setenv(name, name, 1);
	}
	setenv("SET", "by the program", 1);
	if (write(1, "ready\n", 6) != 6)
		return 2;
	memset(grown, 'x', 5000);
	grown[5000] = 0;
	expect("GROWN", grown);
	expect("SET", "by the plugin");
	expect("NEW1", "1");
	expect("NEW2", "");
	expect("KEPT", "as it was");
	while (environ[entries])
		entries++;
	setenv("GROWN", "again", 1);
	unsetenv("NEW1");
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "MORE%d", i);
		setenv(name, name, 1);
	}
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "MORE%d", i);
		expect(name, name);
	}
	expect("GROWN", "again");
	expect("NEW1", NULL);
	expect("NEW2", "");
	if (entries != FILL + 5) {
		printf("%d entries\n", entries);
		failed = 1;
	}
	return failed;
}
