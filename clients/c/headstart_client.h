/*
 * headstart for applications in C (C11, libc only): what the initscript sent, connections that it opened, calls by way of
 * the bridge, and the handler loop. docs/clients.md shows its use, docs/app-protocol.md what it says to the bridge.
 *
 * Each function answers 0 (HSC_OK) or the number of an error of headstart_numbers.h, which hsc_message() explains to the same
 * thread.
 * Timeouts are in milliseconds; 0 means 30 s. Nothing waits for ever: the bridge answers in time, or the client gives it up.
 *
 * A struct hsc is one connection. Threads may share it, and take turns then: one that is to wait while others go on needs one
 * of its own. In a forked child it connects anew at its next use, and leaves the parent's connection alone.
 */
#ifndef HEADSTART_CLIENT_H
#define HEADSTART_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "headstart_numbers.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HSC_SOCKET "/run/headstart/app.sock"
/* total of a reply whose length is not known yet */
#define HSC_UNKNOWN UINT64_MAX
/* Bytes that travel in a packet instead of in memory. */
#define HSC_INLINE (HSC_MAX_PACKET_BYTES - HSC_HEADER_BYTES)

struct hsc;
struct hsc_segment;

/* A message, the answer of a call, or an event: bytes in shared memory, read-only, until hsc_free(). Those in a file are the
   application's to write; a program that cuts the file loses them. */
struct hsc_reply {
	const void *data;
	uint64_t length; /* bytes that are there; these never change again */
	uint64_t total;	 /* bytes that there will be, or HSC_UNKNOWN */
	int done;	 /* all are there */
	uint32_t status; /* of the protocol (HTTP), or 0 */
	uint64_t id;	 /* hsc_next: the invocation's number */
	uint64_t offset; /* in its segment, or in `file` */
	const char *file; /* the path of the application's file that it lies in, which is mapped; else "" */
	struct hsc_segment *segment;
};

/* A connection that was handed over: a connected stream socket, the caller's to close. */
struct hsc_conn {
	int fd;
	uint64_t number; /* names it in hsc_conn_status() and hsc_transfer_conn() */
	uint32_t kind;	 /* 1 the TCP socket itself, 2 a socketpair that the bridge splices, 3 one with the bridge doing TLS */
	char peer[64];	 /* "ip:port" */
};

struct hsc_conn_status {
	uint32_t state; /* 0 open, 1 ended by the server, 2 broken */
	int error;	/* what broke it */
	uint64_t received, sent;
};

/* Connects at its first use. NULL for `path`: HEADSTART_SOCKET, or HSC_SOCKET. NULL when there is no memory. */
struct hsc *hsc_new(const char *path);
/* Frees the client, which no thread may be using. Replies stay until they are freed. */
void hsc_delete(struct hsc *client);
/* Connects now. */
int hsc_connect(struct hsc *client);
/* The instance's id; "" before the first connection. */
const char *hsc_instance(const struct hsc *client);
/* Why this thread's last call failed; "" when it did not. */
const char *hsc_message(void);

/* An error's name, errno and how to mend it. */
const char *hsc_name(int code);
int hsc_errno(int code);
const char *hsc_hint(int code);

/* The id that a text stands for: FNV-1a, 64 bits. */
uint64_t hsc_id(const char *text);

/* Receives message `id`. `content` says what is expected ("GET s3://bucket/key"), or NULL. With HSC_FLAG_PROGRESSIVE the
   reply may be given while its bytes still come: hsc_await() waits for them. */
int hsc_recv_msg(struct hsc *client, uint64_t id, const char *content, uint32_t flags, uint32_t timeout_ms,
		 struct hsc_reply *reply);
/* Waits until `length` bytes of a progressive reply are there, or all. */
int hsc_await(struct hsc *client, struct hsc_reply *reply, uint64_t length, uint32_t timeout_ms);
/* Has the bridge do a call. `head` is "VERB address/path\nname: value\n\n". */
int hsc_call(struct hsc *client, const char *head, const void *body, size_t length, uint32_t flags, uint32_t timeout_ms,
	     struct hsc_reply *reply);
/* Gives a reply back, in any thread. `client` is the one that received it, or NULL: then the memory is given back at that
   client's next call, and not at once. A reply of zeros is left alone. */
void hsc_free(struct hsc *client, struct hsc_reply *reply);
/* Memory of at least `length` bytes that the bridge reads, until the next call with bytes (of any thread that shares the
   client): saves hsc_call, hsc_write and hsc_send_msg a copy. */
int hsc_outbox(struct hsc *client, size_t length, void **memory);
/* Stamps a name on the timeline. */
int hsc_mark(struct hsc *client, const char *name);

/* Sends a message to the initscript's RecvMsg: at most 1 MiB. */
int hsc_send_msg(struct hsc *client, uint64_t id, const void *data, size_t length);
/* Takes the connection to `address` ("tcp://host:port") that was handed over as `id`. */
int hsc_get_conn(struct hsc *client, uint64_t id, const char *address, uint32_t timeout_ms, struct hsc_conn *conn);
/* Hands a connection to the initscript. `fd`: a TCP socket (not in gVisor), closed here when it is taken; or -1, and `number`
   is that of one of kind 2 from hsc_get_conn(), whose fd the application does not use any more and closes afterwards. */
int hsc_transfer_conn(struct hsc *client, uint64_t id, const char *address, int fd, uint64_t number);
int hsc_conn_status(struct hsc *client, uint64_t number, struct hsc_conn_status *status);

/* Waits for the next invocation; its event is the reply. HSC_INSTANCE_CLOSED: no more will come. */
int hsc_next(struct hsc *client, uint32_t timeout_ms, struct hsc_reply *event);
/* Answers an invocation: begin, any number of writes, end; or all at once; or with what failed. HSC_CANCELLED: the caller
   went away. `type` is the content-type, or NULL; `head` is {"status":200,"headers":[["name","value"]]}. */
int hsc_begin(struct hsc *client, uint64_t invocation, const char *head);
int hsc_write(struct hsc *client, uint64_t invocation, const void *data, size_t length);
int hsc_end(struct hsc *client, uint64_t invocation);
int hsc_answer(struct hsc *client, uint64_t invocation, int status, const char *type, const void *data, size_t length);
int hsc_fail(struct hsc *client, uint64_t invocation, const char *what);

/* Answers an event, or returns an error's number; the caller is then told hsc_message(). */
typedef int (*hsc_handler)(struct hsc *client, const struct hsc_reply *event, void *context);
/* Serves events until there are no more (0), or the bridge is lost. */
int hsc_serve(struct hsc *client, hsc_handler handler, void *context);

#ifdef __cplusplus
}
#endif
#endif
