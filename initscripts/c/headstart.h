/*
 * headstart in C: a thin layer over the imports (generated/headstart_imports.h) for initscripts without a libc.
 * Everything is `static`: what a script does not use is not in its module.
 *
 *	#include "headstart.h"
 *
 *	HEADSTART_MAIN
 *	{
 *		struct hs_conn models;
 *		hs_connect(&models, "s3://models");
 *		hs_s3_get(&models, "weights.onnx", 0);
 *		return 0;
 *	}
 *
 * Functions that return int32_t give a value >= 0, or an error's number negated (enum headstart_error).
 */
#ifndef HEADSTART_H
#define HEADSTART_H

#include <stddef.h>
#include <stdint.h>

#include "generated/headstart_imports.h"

#define HS_FN static inline __attribute__((unused))

/* The function where an initscript begins; its value is the exit status. */
#define HEADSTART_MAIN                                                       \
	__attribute__((export_name("headstart_main"))) int32_t headstart_main(void)

#define HS_ADDRESS_BYTES 256
#define HS_REQUEST_BYTES 4096

/* A connection and the address that it was made for; `handle` is an error's number, negated, when that failed. */
struct hs_conn {
	int32_t handle;
	char address[HS_ADDRESS_BYTES];
};

HS_FN uint32_t hs_length(const char *text)
{
	uint32_t length = 0;
	while (text[length])
		length++;
	return length;
}

/* Text that is put together in a buffer. What does not fit makes it `full` and is left out. */
struct hs_text {
	char *bytes;
	uint32_t capacity; /* with the closing 0 */
	uint32_t length;
	int full;
};

HS_FN struct hs_text hs_text(char *bytes, uint32_t capacity)
{
	struct hs_text text = { bytes, capacity, 0, capacity == 0 };
	if (capacity)
		bytes[0] = 0;
	return text;
}

HS_FN void hs_put(struct hs_text *text, char byte)
{
	if (text->length + 1 >= text->capacity) {
		text->full = 1;
		return;
	}
	text->bytes[text->length++] = byte;
	text->bytes[text->length] = 0;
}

HS_FN void hs_add(struct hs_text *text, const char *more)
{
	while (*more)
		hs_put(text, *more++);
}

/* Adds a number's decimal digits. */
HS_FN void hs_add_number(struct hs_text *text, uint32_t number)
{
	if (number > 9)
		hs_add_number(text, number / 10);
	hs_put(text, (char)('0' + number % 10));
}

/* FNV-1a 64: ids of texts. */
#define HS_FNV_OFFSET 0xcbf29ce484222325ULL

HS_FN uint64_t hs_fnv1a64_more(uint64_t hash, const char *bytes, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001b3ULL;
	return hash;
}

HS_FN uint64_t hs_fnv1a64(const char *text)
{
	return hs_fnv1a64_more(HS_FNV_OFFSET, text, hs_length(text));
}

/* Connects to an address such as "s3://bucket". Never waits. */
HS_FN int32_t hs_connect(struct hs_conn *conn, const char *address)
{
	struct hs_text copy = hs_text(conn->address, HS_ADDRESS_BYTES);
	hs_add(&copy, address);
	conn->handle = copy.full ? -HEADSTART_INVALID_ARGUMENT : headstart_connect(conn->address, copy.length);
	return conn->handle;
}

/*
 * Connects to the address that a URL begins with, "scheme://host/path". Never waits. `path` is set to where its path begins: at
 * the slash, or at the end of what is no such URL.
 */
HS_FN int32_t hs_connect_url(struct hs_conn *conn, const char *url, const char **path)
{
	uint32_t slashes = 0, end = 0;
	while (url[end] && (url[end] != '/' || ++slashes < 3))
		end++;
	*path = url + end;
	if (!url[end] || end >= HS_ADDRESS_BYTES)
		return conn->handle = -HEADSTART_INVALID_ARGUMENT;
	struct hs_text address = hs_text(conn->address, end + 1); /* has no room for the path */
	hs_add(&address, url);
	return conn->handle = headstart_connect(conn->address, address.length);
}

