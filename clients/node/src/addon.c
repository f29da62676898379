/*
 * The C client for Node.js: `open` makes a client, `call` runs one of its calls on libuv's thread pool and answers with a
 * promise, `free` gives a reply back. Bytes of a segment are an ArrayBuffer over its mapping. index.ts has the API over this.
 */
#define _GNU_SOURCE
#include <node_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "headstart_client.h"

#define MOST_ARGUMENTS 9

/* Bytes in shared memory that JavaScript refers to. */
struct held {
	struct hsc_reply reply;
	int freed;  /* the reply is given back */
	int owners; /* JavaScript's ArrayBuffer and its handle, which are collected in any order */
};

/* A call under way. */
struct work {
	napi_async_work work;
	napi_deferred deferred;
	napi_ref keep[3]; /* client, data, reply: not collected before the call is over */
	struct hsc *client;
	uint32_t op, flags, timeout;
	int64_t fd;
	uint64_t id, number, length;
	char *text;
	void *data;
	size_t data_length;
	struct held *held; /* await: of this reply */
	struct hsc_reply reply;
	struct hsc_conn conn;
	struct hsc_conn_status status;
	int code;
	char *message;
};

static void run(napi_env env, void *context)
{
	(void)env;
	struct work *it = context;
	struct hsc *client = it->client;
	const char *text = it->text ? it->text : "";
	switch (it->op) {
	case HSC_OP_HELLO:
		it->code = hsc_connect(client);
		break;
	case HSC_OP_RECV_MSG:
		it->code = hsc_recv_msg(client, it->id, text, it->flags, it->timeout, &it->reply);
		break;
	case HSC_OP_CALL:
		it->code = hsc_call(client, text, it->data, it->data_length, it->flags, it->timeout, &it->reply);
		break;
	case HSC_OP_AWAIT:
		it->reply = it->held->reply;
		it->code = hsc_await(client, &it->reply, it->length, it->timeout);
		break;
	case HSC_OP_NEXT:
		it->code = hsc_next(client, it->timeout, &it->reply);
		break;
	case HSC_OP_RESPOND:
		if (it->flags & HSC_FLAG_BEGIN)
			it->code = hsc_begin(client, it->id, text);
		else if (it->flags & HSC_FLAG_ERROR)
			it->code = hsc_fail(client, it->id, text);
		else if (it->flags & HSC_FLAG_END)
			it->code = hsc_end(client, it->id);
		else
			it->code = hsc_write(client, it->id, it->data, it->data_length);
		break;
	case HSC_OP_MARK:
		it->code = hsc_mark(client, text);
		break;
	case HSC_OP_SEND_MSG:
		it->code = hsc_send_msg(client, it->id, it->data, it->data_length);
		break;
	case HSC_OP_GET_CONN:
		it->code = hsc_get_conn(client, it->id, text, it->timeout, &it->conn);
		break;
	case HSC_OP_TRANSFER_CONN:
		it->code = hsc_transfer_conn(client, it->id, text, (int)it->fd, it->number);
		break;
	case HSC_OP_CONN_STATUS:
		it->code = hsc_conn_status(client, it->number, &it->status);
		break;
	default:
		it->code = HSC_INVALID_ARGUMENT;
	}
	it->message = strdup(it->code == HSC_OK ? "" : hsc_message());
}

static void set(napi_env env, napi_value object, const char *name, napi_value value)
{
	napi_set_named_property(env, object, name, value);
}

static void set_number(napi_env env, napi_value object, const char *name, double number)
{
	napi_value value;
	napi_create_double(env, number, &value);
	set(env, object, name, value);
}

static void set_big(napi_env env, napi_value object, const char *name, uint64_t number)
{
	napi_value value;
	napi_create_bigint_uint64(env, number, &value);
	set(env, object, name, value);
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_value value;
	napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
	set(env, object, name, value);
}

static void disown(struct held *held)
{
	if (--held->owners > 0)
		return;
	if (!held->freed)
		hsc_free(NULL, &held->reply);
	free(held);
}

static void collect_bytes(napi_env env, void *data, void *hint)
{
	(void)env, (void)data;
	disown(hint);
}

static void collect_handle(napi_env env, void *data, void *hint)
{
	(void)env, (void)hint;
	disown(data);
}

