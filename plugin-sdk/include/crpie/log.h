/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging with CRIU's names, and the small printf below it.
 *
 *	pr_info(ctx, "%s: %zu mappings\n", ctx->comm, (size_t)ctx->nr_vmas);
 *
 * Unlike CRIU's, the macros take the context: a plugin has no global state that a thread's hook could race for. Lines
 * appear in crpie's log at every stage, also when descriptors are already the application's. A newline at the end of
 * the format is dropped; a line longer than CRPIE_LOG_LINE_MAX is cut.
 */
#ifndef CRPIE_LOG_H
#define CRPIE_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <crpie/abi.h>
#include <crpie/string.h>

struct crpie_out {
	char *buf;
	size_t size;
	size_t len; /* what an unlimited buffer would hold */
};

static inline void crpie_putc(struct crpie_out *out, char c)
{
	if (out->len + 1 < out->size)
		out->buf[out->len] = c;
	out->len++;
}

static inline void crpie_pad(struct crpie_out *out, char c, int n)
{
	while (n-- > 0)
		crpie_putc(out, c);
}

/* One conversion of a format string: %[-0+][width][.precision][hh h l ll z j t]letter */
struct crpie_spec {
	int left, zero, plus, width, precision, length;
	char letter;
};

static inline void crpie_put_text(struct crpie_out *out, const struct crpie_spec *spec, const char *s, size_t n)
{
	int pad = (size_t)spec->width > n ? spec->width - (int)n : 0;

	if (!spec->left)
		crpie_pad(out, ' ', pad);
	while (n-- != 0)
		crpie_putc(out, *s++);
	if (spec->left)
		crpie_pad(out, ' ', pad);
}

static inline void crpie_put_number(struct crpie_out *out, const struct crpie_spec *spec, uint64_t v,
				    const char *prefix)
{
	const char *digits = spec->letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	unsigned int base = spec->letter == 'x' || spec->letter == 'X' || spec->letter == 'p' ? 16 :
			    spec->letter == 'o'                                               ? 8 :
												10;
	char text[24]; /* 64 bits in octal are 22 digits */
	int n = 0, zeros = 0, pad;

	for (; v != 0; v /= base)
		text[n++] = digits[v % base];
	if (n == 0 && spec->precision != 0)
		text[n++] = '0';
	if (spec->precision > n)
		zeros = spec->precision - n;
	pad = spec->width - n - zeros - (int)crpie_strlen(prefix);
	if (spec->zero && !spec->left && spec->precision < 0 && pad > 0) {
		zeros = pad;
		pad = 0;
	}
	if (!spec->left)
		crpie_pad(out, ' ', pad);
	while (*prefix != '\0')
		crpie_putc(out, *prefix++);
	crpie_pad(out, '0', zeros);
	while (n > 0)
		crpie_putc(out, text[--n]);
	if (spec->left)
		crpie_pad(out, ' ', pad);
}

/* Reads decimal digits, or takes the next int argument for "*". */
#define CRPIE_FORMAT_INT(fmt, args, value)                                                                             \
	do {                                                                                                           \
		if (*(fmt) == '*') {                                                                                   \
			(value) = va_arg(args, int);                                                                   \
			(fmt)++;                                                                                       \
		} else {                                                                                               \
			(value) = 0;                                                                                   \
			while (*(fmt) >= '0' && *(fmt) <= '9' && (value) < 100000)                                     \
				(value) = (value) * 10 + (*(fmt)++ - '0');                                             \
		}                                                                                                      \
	} while (0)

static inline const char *crpie_format_length(const char *fmt, int *length)
{
	*length = 0;
	for (;; fmt++) {
		if (*fmt == 'l' || *fmt == 'z' || *fmt == 'j' || *fmt == 't')
			*length = 1; /* all 64 bits wide on the machines there are plugins for */
		else if (*fmt == 'h')
			*length -= 1; /* -1: short, -2: char */
		else
			return fmt;
	}
}

static inline int64_t crpie_narrow_signed(int64_t v, int length)
{
	return length == -1 ? (int16_t)v : length == -2 ? (int8_t)v : v;
}

static inline uint64_t crpie_narrow_unsigned(uint64_t v, int length)
{
	return length == -1 ? (uint16_t)v : length == -2 ? (uint8_t)v : v;
}

/*
 * vsnprintf(3) without floating point, %n, '#' and ' ': %d %i %u %x %X %o %p %s %c %%. Returns the length that an
 * unlimited buffer would have held; the result is always terminated if size is not 0. A conversion it does not know is
 * copied as it stands.
 */
