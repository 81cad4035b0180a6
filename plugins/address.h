/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of internet sockets, in parameters: 10.0.0.1, 10.0.0.1:80, *:80, [2001:db8::1]:80, 2001:db8::1. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <crpie/param.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

struct address {
	uint8_t ip[16]; /* of IPv4 the last four bytes, behind ::ffff:, RFC 4291 */
	int port;       /* -1: any */
	int any;        /* any ip */
};

static inline void address_v4(uint8_t ip[16], const uint8_t four[4])
{
	crpie_memset(ip, 0, 10);
	ip[10] = ip[11] = 0xff;
	crpie_memcpy(ip + 12, four, 4);
}

/* Four decimal numbers up to the end of the text, or -1. */
static inline int address_parse_v4(const char *s, uint8_t four[4])
{
	uint64_t part;
	int i;

	for (i = 0; i < 4; i++) {
		if (i > 0 && *s++ != '.')
			return -1;
		if (crpie_parse_u64(&s, &part) != 0 || part > 255)
			return -1;
		four[i] = (uint8_t)part;
	}
	return *s == '\0' ? 0 : -1;
}

/* One to four hexadecimal digits, or -1. */
static inline int address_group(const char **s, uint8_t two[2])
{
	unsigned int value = 0, n = 0;

	for (; crpie_digit(**s) < 16 && n < 4; ++*s, n++)
		value = value << 4 | crpie_digit(**s);
	two[0] = (uint8_t)(value >> 8);
	two[1] = (uint8_t)value;
	return n > 0 ? 0 : -1;
}

/* Groups separated by ':', of which "::" leaves out one or more, up to the end of the text; or -1. */
static inline int address_parse_v6(const char *s, uint8_t ip[16])
{
	uint8_t groups[16];
	int n = 0, gap = -1;

	crpie_memset(ip, 0, 16);
	while (*s != '\0') {
		if (s[0] == ':' && s[1] == ':' && gap < 0) {
			gap = n;
			s += 2;
			continue;
		}
		if (n > 0 && gap != n && *s++ != ':')
			return -1;
		if (n == 16 || address_group(&s, groups + n) != 0)
			return -1;
		n += 2;
	}
	if (gap < 0 ? n != 16 : n > 14)
		return -1;
	gap = gap < 0 ? 16 : gap;
	crpie_memcpy(ip, groups, (size_t)(gap < n ? gap : n));
	if (gap < n)
		crpie_memcpy(ip + 16 - (n - gap), groups + gap, (size_t)(n - gap));
	return 0;
}

static inline int address_ip(const char *text, struct address *out)
{
	uint8_t four[4];

	out->any = crpie_strcmp(text, "*") == 0;
	if (out->any)
		return 0;
	if (address_parse_v4(text, four) != 0)
		return address_parse_v6(text, out->ip);
	address_v4(out->ip, four);
	return 0;
}

/* Splits text into what is before the port, and the port; -1 if that is none, or there is no room for the rest. */
static inline int address_split(const char *text, char *host, size_t size, int *port)
{
	const char *colon = crpie_strrchr(text, ':'), *bracket = crpie_strchr(text, ']'), *digits;
	int in_brackets = text[0] == '[';
	uint64_t number = 0;
	size_t len;

	if (in_brackets && bracket == NULL)
		return -1;
	if (!in_brackets && colon != NULL && crpie_strchr(text, ':') != colon)
		colon = NULL; /* of IPv6 without brackets */
	if (in_brackets && colon != NULL && colon != bracket + 1)
		colon = NULL;
	len = in_brackets ? (size_t)(bracket - text - 1) : colon != NULL ? (size_t)(colon - text) : crpie_strlen(text);
	if (len >= size || (in_brackets && colon == NULL && bracket[1] != '\0'))
		return -1;
	crpie_strlcpy(host, text + in_brackets, len + 1);
	*port = -1;
	if (colon == NULL)
		return 0;
	digits = colon + 1;
	if (crpie_parse_u64(&digits, &number) != 0 || *digits != '\0' || number == 0 || number > 65535)
		return -1;
	*port = (int)number;
	return 0;
}

static inline int address_parse(const char *text, struct address *out)
{
	char host[48];

	return address_split(text, host, sizeof(host), &out->port) != 0 ? -1 : address_ip(host, out);
}

/* struct sockaddr_in of ip(7) or sockaddr_in6 of ipv6(7); a socket of another family has no address. */
static inline int address_of(const uint8_t *name, struct address *out)
{
	uint16_t family;

	crpie_memcpy(&family, name, sizeof(family));
	out->any = 0;
	out->port = name[2] << 8 | name[3];
	if (family == CRPIE_AF_INET)
		address_v4(out->ip, name + 4);
	else if (family == CRPIE_AF_INET6)
		crpie_memcpy(out->ip, name + 8, sizeof(out->ip));
	return family == CRPIE_AF_INET || family == CRPIE_AF_INET6 ? 0 : -1;
}

static inline int address_matches(const struct address *pattern, const struct address *is)
{
	return (pattern->port < 0 || pattern->port == is->port) &&
	       (pattern->any || crpie_memcmp(pattern->ip, is->ip, sizeof(is->ip)) == 0);
}

#endif
