/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and string functions for a plugin, which has no libc.
 *
 * Compilers call memcpy, memmove, memset, memcmp and bcmp on their own (struct copies, initialisers, comparisons), with
 * -ffreestanding too. This header therefore *defines* them: weak, so that several objects joined by `ld -r` agree on
 * one, and hidden. Define CRPIE_NO_LIBC_NAMES before including it to get only the crpie_ names.
 *
 * None of the loops can be turned back into a call of the function it implements: each passes its pointer through an
 * empty asm, which no compiler's loop idiom recognition looks through.
 */
#ifndef CRPIE_STRING_H
#define CRPIE_STRING_H

#include <stddef.h>
#include <stdint.h>

/* A sanitizer does not look into instructions of an asm: the loops are for it, too. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define CRPIE_SANITIZED
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define CRPIE_SANITIZED
#endif
#if defined(__x86_64__) && !defined(CRPIE_SANITIZED)
#define CRPIE_REP_MOVS
#endif

#define CRPIE_OPAQUE(p) __asm__ volatile("" : "+r"(p))

static inline void *crpie_memcpy(void *dst, const void *src, size_t n)
{
#ifdef CRPIE_REP_MOVS
	void *d = dst;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
#else
	unsigned char *d = (unsigned char *)dst;
	const unsigned char *s = (const unsigned char *)src;
	for (; n != 0; n--) {
		*d++ = *s++;
		CRPIE_OPAQUE(d);
	}
#endif
	return dst;
}

static inline void *crpie_memmove(void *dst, const void *src, size_t n)
{
	unsigned char *d = (unsigned char *)dst;
	const unsigned char *s = (const unsigned char *)src;

	if ((uintptr_t)d - (uintptr_t)s >= n)
		return crpie_memcpy(dst, src, n);
	while (n != 0) {
		n--;
		d[n] = s[n];
		CRPIE_OPAQUE(d);
	}
	return dst;
}

static inline void *crpie_memset(void *dst, int c, size_t n)
{
#ifdef CRPIE_REP_MOVS
	void *d = dst;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
#else
	unsigned char *d = (unsigned char *)dst;
	for (; n != 0; n--) {
		*d++ = (unsigned char)c;
		CRPIE_OPAQUE(d);
	}
#endif
	return dst;
}

static inline int crpie_memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = (const unsigned char *)a;
	const unsigned char *y = (const unsigned char *)b;

	for (; n != 0; n--, x++, y++) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
		CRPIE_OPAQUE(x);
	}
	return 0;
}

static inline void *crpie_memchr(const void *s, int c, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	for (; n != 0; n--, p++) {
		if (*p == (unsigned char)c)
			return (void *)(uintptr_t)p;
		CRPIE_OPAQUE(p);
	}
	return NULL;
}

static inline size_t crpie_strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n] != '\0') {
		n++;
		CRPIE_OPAQUE(s);
	}
	return n;
}

static inline size_t crpie_strlen(const char *s)
{
	return crpie_strnlen(s, SIZE_MAX);
}

static inline int crpie_strncmp(const char *a, const char *b, size_t n)
{
	for (; n != 0; n--, a++, b++) {
		if (*a != *b)
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		if (*a == '\0')
			return 0;
		CRPIE_OPAQUE(a);
	}
	return 0;
}

static inline int crpie_strcmp(const char *a, const char *b)
{
	return crpie_strncmp(a, b, SIZE_MAX);
}

static inline char *crpie_strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (*s == '\0')
			return NULL;
		CRPIE_OPAQUE(s);
	}
}

static inline char *crpie_strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (*s == '\0')
			return (char *)(uintptr_t)last;
		CRPIE_OPAQUE(s);
	}
}

/* Copies src with its NUL into dst of size bytes, cutting it if need be; returns strlen(src), as strlcpy(3) does. */
static inline size_t crpie_strlcpy(char *dst, const char *src, size_t size)
{
	size_t len = crpie_strlen(src);

	if (size != 0) {
		size_t n = len < size ? len : size - 1;
		crpie_memcpy(dst, src, n);
		dst[n] = '\0';
	}
	return len;
}

#ifndef CRPIE_NO_LIBC_NAMES

#ifdef __cplusplus
#define CRPIE_LIBC extern "C" __attribute__((weak, used, visibility("hidden")))
#define CRPIE_NOTHROW noexcept
#else
#define CRPIE_LIBC __attribute__((weak, used, visibility("hidden")))
#define CRPIE_NOTHROW
#endif

/* A declaration before each definition keeps -Wmissing-prototypes quiet. */
#define CRPIE_LIBC_FN(type, name, params, call)                                                                        \
	CRPIE_LIBC type name params CRPIE_NOTHROW;                                                                     \
	type name params CRPIE_NOTHROW                                                                                 \
	{                                                                                                              \
		return call;                                                                                           \
	}

CRPIE_LIBC_FN(void *, memcpy, (void *dst, const void *src, size_t n), crpie_memcpy(dst, src, n))
CRPIE_LIBC_FN(void *, memmove, (void *dst, const void *src, size_t n), crpie_memmove(dst, src, n))
CRPIE_LIBC_FN(void *, memset, (void *dst, int c, size_t n), crpie_memset(dst, c, n))
CRPIE_LIBC_FN(int, memcmp, (const void *a, const void *b, size_t n), crpie_memcmp(a, b, n))
CRPIE_LIBC_FN(int, bcmp, (const void *a, const void *b, size_t n), crpie_memcmp(a, b, n))
CRPIE_LIBC_FN(size_t, strlen, (const char *s), crpie_strlen(s))
CRPIE_LIBC_FN(size_t, strnlen, (const char *s, size_t max), crpie_strnlen(s, max))
CRPIE_LIBC_FN(int, strcmp, (const char *a, const char *b), crpie_strcmp(a, b))
CRPIE_LIBC_FN(int, strncmp, (const char *a, const char *b, size_t n), crpie_strncmp(a, b, n))
#ifndef __cplusplus /* C++ overloads these three; use the crpie_ names there */
CRPIE_LIBC_FN(void *, memchr, (const void *s, int c, size_t n), crpie_memchr(s, c, n))
CRPIE_LIBC_FN(char *, strchr, (const char *s, int c), crpie_strchr(s, c))
CRPIE_LIBC_FN(char *, strrchr, (const char *s, int c), crpie_strrchr(s, c))
#endif

#endif
#endif