static inline size_t crpie_vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
	struct crpie_out out = { buf, size, 0 };

	for (; *fmt != '\0'; fmt++) {
		struct crpie_spec spec = { 0, 0, 0, 0, -1, 0, 0 };
		const char *start = fmt;
		char c;

		if (*fmt != '%') {
			crpie_putc(&out, *fmt);
			continue;
		}
		for (fmt++; *fmt == '-' || *fmt == '0' || *fmt == '+'; fmt++) {
			spec.left |= *fmt == '-';
			spec.zero |= *fmt == '0';
			spec.plus |= *fmt == '+';
		}
		CRPIE_FORMAT_INT(fmt, args, spec.width);
		if (spec.width < 0) {
			spec.left = 1;
			spec.width = spec.width < -100000 ? 0 : -spec.width;
		}
		if (*fmt == '.') {
			fmt++;
			CRPIE_FORMAT_INT(fmt, args, spec.precision);
			if (spec.precision < 0)
				spec.precision = -1;
		}
		fmt = crpie_format_length(fmt, &spec.length);
		spec.letter = *fmt;
		switch (spec.letter) {
		case 'd':
		case 'i': {
			int64_t v = spec.length > 0 ? va_arg(args, long) :
						      crpie_narrow_signed(va_arg(args, int), spec.length);
			crpie_put_number(&out, &spec, v < 0 ? 0 - (uint64_t)v : (uint64_t)v,
					 v < 0     ? "-" :
					 spec.plus ? "+" :
						     "");
			break;
		}
		case 'u':
		case 'x':
		case 'X':
		case 'o': {
			uint64_t v = spec.length > 0 ? va_arg(args, unsigned long) :
						       crpie_narrow_unsigned(va_arg(args, unsigned int), spec.length);
			crpie_put_number(&out, &spec, v, "");
			break;
		}
		case 'p':
			crpie_put_number(&out, &spec, (uint64_t)(uintptr_t)va_arg(args, void *), "0x");
			break;
		case 's': {
			const char *s = va_arg(args, const char *);
			if (s == NULL)
				s = "(null)";
			crpie_put_text(&out, &spec, s,
				       crpie_strnlen(s, spec.precision < 0 ? SIZE_MAX : (size_t)spec.precision));
			break;
		}
		case 'c':
			c = (char)va_arg(args, int);
			crpie_put_text(&out, &spec, &c, 1);
			break;
		case '%':
			crpie_putc(&out, '%');
			break;
		default:
			while (start <= fmt && *start != '\0')
				crpie_putc(&out, *start++);
			if (*fmt == '\0')
				fmt--;
		}
	}
	if (size != 0)
		buf[out.len < size ? out.len : size - 1] = '\0';
	return out.len;
}

__attribute__((format(printf, 3, 4))) static inline size_t crpie_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = crpie_vsnprintf(buf, size, fmt, args);
	va_end(args);
	return n;
}

/* The name of an errno, positive or negative, as errno(3) spells it, for the ones that hooks meet; "" for others. */
static inline const char *crpie_errno_name(long err)
{
	switch (err < 0 ? -err : err) {
		/* clang-format off */
	case 1: return "EPERM";
	case 2: return "ENOENT";
	case 3: return "ESRCH";
	case 4: return "EINTR";
	case 5: return "EIO";
	case 7: return "E2BIG";
	case 9: return "EBADF";
	case 10: return "ECHILD";
	case 11: return "EAGAIN";
	case 12: return "ENOMEM";
	case 13: return "EACCES";
	case 14: return "EFAULT";
	case 16: return "EBUSY";
	case 17: return "EEXIST";
	case 19: return "ENODEV";
	case 20: return "ENOTDIR";
	case 21: return "EISDIR";
	case 22: return "EINVAL";
	case 24: return "EMFILE";
	case 25: return "ENOTTY";
	case 28: return "ENOSPC";
	case 29: return "ESPIPE";
	case 30: return "EROFS";
	case 32: return "EPIPE";
	case 34: return "ERANGE";
	case 36: return "ENAMETOOLONG";
	case 38: return "ENOSYS";
	case 95: return "ENOTSUP";
	case 98: return "EADDRINUSE";
	case 99: return "EADDRNOTAVAIL";
	case 104: return "ECONNRESET";
	case 110: return "ETIMEDOUT";
	case 111: return "ECONNREFUSED";
	default: return "";
		/* clang-format on */
	}
}

static inline void crpie_log_line(const struct crpie_ctx *ctx, uint32_t level, char *line, size_t len)
{
	if (len > CRPIE_LOG_LINE_MAX - 1)
		len = CRPIE_LOG_LINE_MAX - 1;
	while (len != 0 && line[len - 1] == '\n')
		len--;
	ctx->log(ctx, level, line, len);
}