/* Gives a reply's bytes to JavaScript. */
static void set_reply(napi_env env, napi_value result, struct hsc_reply *reply)
{
	napi_value buffer, handle;
	uint64_t size = reply->total != HSC_UNKNOWN && reply->total > reply->length ? reply->total : reply->length;
	struct held *held = calloc(1, sizeof *held);
	void *copy = NULL;
	set_number(env, result, "length", (double)reply->length);
	set_number(env, result, "total", reply->total == HSC_UNKNOWN ? -1 : (double)reply->total);
	set_number(env, result, "status", reply->status);
	set_number(env, result, "offset", (double)reply->offset);
	set_text(env, result, "file", reply->file ? reply->file : "");
	set_big(env, result, "id", reply->id);
	if (!held) {
		hsc_free(NULL, reply);
		return;
	}
	held->reply = *reply;
	held->owners = 1;
	napi_create_external(env, held, collect_handle, NULL, &handle);
	if (size <= HSC_INLINE) {
		napi_create_arraybuffer(env, size, &copy, &buffer);
		if (size > 0)
			memcpy(copy, reply->data, size);
		hsc_free(NULL, &held->reply);
		held->freed = 1;
	} else {
		held->owners = 2;
		if (napi_create_external_arraybuffer(env, (void *)reply->data, size, collect_bytes, held, &buffer) != napi_ok) {
			held->owners = 1;
			return;
		}
	}
	set(env, result, "handle", handle);
	set(env, result, "buffer", buffer);
}

static void finish(napi_env env, napi_status status, void *context)
{
	(void)status;
	struct work *it = context;
	napi_value result;
	napi_create_object(env, &result);
	if (it->code != HSC_OK) {
		set_text(env, result, "code", hsc_name(it->code));
		set_number(env, result, "errno", hsc_errno(it->code));
		set_text(env, result, "hint", hsc_hint(it->code));
		set_text(env, result, "message", it->message ? it->message : "");
	} else if (it->op == HSC_OP_RECV_MSG || it->op == HSC_OP_CALL || it->op == HSC_OP_NEXT) {
		set_reply(env, result, &it->reply);
	} else if (it->op == HSC_OP_AWAIT) {
		it->held->reply.length = it->reply.length;
		it->held->reply.total = it->reply.total;
		it->held->reply.done = it->reply.done;
		set_number(env, result, "length", (double)it->reply.length);
		set_number(env, result, "total", it->reply.total == HSC_UNKNOWN ? -1 : (double)it->reply.total);
	} else if (it->op == HSC_OP_HELLO) {
		set_text(env, result, "instance", hsc_instance(it->client));
	} else if (it->op == HSC_OP_GET_CONN) {
		set_number(env, result, "fd", it->conn.fd);
		set_big(env, result, "number", it->conn.number);
		set_number(env, result, "kind", it->conn.kind);
		set_text(env, result, "peer", it->conn.peer);
	} else if (it->op == HSC_OP_CONN_STATUS) {
		set_number(env, result, "state", it->status.state);
		set_text(env, result, "error", hsc_name(it->status.error));
		set_number(env, result, "received", (double)it->status.received);
		set_number(env, result, "sent", (double)it->status.sent);
	}
	if (it->code == HSC_OK)
		napi_resolve_deferred(env, it->deferred, result);
	else
		napi_reject_deferred(env, it->deferred, result);
	for (size_t at = 0; at < sizeof it->keep / sizeof *it->keep; at++)
		if (it->keep[at])
			napi_delete_reference(env, it->keep[at]);
	napi_delete_async_work(env, it->work);
	free(it->text);
	free(it->message);
	free(it);
}

static napi_valuetype type_of(napi_env env, napi_value value)
{
	napi_valuetype type = napi_undefined;
	napi_typeof(env, value, &type);
	return type;
}

/* A text, to be freed; NULL for anything else. */
static char *text_of(napi_env env, napi_value value)
{
	size_t length = 0;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return NULL;
	char *text = malloc(length + 1);
	if (text)
		napi_get_value_string_utf8(env, value, text, length + 1, &length);
	return text;
}

static napi_value refuse(napi_env env, const char *why)
{
	napi_throw_type_error(env, NULL, why);
	return NULL;
}

static struct hsc *client_of(napi_env env, napi_value value)
{
	void *client = NULL;
	if (type_of(env, value) == napi_external)
		napi_get_value_external(env, value, &client);
	return client;
}

