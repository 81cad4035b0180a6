// SPDX-License-Identifier: Apache-2.0
// greet: a plugin in C++, without exceptions, RTTI, or anything that would have to be constructed before it runs.
#include <crpie/log.h>
#include <crpie/plugin.h>

namespace
{

class Seconds {
public:
	explicit constexpr Seconds(int64_t ns) : ns_(ns) {}
	constexpr int64_t whole() const { return ns_ / 1000000000; }

private:
	int64_t ns_;
};

int greet(struct crpie_ctx *ctx)
{
	const Seconds slept(ctx->restore_time_ns - ctx->dump_time_ns);

	pr_info(ctx, "good morning %s, you slept for %ld s", ctx->comm, slept.whole());
	return 0;
}

} // namespace

CR_PLUGIN_REGISTER_DUMMY("greet")
CRPIE_NO_PARAMS
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, greet)