__attribute__((format(printf, 3, 4), noinline, unused)) static void crpie_log(const struct crpie_ctx *ctx,
									      uint32_t level, const char *fmt, ...)
{
	char line[CRPIE_LOG_LINE_MAX];
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = crpie_vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	crpie_log_line(ctx, level, line, n);
}

/* As crpie_log, followed by what a system call returned: "…: ENOENT (-2)". */
__attribute__((format(printf, 3, 4), noinline, unused)) static void crpie_log_errno(const struct crpie_ctx *ctx,
										    long err, const char *fmt, ...)
{
	char line[CRPIE_LOG_LINE_MAX];
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = crpie_vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n > sizeof(line) - 1)
		n = sizeof(line) - 1;
	while (n != 0 && line[n - 1] == '\n')
		n--;
	n += crpie_snprintf(line + n, sizeof(line) - n, ": %s (%ld)", crpie_errno_name(err), err);
	crpie_log_line(ctx, CRPIE_LOG_ERROR, line, n);
}

/*
 * A floating-point argument does not compile; arguments are not evaluated for that. C looks at the first twelve behind
 * the format: 8 is real_type_class of gcc's typeclass.h, which clang has too.
 */
#define CRPIE_NO_FLOAT_TEXT_ "there is no %f here: log a whole number, such as thousandths"
#ifdef __cplusplus
extern "C++" {
template <typename T> struct crpie_is_float {
	enum { value = 0 };
};
template <> struct crpie_is_float<float> {
	enum { value = 1 };
};
template <> struct crpie_is_float<double> {
	enum { value = 1 };
};
template <> struct crpie_is_float<long double> {
	enum { value = 1 };
};
template <typename... T> struct crpie_floats {
	enum { value = 0 };
};
template <typename T, typename... Rest> struct crpie_floats<T, Rest...> {
	enum { value = crpie_is_float<T>::value || crpie_floats<Rest...>::value };
};
template <typename... T> crpie_floats<T...> crpie_types_of(T...);
}
#define CRPIE_NO_FLOATS_(...)                                                                                          \
	__extension__({ static_assert(!decltype(crpie_types_of(__VA_ARGS__))::value, CRPIE_NO_FLOAT_TEXT_); })
#else
#define CRPIE_FLOAT_(x) (__builtin_classify_type(x) == 8)
#define CRPIE_FLOATS_(fmt, a, b, c, d, e, f, g, h, i, j, k, l, ...)                                                    \
	(CRPIE_FLOAT_(a) || CRPIE_FLOAT_(b) || CRPIE_FLOAT_(c) || CRPIE_FLOAT_(d) || CRPIE_FLOAT_(e) ||                \
	 CRPIE_FLOAT_(f) || CRPIE_FLOAT_(g) || CRPIE_FLOAT_(h) || CRPIE_FLOAT_(i) || CRPIE_FLOAT_(j) ||                \
	 CRPIE_FLOAT_(k) || CRPIE_FLOAT_(l))
#define CRPIE_NO_FLOATS_(...)                                                                                          \
	__extension__({                                                                                                \
		_Static_assert(!CRPIE_FLOATS_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),                     \
			       CRPIE_NO_FLOAT_TEXT_);                                                                  \
	})
#endif

/* The format is part of __VA_ARGS__, so that no GNU comma swallowing is needed. */
#define CRPIE_LOG_(ctx, level, ...) (CRPIE_NO_FLOATS_(__VA_ARGS__), crpie_log(ctx, level, __VA_ARGS__))
#define crpie_snprintf(buf, size, ...) (CRPIE_NO_FLOATS_(__VA_ARGS__), (crpie_snprintf)(buf, size, __VA_ARGS__))
#define pr_err(ctx, ...) CRPIE_LOG_(ctx, CRPIE_LOG_ERROR, __VA_ARGS__)
#define pr_warn(ctx, ...) CRPIE_LOG_(ctx, CRPIE_LOG_WARN, __VA_ARGS__)
#define pr_info(ctx, ...) CRPIE_LOG_(ctx, CRPIE_LOG_INFO, __VA_ARGS__)
#define pr_debug(ctx, ...) CRPIE_LOG_(ctx, CRPIE_LOG_DEBUG, __VA_ARGS__)
#define pr_msg(ctx, ...) CRPIE_LOG_(ctx, CRPIE_LOG_INFO, __VA_ARGS__)
/* There is no errno, so the result of the failed call is handed over: pr_perror(ctx, ret, "open %s", path) */
#define pr_perror(ctx, err, ...) (CRPIE_NO_FLOATS_(__VA_ARGS__), crpie_log_errno(ctx, err, __VA_ARGS__))

#endif