/* call(client, op, {id, flags, timeout, number, length, fd, text, data, reply}) → a promise; errors are plain objects. */
static napi_value call(napi_env env, napi_callback_info info)
{
	static const char *const names[MOST_ARGUMENTS] = {"id", "flags", "timeout", "number", "length",
							  "fd", "text",	 "data",    "reply"};
	size_t count = 3;
	napi_value argument[3], field[MOST_ARGUMENTS], promise, name;
	bool lossless;
	napi_get_cb_info(env, info, &count, argument, NULL, NULL);
	struct hsc *client = count == 3 ? client_of(env, argument[0]) : NULL;
	if (!client || type_of(env, argument[2]) != napi_object)
		return refuse(env, "call(client, op, fields)");
	struct work *it = calloc(1, sizeof *it);
	if (!it)
		return refuse(env, "no memory");
	it->client = client;
	it->fd = -1;
	it->conn.fd = -1;
	napi_get_value_uint32(env, argument[1], &it->op);
	for (size_t at = 0; at < MOST_ARGUMENTS; at++)
		napi_get_named_property(env, argument[2], names[at], &field[at]);
	napi_get_value_bigint_uint64(env, field[0], &it->id, &lossless);
	napi_get_value_uint32(env, field[1], &it->flags);
	napi_get_value_uint32(env, field[2], &it->timeout);
	napi_get_value_bigint_uint64(env, field[3], &it->number, &lossless);
	napi_get_value_bigint_uint64(env, field[4], &it->length, &lossless);
	napi_get_value_int64(env, field[5], &it->fd);
	it->text = text_of(env, field[6]);
	napi_create_reference(env, argument[0], 1, &it->keep[0]);
	if (type_of(env, field[7]) == napi_object) {
		napi_typedarray_type kind;
		size_t offset;
		napi_value buffer;
		if (napi_get_typedarray_info(env, field[7], &kind, &it->data_length, &it->data, &buffer, &offset) == napi_ok)
			napi_create_reference(env, field[7], 1, &it->keep[1]);
	}
	if (type_of(env, field[8]) == napi_external) {
		napi_get_value_external(env, field[8], (void **)&it->held);
		napi_create_reference(env, field[8], 1, &it->keep[2]);
	}
	if (it->op == HSC_OP_AWAIT && (!it->held || it->held->freed))
		it->op = HSC_OP_NONE;
	napi_create_promise(env, &it->deferred, &promise);
	napi_create_string_utf8(env, "headstart", NAPI_AUTO_LENGTH, &name);
	napi_create_async_work(env, NULL, name, run, finish, it, &it->work);
	napi_queue_async_work(env, it->work);
	return promise;
}

static void delete_client(napi_env env, void *data, void *hint)
{
	(void)env, (void)hint;
	hsc_delete(data);
}

/* open(path or undefined) → a client */
static napi_value open_client(napi_env env, napi_callback_info info)
{
	size_t count = 1;
	napi_value argument, handle;
	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	char *path = count == 1 ? text_of(env, argument) : NULL;
	struct hsc *client = hsc_new(path);
	free(path);
	if (!client)
		return refuse(env, "no memory");
	napi_create_external(env, client, delete_client, NULL, &handle);
	return handle;
}

/* free(client, handle, buffer): the bytes are gone from JavaScript, and their memory is given back. */
static napi_value free_reply(napi_env env, napi_callback_info info)
{
	size_t count = 3;
	napi_value argument[3];
	struct held *held = NULL;
	napi_get_cb_info(env, info, &count, argument, NULL, NULL);
	struct hsc *client = count == 3 ? client_of(env, argument[0]) : NULL;
	if (!client || napi_get_value_external(env, argument[1], (void **)&held) != napi_ok)
		return refuse(env, "free(client, handle, buffer)");
	if (held->freed)
		return NULL;
	struct hsc_reply reply = held->reply;
	held->freed = 1;
	napi_detach_arraybuffer(env, argument[2]);
	hsc_free(client, &reply);
	return NULL;
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		uint32_t number;
	} numbers[] = {
		{"HELLO", HSC_OP_HELLO}, {"RECV_MSG", HSC_OP_RECV_MSG}, {"AWAIT", HSC_OP_AWAIT}, {"CALL", HSC_OP_CALL},
		{"NEXT", HSC_OP_NEXT}, {"RESPOND", HSC_OP_RESPOND}, {"MARK", HSC_OP_MARK}, {"SEND_MSG", HSC_OP_SEND_MSG},
		{"GET_CONN", HSC_OP_GET_CONN}, {"TRANSFER_CONN", HSC_OP_TRANSFER_CONN},
		{"CONN_STATUS", HSC_OP_CONN_STATUS}, {"PROGRESSIVE", HSC_FLAG_PROGRESSIVE}, {"BEGIN", HSC_FLAG_BEGIN},
		{"END", HSC_FLAG_END}, {"ERROR", HSC_FLAG_ERROR},
	};
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {{"open", open_client}, {"call", call}, {"free", free_reply}};
	for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
		set_number(env, exports, numbers[at].name, numbers[at].number);
	for (size_t at = 0; at < sizeof functions / sizeof *functions; at++) {
		napi_value function;
		napi_create_function(env, functions[at].name, NAPI_AUTO_LENGTH, functions[at].function, NULL, &function);
		set(env, exports, functions[at].name, function);
	}
	return exports;
}
