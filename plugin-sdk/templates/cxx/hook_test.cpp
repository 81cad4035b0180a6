// Unit tests: `make test` builds this with sanitizers and runs it.
#include <crpie/test.h>

#include "hook.cpp"

static void expect_name(const char *want)
{
	char name[16];

	CRPIE_EXPECT(sys_prctl(PR_GET_NAME, reinterpret_cast<unsigned long>(name), 0, 0, 0) == 0);
	CRPIE_EXPECT(strcmp(name, want) == 0);
}

int main(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == 0);
	expect_name("restored");
	CRPIE_EXPECT(crpie_test_logged(&t, "info: worker is now restored"));
	crpie_test_end(&t);

	crpie_test_begin(&t, "worker");
	crpie_test_param(&t, "name", "clone");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == 0);
	expect_name("clone");
	crpie_test_end(&t);
	return crpie_test_result();
}
