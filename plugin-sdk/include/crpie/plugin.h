/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registering a PIE plugin: CRIU's spellings, another mechanism.
 *
 * CRIU's macros expand to constructors. Nothing runs constructors in a relocatable object, so here they put fixed-size
 * records into named sections, and crpie reads them while it validates the object. As in CRIU the macros stand at file
 * scope and bring their own semicolon.
 *
 *	static int greet(struct crpie_ctx *ctx)
 *	{
 *		ctx->log(ctx, CRPIE_LOG_INFO, "hello", 5);
 *		return 0;
 *	}
 *	CR_PLUGIN_REGISTER_DUMMY("greet")
 *	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, greet)
 *
 * A hook returns 0, -ENOTSUP ("not for this task", the restore goes on), or another negative errno, which undoes the
 * whole restore. So does anything else, such as a positive number. Hooks of one object run in the order in which they
 * are registered, unless their priorities differ.
 *
 * Works with gcc and clang, C99 and later, C++11 and later. GNU extensions used: attributes, __COUNTER__.
 */
#ifndef CRPIE_PLUGIN_H
#define CRPIE_PLUGIN_H

#include <stddef.h>
#include <linux/errno.h>

#include <crpie/abi.h>

/* POSIX name; on Linux the value is EOPNOTSUPP's, and the kernel's headers only know that one. */
#ifndef ENOTSUP
#define ENOTSUP EOPNOTSUPP
#endif

/* CRIU declares the type of each hook this way (criu-plugin.h): HOOK_t is a function type. */
#define DECLARE_PLUGIN_HOOK_ARGS(hook, ...) typedef int(hook##_t)(__VA_ARGS__)

DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_POST_THREADS, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP, struct crpie_ctx *ctx);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PIE_DMP_RESUMED, struct crpie_ctx *ctx);

#ifdef __cplusplus
#define CRPIE_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define CRPIE_STATIC_ASSERT(cond, text) __extension__ _Static_assert(cond, text)
#endif

/* gcc writes variables in any order, from -O1 on backwards; clang has no such attribute and keeps the source's. */
#ifdef __has_attribute
#if __has_attribute(no_reorder)
#define CRPIE_NO_REORDER , no_reorder
#endif
#endif
#ifndef CRPIE_NO_REORDER
#define CRPIE_NO_REORDER
#endif

/*
 * gcc gives large objects more alignment than their type needs, which leaves holes between records. An explicit
 * alignment switches that off, so that records lie at multiples of their size, also after `ld -r` joined objects.
 */
#define CRPIE_RECORD(section_name) __attribute__((section(section_name), used, aligned(8) CRPIE_NO_REORDER))

CRPIE_STATIC_ASSERT(sizeof(struct crpie_plugin_record) == 72, "struct crpie_plugin_record has holes");
CRPIE_STATIC_ASSERT(sizeof(struct crpie_plugin_record_ctx) == 72, "struct crpie_plugin_record_ctx has holes");
CRPIE_STATIC_ASSERT(sizeof(struct crpie_param_record) == 352, "struct crpie_param_record has holes");
CRPIE_STATIC_ASSERT(sizeof(struct crpie_import_record) == 280, "struct crpie_import_record has holes");
CRPIE_STATIC_ASSERT(sizeof(struct crpie_hook_record) == 24, "struct crpie_hook_record has holes");

/* A hook without a return statement returns whatever the register holds, which would undo restores by chance. */
#pragma GCC diagnostic error "-Wreturn-type"

/* C++ compilers say so themselves. */
#ifdef __cplusplus
#define CRPIE_IS_HOOK_(fn) 1
#else
#define CRPIE_IS_HOOK_(fn)                                                                                             \
	(__builtin_types_compatible_p(__typeof__(fn), int(struct crpie_ctx *)) ||                                      \
	 __builtin_types_compatible_p(__typeof__(fn), crpie_hook_fn))
#endif

#define CRPIE_PASTE_(a, b) a##b
#define CRPIE_PASTE(a, b) CRPIE_PASTE_(a, b)

/* it takes CRPIE_RECORD for a call */
/* clang-format off */
#define CRPIE_REGISTER_(record, needs, plugin_name, init_fn, exit_fn)                                                  \
	CRPIE_STATIC_ASSERT(sizeof(plugin_name) > 1, "the plugin needs a name");                                       \
	CRPIE_STATIC_ASSERT(sizeof(plugin_name) <= CRPIE_NAME_MAX, "the plugin's name is longer than 47 bytes");       \
	static struct record crpie_this_plugin CRPIE_RECORD(CRPIE_PLUGIN_SECTION) = {                                  \
		(uint32_t)sizeof(struct record), needs, plugin_name, init_fn, exit_fn                                  \
	};