/* Sends an RPC in the protocol's own form: "VERB path\nname: value\n\nbody". */
HS_FN int32_t hs_send(const struct hs_conn *conn, uint64_t rpc, const void *request, uint32_t length)
{
	return conn->handle < 0 ? conn->handle : headstart_send_rpc((uint32_t)conn->handle, rpc, request, length);
}

/* The same; the reply is received in a file of the application's, "file:/path", from offset. room 0: up to its end. */
HS_FN int32_t hs_send_to(const struct hs_conn *conn, uint64_t rpc, const void *request, uint32_t length,
			 const char *place, uint32_t offset, uint32_t room)
{
	if (conn->handle < 0)
		return conn->handle;
	return headstart_send_rpc_to((uint32_t)conn->handle, rpc, request, length, place, hs_length(place), offset,
				     room);
}

HS_FN void hs_put_escaped(struct hs_text *text, uint8_t byte)
{
	int letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
	if (letter || byte == '-' || byte == '.' || byte == '_' || byte == '~' || byte == '/') {
		hs_put(text, (char)byte);
		return;
	}
	hs_put(text, '%');
	hs_put(text, "0123456789ABCDEF"[byte >> 4]);
	hs_put(text, "0123456789ABCDEF"[byte & 15]);
}

/* The GET for an object in a buffer of HS_REQUEST_BYTES: its length, or an error; and the hash of "GET s3://bucket/key". */
HS_FN int32_t hs_get_request(const struct hs_conn *conn, const char *key, char *request, uint64_t *id)
{
	struct hs_text text = hs_text(request, HS_REQUEST_BYTES);
	hs_add(&text, "GET /");
	while (*key == '/')
		key++;
	while (*key)
		hs_put_escaped(&text, (uint8_t)*key++);
	uint32_t end = text.length;
	hs_add(&text, "\n\n");
	if (text.full)
		return -HEADSTART_INVALID_ARGUMENT;
	uint64_t hash = hs_fnv1a64_more(HS_FNV_OFFSET, request, 4);
	hash = hs_fnv1a64_more(hash, conn->address, hs_length(conn->address));
	*id = hs_fnv1a64_more(hash, request + 4, end - 4);
	return (int32_t)text.length;
}

/*
 * Sends a GET for an object. `id`, if there is one, is set to the RPC's id: the hash of "GET s3://bucket/key", which is what
 * the application's storage library claims.
 */
HS_FN int32_t hs_get(const struct hs_conn *conn, const char *key, uint64_t *id)
{
	char request[HS_REQUEST_BYTES];
	uint64_t hash = 0;
	int32_t length = hs_get_request(conn, key, request, &hash);
	if (id)
		*id = hash;
	return length < 0 ? length : hs_send(conn, hash, request, (uint32_t)length);
}

/* Fetches an object ahead: the reply is passed on, while it is still in flight, under the id of its RPC. */
HS_FN int32_t hs_s3_get(const struct hs_conn *conn, const char *key, uint64_t *id)
{
	uint64_t hash = 0;
	int32_t sent = hs_get(conn, key, &hash);
	if (id)
		*id = hash;
	return sent < 0 ? sent : headstart_send_reply(hash, hash);
}

/* The same; the object is received in a file of the application's, as hs_send_to says. */
HS_FN int32_t hs_s3_get_to(const struct hs_conn *conn, const char *key, const char *place, uint32_t offset,
			   uint32_t room, uint64_t *id)
{
	char request[HS_REQUEST_BYTES];
	uint64_t hash = 0;
	int32_t length = hs_get_request(conn, key, request, &hash);
	if (id)
		*id = hash;
	if (length < 0)
		return length;
	int32_t sent = hs_send_to(conn, hash, request, (uint32_t)length, place, offset, room);
	return sent < 0 ? sent : headstart_send_reply(hash, hash);
}

/*
 * Fetches an object of so many bytes in ranges, all at one time, since one connection alone may be slow; each is passed on under
 * the id of "GET s3://bucket/key#bytes=first-last". With a place ("file:/path", else 0) they come together in that file. Before
 * them the application is told how many bytes there are and how many a range has, under the id of "ranges of s3://bucket/key".
 */