/* Names the plugin. init and exit may be NULL. Twice in one object is a compile error. */
#define CR_PLUGIN_REGISTER(plugin_name, init_fn, exit_fn)                                                              \
	CRPIE_REGISTER_(crpie_plugin_record, 1, plugin_name, init_fn, exit_fn)

/*
 * The same for functions that take the context, to log and to read parameters (ctx->hook is CRPIE_HOOK_INIT or _EXIT):
 *	int init(int stage, struct crpie_ctx *ctx)
 *	void exit(int stage, int ret, struct crpie_ctx *ctx)
 * A crpie of before version 2 of the interface refuses such an object.
 */
#define CRPIE_PLUGIN_REGISTER_CTX(plugin_name, init_fn, exit_fn)                                                       \
	CRPIE_REGISTER_(crpie_plugin_record_ctx, 2, plugin_name, init_fn, exit_fn)

#define CR_PLUGIN_REGISTER_DUMMY(plugin_name) CR_PLUGIN_REGISTER(plugin_name, NULL, NULL)

#define CRPIE_IS_DUMP_HOOK_(hook_id)                                                                                   \
	((hook_id) >= CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP && (hook_id) < CR_PLUGIN_HOOK__PIE_DMP_MAX)

/* Adds a function to a stage. Within a stage the lower priority runs first; the default is 0. */
#define CR_PLUGIN_REGISTER_HOOK_PRIO(hook_id, hook_fn, prio)                                                           \
	CRPIE_STATIC_ASSERT(((hook_id) >= CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED &&                                      \
			     (hook_id) < CR_PLUGIN_HOOK__PIE_RST_MAX) ||                                               \
				    CRPIE_IS_DUMP_HOOK_(hook_id),                                                      \
			    "not a PIE_RST or PIE_DMP hook; CRIU's other hooks belong into a CRIU plugin");            \
	CRPIE_STATIC_ASSERT(CRPIE_IS_HOOK_(hook_fn), "a hook is: static int " #hook_fn "(struct crpie_ctx *ctx)");     \
	static struct crpie_hook_record CRPIE_PASTE(crpie_hook_record_, __COUNTER__)                                   \
		CRPIE_RECORD(CRPIE_HOOKS_SECTION) = {                                                                  \
			(uint32_t)sizeof(struct crpie_hook_record), CRPIE_IS_DUMP_HOOK_(hook_id) ? 5 : 1,          \
			hook_id, prio, hook_fn                                                                         \
		};

#define CR_PLUGIN_REGISTER_HOOK(hook_id, hook_fn) CR_PLUGIN_REGISTER_HOOK_PRIO(hook_id, hook_fn, 0)

/*
 * Declares the parameters, so that mistakes in --pie-plugin hook.o,key=value are seen before a process exists. needed
 * is CRPIE_REQUIRED, CRPIE_OPTIONAL, or CRPIE_DEFAULT("text"): then the plugin is handed that text if the parameter is
 * not given. help is a line for crpie inspect. The values are read with <crpie/param.h>. An object that declares none
 * is handed any.
 *
 *	CRPIE_PARAM_STR("var", CRPIE_REQUIRED, "name of the variable")
 *	CRPIE_PARAM_ENUM("format", CRPIE_DEFAULT("uuid"), "uuid hex", "of a random value")
 */
#define CRPIE_PARAM_RECORD_(kind, name, min, max, values, help, flags, def, ...)                                       \
	CRPIE_STATIC_ASSERT(sizeof(name) <= CRPIE_PARAM_NAME_MAX, "the parameter's name is longer than 31 bytes");     \
	CRPIE_STATIC_ASSERT(sizeof(values) <= CRPIE_PARAM_VALUES_MAX, "the values are longer than 95 bytes");          \
	CRPIE_STATIC_ASSERT(sizeof(help) <= CRPIE_PARAM_HELP_MAX, "the help is longer than 127 bytes");                \
	CRPIE_STATIC_ASSERT(sizeof(def) <= CRPIE_PARAM_DEFAULT_MAX, "the default is longer than 63 bytes");            \
	static struct crpie_param_record CRPIE_PASTE(crpie_param_record_, __COUNTER__)                                 \
		CRPIE_RECORD(CRPIE_PARAMS_SECTION) = {                                                                 \
			(uint32_t)sizeof(struct crpie_param_record), (flags) & CRPIE_DEFAULTED ? 3 : 2, \
			kind, flags, min, max, name, values, help, def \
		};
/* needed may be two arguments, flags and default: of one the default is "". */
#define CRPIE_PARAM_(kind, name, min, max, values, help, ...)                                                          \
	CRPIE_PARAM_RECORD_(kind, name, min, max, values, help, __VA_ARGS__, "", 0)

#define CRPIE_DEFAULT(text) CRPIE_DEFAULTED, text
#define CRPIE_PARAM_STR(name, needed, help) CRPIE_PARAM_(CRPIE_PARAM_KIND_STRING, name, 0, 0, "", help, needed)
#define CRPIE_PARAM_INT(name, needed, min, max, help)                                                                  \
	CRPIE_PARAM_(CRPIE_PARAM_KIND_INT, name, min, max, "", help, needed)
#define CRPIE_PARAM_SIZE(name, needed, min, max, help)                                                                 \
	CRPIE_PARAM_(CRPIE_PARAM_KIND_SIZE, name, min, max, "", help, needed)
#define CRPIE_PARAM_BOOL(name, needed, help) CRPIE_PARAM_(CRPIE_PARAM_KIND_BOOL, name, 0, 0, "", help, needed)
#define CRPIE_PARAM_ENUM(name, needed, values, help)                                                                   \
	CRPIE_PARAM_(CRPIE_PARAM_KIND_ENUM, name, 0, 0, values, help, needed)
/* Of the parameters in names at most one may be given, with CRPIE_REQUIRED exactly one. */
#define CRPIE_PARAM_ONE_OF(names, flags) CRPIE_PARAM_(CRPIE_PARAM_KIND_ONE_OF, "", 0, 0, names, "", flags)
/* The plugin takes no parameter. */
#define CRPIE_NO_PARAMS CRPIE_PARAM_(CRPIE_PARAM_KIND_NONE, "", 0, 0, "", "", CRPIE_OPTIONAL)

/*
 * Declares a function or variable of the process that hooks use: of a library, by its SONAME, file name or path, or of
 * the program itself (""). crpie finds it before a process exists, and puts its address into crpie_import_SYMBOL. With
 * CRPIE_REQUIRED a process without it is refused, with CRPIE_OPTIONAL the pointer is NULL there. The symbol has to be
 * declared, for its type; it is not linked. The library runs as the program does: from PIE_RST_PRE_SIGRETURN[_THREAD]
 * on, not before.
 *
 *	int RAND_poll(void);
 *	CRPIE_IMPORT(RAND_poll, "libcrypto.so.3", CRPIE_OPTIONAL)
 *
 *	if (crpie_import_RAND_poll && crpie_import_RAND_poll() != 1)
 *		return -EIO;
 */
#define CRPIE_IMPORT(name, library, needed)                                                                            \
	CRPIE_IMPORT_AS(crpie_import_##name, __typeof__(name), #name, library, needed)

/*
 * The same for a symbol by the name in its file: a version behind @ ("RAND_poll@OPENSSL_3.0.0"), a mangled name of C++,
 * a static function or variable. type is that of the symbol, pointer the name of the pointer to it.
 */
#define CRPIE_IMPORT_AS(pointer, type, symbol, library, needed)                                                        \
	CRPIE_STATIC_ASSERT(sizeof(symbol) > 1 && sizeof(symbol) <= CRPIE_IMPORT_SYMBOL_MAX,                           \
			    "the symbol's name is empty or longer than 191 bytes");                                    \
	CRPIE_STATIC_ASSERT(sizeof(library) <= CRPIE_IMPORT_LIBRARY_MAX, "the library's name is longer than 63 bytes"); \
	typedef __typeof__(type) *CRPIE_PASTE(pointer, _crpie_type);                                                   \
	static CRPIE_PASTE(pointer, _crpie_type) volatile pointer                                                      \
		__attribute__((section(".data.crpie_slots"), used, aligned(8))) = NULL;                                \
	static struct crpie_import_record CRPIE_PASTE(pointer, _crpie_record) CRPIE_RECORD(CRPIE_IMPORTS_SECTION) = { \
		(uint32_t)sizeof(struct crpie_import_record), 4, needed, 0, (void *)&pointer, symbol, library \
	};
/* clang-format on */

/*
 * True if this restorer's context has the member, for members that were appended after version 1:
 *	if (CRPIE_CTX_HAS(ctx, new_member)) use(ctx->new_member);
 */
#define CRPIE_CTX_HAS(ctx, member)                                                                                     \
	((ctx)->size >= offsetof(struct crpie_ctx, member) + sizeof(((struct crpie_ctx *)0)->member))

#endif