HS_FN int32_t hs_s3_get_ranges(const struct hs_conn *conn, const char *key, uint32_t bytes, uint32_t ranges,
			       const char *place)
{
	char request[HS_REQUEST_BYTES];
	uint64_t id = 0;
	int32_t length = hs_get_request(conn, key, request, &id);
	if (length < 0)
		return length;
	uint32_t end = (uint32_t)length - 2; /* of the path */
	uint32_t size = (bytes / (ranges ? ranges : 1) / 4096 + 1) * 4096;
	uint64_t plan = hs_fnv1a64_more(hs_fnv1a64("ranges of "), conn->address, hs_length(conn->address));
	plan = hs_fnv1a64_more(plan, request + 4, end - 4);
	char told[32];
	struct hs_text text = hs_text(told, sizeof told);
	hs_add_number(&text, bytes);
	hs_put(&text, ' ');
	hs_add_number(&text, size);
	int32_t sent = headstart_send_msg(plan, told, text.length);
	for (uint32_t first = 0; sent >= 0 && first < bytes; first += size) {
		uint32_t last = bytes - first > size ? first + size - 1 : bytes - 1;
		text = (struct hs_text){ request, HS_REQUEST_BYTES, end, 0 };
		hs_add(&text, "\nrange: ");
		uint32_t range = text.length;
		hs_add(&text, "bytes=");
		hs_add_number(&text, first);
		hs_put(&text, '-');
		hs_add_number(&text, last);
		uint64_t rpc = hs_fnv1a64_more(hs_fnv1a64_more(id, "#", 1), request + range, text.length - range);
		hs_add(&text, "\n\n");
		if (text.full)
			return -HEADSTART_INVALID_ARGUMENT;
		sent = place ? hs_send_to(conn, rpc, request, text.length, place, first, last - first + 1)
			     : hs_send(conn, rpc, request, text.length);
		if (sent >= 0)
			sent = headstart_send_reply(rpc, rpc);
	}
	return sent;
}

/*
 * Waits for a message of the application's and puts it into the buffer. Its length, or -HEADSTART_PAYLOAD_TOO_LARGE when the
 * buffer is too small: headstart_read_msg still has its bytes.
 */
HS_FN int32_t hs_recv_msg(uint64_t id, void *buffer, uint32_t capacity)
{
	int32_t length = headstart_recv_msg(id);
	if (length < 0)
		return length;
	if ((uint32_t)length > capacity)
		return -HEADSTART_PAYLOAD_TOO_LARGE;
	return headstart_read_msg(id, 0, buffer, capacity);
}

/* Hands a connection over: the application gets it by this id and address, and it may not be used here any more. */
HS_FN int32_t hs_transfer_conn(uint64_t id, const char *address, const struct hs_conn *conn)
{
	if (conn->handle < 0)
		return conn->handle;
	return headstart_transfer_conn(id, address, hs_length(address), (uint32_t)conn->handle);
}

/* Waits for a connection that the application hands over. */
HS_FN int32_t hs_get_conn(struct hs_conn *conn, uint64_t id, const char *address)
{
	struct hs_text copy = hs_text(conn->address, HS_ADDRESS_BYTES);
	hs_add(&copy, address);
	conn->handle = copy.full ? -HEADSTART_INVALID_ARGUMENT
				 : headstart_get_conn(id, conn->address, copy.length);
	return conn->handle;
}

/* The invocation's input, closed by a 0. Its length, or -HEADSTART_PAYLOAD_TOO_LARGE when the buffer is too small. */
HS_FN int32_t hs_input(char *buffer, uint32_t capacity)
{
	int32_t length = headstart_input(buffer, capacity);
	if (length < 0)
		return length;
	if ((uint32_t)length >= capacity)
		return -HEADSTART_PAYLOAD_TOO_LARGE;
	buffer[length] = 0;
	return length;
}

HS_FN void hs_log(const char *text)
{
	headstart_log(text, hs_length(text));
}

#endif
