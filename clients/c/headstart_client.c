/*
 * One socket, a request and its answer at a time (docs/app-protocol.md). Segments come as fds beside the answers and stay
 * mapped while a reply in them is used: each counts its replies, and its client's table counts as one more. At the begin of
 * each call the client gives back those that only the table knows.
 */
#define _GNU_SOURCE
#include "headstart_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MS 30000u
#define CONNECT_MS 5000u
/* The bridge answers `deadline` itself; only when it does not, this much later, the connection is given up. */
#define GRACE_MS 2000u
#define NEXT_MS 60000u
/* Longer answers go through the outbox in pieces of this size. */
#define PIECE (256u << 10)
/* Room for more fds than an answer may have, so that a surplus is seen, and closed. */
#define MOST_FDS 4

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packets are little-endian");

struct header {
	uint16_t version, op;
	uint32_t sequence, flags, payload;
	uint64_t id, a, b, c; /* a, b, c of an answer: segment, offset, length */
	uint32_t deadline;    /* of an answer: the error */
	uint32_t status;
	uint64_t total;
};
_Static_assert(sizeof(struct header) == HSC_HEADER_BYTES, "a header has 64 bytes");

struct hsc_segment {
	atomic_uint users; /* replies, and one for the table */
	unsigned bodies;   /* that it brought: so many are given back */
	uint64_t number;
	size_t length; /* 0: not mapped, the bytes are in `own` */
	unsigned char *base;
	struct hsc_segment *next;
	unsigned char own[];
};

/* One thread at a time. A forked child makes a new one: its parent's may be held by a thread that the child does not have. */
struct lock {
	pid_t pid;
	pthread_mutex_t mutex;
};

struct hsc {
	_Atomic(struct lock *) lock;
	pid_t pid; /* the process whose connection this is */
	int fd;
	uint32_t sequence;
	struct hsc_segment *segments;
	unsigned char *outbox;
	size_t outbox_length;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char instance[64];
	unsigned char packet[HSC_MAX_PACKET_BYTES + 1]; /* one more, so that a longer packet is seen */
};

struct answer {
	struct header head;
	const unsigned char *payload; /* in the client's packet */
	int fd;			      /* or -1 */
};

/* Why this thread's last call failed. */
static _Thread_local char last_message[HSC_INLINE + 1];

static const struct {
	const char *name, *hint;
	int number;
} errors[] = {
#define ROW(code, name, number, hint) [code] = {name, hint, number},
	HSC_ERRORS(ROW)
#undef ROW
};

static int known(int code)
{
	return code >= 0 && (size_t)code < sizeof errors / sizeof *errors ? code : HSC_INTERNAL;
}

const char *hsc_name(int code) { return errors[known(code)].name; }
const char *hsc_hint(int code) { return errors[known(code)].hint; }
int hsc_errno(int code) { return errors[known(code)].number; }
const char *hsc_instance(const struct hsc *client) { return client->instance; }
const char *hsc_message(void) { return last_message; }

uint64_t hsc_id(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	return hash;
}

__attribute__((format(printf, 2, 3))) static int fail(int code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(last_message, sizeof last_message, format, arguments);
	va_end(arguments);
	return code;
}

static void release(struct hsc_segment *segment)
{
	if (atomic_fetch_sub(&segment->users, 1) > 1)
		return;
	if (segment->length > 0)
		munmap(segment->base, segment->length);
	free(segment);
}

/* Ends the connection, if there is one. What replies refer to stays. */
static void disconnect(struct hsc *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	while (client->segments) {
		struct hsc_segment *segment = client->segments;
		client->segments = segment->next;
		release(segment);
	}
	if (client->outbox)
		munmap(client->outbox, client->outbox_length);
	client->outbox = NULL;
}

static int lose(struct hsc *client, int code, const char *what, const char *why)
{
	disconnect(client);
	return fail(code, "%s%s%s", what, *why ? ": " : "", why);
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for an answer to be there: 1, 0 when the time is over, or -1. */
static int wait_readable(int fd, int64_t until)
{
	for (;;) {
		int64_t left = until - now_ms();
		struct pollfd polled = {.fd = fd, .events = POLLIN};
		int ready = poll(&polled, 1, left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left);
		if (ready >= 0 || errno != EINTR)
			return ready;
	}
}

static int send_packet(struct hsc *client, const struct header *head, const void *payload, int fd)
{
	struct iovec parts[2] = {{(void *)head, sizeof *head}, {(void *)payload, head->payload}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = head->payload > 0 ? 2 : 1};
	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &fd, sizeof fd);
	}
	ssize_t sent;
	do
		sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

/* Receives a packet: its length, or -1. *fd is what came with it, or -1; *extra is set for more fds, or some that were lost;
   those that arrived are closed then. */
static ssize_t receive_packet(struct hsc *client, int *fd, int *extra)
{
	struct iovec part = {client->packet, sizeof client->packet};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
	} control;
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t length;
	do
		length = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	*fd = -1;
	*extra = 0;
	if (length < 0)
		return -1;
	*extra = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	for (struct cmsghdr *it = CMSG_FIRSTHDR(&message); it; it = CMSG_NXTHDR(&message, it)) {
		if (it->cmsg_level != SOL_SOCKET || it->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= it->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int received;
			memcpy(&received, CMSG_DATA(it) + at, sizeof received);
			if (*fd >= 0) {
				*extra = 1;
				close(received);
			} else {
				*fd = received;
			}
		}
	}
	if (*extra && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	return length;
}

/* Sends a request on the connection and receives its answer, whose fd is the caller's. */
static int exchange(struct hsc *client, struct header head, const void *payload, int fd, struct answer *answer)
{
	uint32_t timeout = head.deadline ? head.deadline : DEFAULT_MS;
	*answer = (struct answer){.fd = -1};
	if (head.payload > HSC_INLINE)
		return fail(HSC_INVALID_ARGUMENT, "%u bytes do not fit in one packet: %u do", head.payload, HSC_INLINE);
	head.version = HSC_VERSION;
	head.sequence = ++client->sequence;
	head.deadline = timeout;
	if (send_packet(client, &head, payload, fd) < 0) {
		if (fd >= 0 && (errno == EINVAL || errno == EPERM))
			return fail(HSC_UNSUPPORTED, "this sandbox does not let a socket out: name a connection by its number");
		return lose(client, HSC_BRIDGE_LOST, "the bridge is gone", strerror(errno));
	}
	int ready = wait_readable(client->fd, now_ms() + timeout + GRACE_MS);
	if (ready <= 0)
		return ready < 0 ? lose(client, HSC_BRIDGE_LOST, "the bridge is gone", strerror(errno))
				 : lose(client, HSC_DEADLINE, "the bridge did not answer in time", "");
	int extra;
	ssize_t length = receive_packet(client, &answer->fd, &extra);
	if (length <= 0 && !extra && answer->fd < 0)
		return lose(client, HSC_BRIDGE_LOST, "the bridge closed the connection", length < 0 ? strerror(errno) : "");
	struct header *got = &answer->head;
	memset(got, 0, sizeof *got);
	memcpy(got, client->packet, (size_t)length < sizeof *got ? (size_t)length : sizeof *got);
	answer->payload = client->packet + sizeof *got;
	if (extra || (size_t)length != sizeof *got + got->payload || got->version != HSC_VERSION || got->op != head.op ||
	    got->sequence != head.sequence || (answer->fd >= 0) != ((got->flags & HSC_FLAG_FD) != 0)) {
		if (answer->fd >= 0)
			close(answer->fd);
		return lose(client, HSC_PROTOCOL, "the bridge sent a malformed answer", "");
	}
	if (got->deadline == HSC_OK)
		return HSC_OK;
	if (answer->fd >= 0)
		close(answer->fd);
	if (got->deadline == HSC_PROTOCOL)
		disconnect(client);
	fail(0, "%.*s", (int)got->payload, (const char *)answer->payload);
	return known((int)got->deadline);
}

/* Tells the bridge of the segments that no reply is in any more. */
static void give_back(struct hsc *client)
{
	for (struct hsc_segment **at = &client->segments; *at;) {
		struct hsc_segment *segment = *at;
		if (atomic_load(&segment->users) > 1) {
			at = &segment->next;
			continue;
		}
		*at = segment->next;
		struct header head = {.op = HSC_OP_FREE, .a = segment->number, .deadline = CONNECT_MS};
		unsigned bodies = segment->bodies;
		release(segment);
		for (; bodies > 0; bodies--) {
			struct answer answer;
			exchange(client, head, NULL, -1, &answer);
			if (client->fd < 0)
				return; /* and all is unmapped */
		}
	}
}

static int open_socket(struct hsc *client)
{
	static const char name[] = "headstart-c 0.1.0";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = CONNECT_MS / 1000};
	struct answer answer;
	memcpy(address.sun_path, client->path, sizeof client->path);
	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return fail(HSC_BRIDGE_LOST, "cannot make a socket: %s", strerror(errno));
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* of connect(2), too */
	if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0) {
		int error = errno;
		disconnect(client);
		return fail(HSC_BRIDGE_LOST, "cannot connect to %s: %s", client->path, strerror(error));
	}
	struct header head = {
		.op = HSC_OP_HELLO, .a = (uint64_t)getpid(), .deadline = CONNECT_MS, .payload = sizeof name - 1};
	int code = exchange(client, head, name, -1, &answer);
	if (code == HSC_OK)
		snprintf(client->instance, sizeof client->instance, "%.*s", (int)answer.head.payload,
			 (const char *)answer.payload);
	else
		disconnect(client);
	if (answer.fd >= 0 && code == HSC_OK)
		close(answer.fd);
	return code;
}

static struct lock *new_lock(pid_t pid)
{
	struct lock *lock = malloc(sizeof *lock);
	if (lock) {
		lock->pid = pid;
		pthread_mutex_init(&lock->mutex, NULL);
	}
	return lock;
}

/* The lock that is of this process, or NULL when there is no memory. */
static struct lock *lock_of(struct hsc *client)
{
	pid_t pid = getpid();
	struct lock *lock = atomic_load(&client->lock);
	while (lock->pid != pid) {
		struct lock *mine = new_lock(pid);
		if (!mine)
			return NULL;
		if (atomic_compare_exchange_strong(&client->lock, &lock, mine))
			return mine; /* the parent's is never used again here */
		free(mine); /* another thread of the child was first */
	}
	return lock;
}

/* What each call begins with, once it has the lock. */
static void begin(struct hsc *client, pid_t pid)
{
	last_message[0] = 0;
	if (client->pid != pid)
		disconnect(client); /* a forked child: the parent goes on using its connection */
	client->pid = pid;
	if (client->fd >= 0)
		give_back(client);
}

static int leave(struct hsc *client, int code)
{
	pthread_mutex_unlock(&atomic_load(&client->lock)->mutex);
	return code;
}

/* Begins a call: this thread alone, on a connection of this process. */
static int enter(struct hsc *client)
{
	struct lock *lock = lock_of(client);
	if (!lock)
		return fail(HSC_INTERNAL, "no memory");
	pthread_mutex_lock(&lock->mutex);
	begin(client, lock->pid);
	int code = client->fd >= 0 ? HSC_OK : open_socket(client);
	return code == HSC_OK ? HSC_OK : leave(client, code);
}

/* A request with nothing but a yes or an error for an answer. */
static int simple(struct hsc *client, struct header head, const void *payload, int fd)
{
	struct answer answer;
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	code = exchange(client, head, payload, fd, &answer);
	if (code == HSC_OK && answer.fd >= 0)
		close(answer.fd);
	return leave(client, code);
}

/* Maps a segment's fd, which is closed. */
static struct hsc_segment *map(struct hsc *client, uint64_t number, int fd)
{
	struct stat about;
	struct hsc_segment *segment = malloc(sizeof *segment);
	void *base = MAP_FAILED;
	if (segment && fstat(fd, &about) == 0 && about.st_size > 0 && (uint64_t)about.st_size <= SIZE_MAX)
		base = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (base == MAP_FAILED) {
		free(segment);
		return NULL;
	}
	*segment = (struct hsc_segment){
		.number = number, .length = (size_t)about.st_size, .base = base, .next = client->segments};
	atomic_init(&segment->users, 1);
	return client->segments = segment;
}

/* Maps the file whose path is an answer's payload. The bridge is not told when it is given back. */
static struct hsc_segment *map_file(const struct answer *answer)
{
	struct stat about;
	uint32_t length = answer->head.payload;
	struct hsc_segment *segment = calloc(1, sizeof *segment + length + 1);
	if (!segment)
		return NULL;
	memcpy(segment->own, answer->payload, length);
	segment->number = answer->head.a;
	int fd = open((const char *)segment->own, O_RDONLY | O_CLOEXEC);
	void *base = MAP_FAILED;
	if (fd >= 0 && fstat(fd, &about) == 0 && about.st_size > 0 && (uint64_t)about.st_size <= SIZE_MAX)
		base = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (base == MAP_FAILED) {
		free(segment);
		return NULL;
	}
	segment->base = base;
	segment->length = (size_t)about.st_size;
	return segment;
}

/* Makes a reply of an answer. */
static int take(struct hsc *client, struct answer *answer, struct hsc_reply *reply)
{
	const struct header *head = &answer->head;
	struct hsc_segment *segment = NULL;
	uint64_t total = head->flags & HSC_FLAG_LENGTH_KNOWN ? head->total : HSC_UNKNOWN;
	*reply = (struct hsc_reply){.data = "", .file = "", .status = head->status, .id = head->id, .offset = head->b};
	reply->length = head->flags & HSC_FLAG_INLINE ? head->payload : head->c;
	reply->done = head->flags & (HSC_FLAG_DONE | HSC_FLAG_INLINE) || head->a == 0 || reply->length == total;
	reply->total = reply->done ? reply->length : total;
	if (answer->fd >= 0)
		segment = map(client, head->a, answer->fd);
	else if ((head->flags & (HSC_FLAG_FILE | HSC_FLAG_INLINE)) == HSC_FLAG_FILE && head->a != 0)
		segment = map_file(answer);
	else if (head->a != 0)
		for (segment = client->segments; segment && segment->number != head->a;)
			segment = segment->next;
	if (head->flags & HSC_FLAG_INLINE) {
		if (!(segment = malloc(sizeof *segment + head->payload)))
			return fail(HSC_INTERNAL, "no memory");
		*segment = (struct hsc_segment){.base = segment->own};
		memcpy(segment->own, answer->payload, head->payload);
		reply->offset = 0;
	} else if (head->a == 0) {
		return reply->length == 0 ? HSC_OK : lose(client, HSC_PROTOCOL, "the bridge sent bytes of no segment", "");
	} else if ((head->flags & HSC_FLAG_FILE) && !segment) {
		return fail(HSC_NOT_FOUND, "the file that a reply lies in cannot be mapped: %s", strerror(errno));
	} else {
		uint64_t most = total != HSC_UNKNOWN && total > head->c ? total : head->c;
		if (!segment || most > segment->length || head->b > segment->length - most)
			return lose(client, HSC_PROTOCOL, "the bridge sent bytes outside of their segment", "");
		if (head->flags & HSC_FLAG_FILE)
			reply->file = (const char *)segment->own;
		else
			segment->bodies++;
	}
	atomic_fetch_add(&segment->users, 1);
	reply->segment = segment;
	reply->data = segment->base + reply->offset;
	return HSC_OK;
}

static int ask(struct hsc *client, struct header head, const void *payload, struct hsc_reply *reply)
{
	struct answer answer;
	*reply = (struct hsc_reply){.data = "", .file = ""};
	int code = exchange(client, head, payload, -1, &answer);
	return code == HSC_OK ? take(client, &answer, reply) : code;
}

/* Makes the outbox at least `length` bytes long. */
static int reserve(struct hsc *client, size_t length)
{
	struct answer answer;
	struct stat about;
	if (length <= client->outbox_length && client->outbox)
		return HSC_OK;
	if (client->outbox)
		munmap(client->outbox, client->outbox_length);
	client->outbox = NULL;
	int code = exchange(client, (struct header){.op = HSC_OP_OUTBOX, .a = length}, NULL, -1, &answer);
	if (code != HSC_OK)
		return code;
	void *base = MAP_FAILED;
	if (answer.fd >= 0 && fstat(answer.fd, &about) == 0 && about.st_size > 0 && (uint64_t)about.st_size >= length)
		base = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, answer.fd, 0);
	if (answer.fd >= 0)
		close(answer.fd);
	if (base == MAP_FAILED)
		return lose(client, HSC_PROTOCOL, "the bridge sent an outbox that cannot be mapped", "");
	client->outbox = base;
	client->outbox_length = (size_t)about.st_size;
	return HSC_OK;
}

/* Copies bytes to the outbox, unless they were written there. */
static int put(struct hsc *client, const void *data, size_t length)
{
	if (length == 0 || (client->outbox && data == client->outbox && length <= client->outbox_length))
		return HSC_OK;
	int code = reserve(client, length);
	if (code == HSC_OK)
		memcpy(client->outbox, data, length);
	return code;
}

struct hsc *hsc_new(const char *path)
{
	struct hsc *client = calloc(1, sizeof *client);
	struct lock *lock = new_lock(getpid());
	if (!client || !lock) {
		free(client);
		free(lock);
		return NULL;
	}
	if (!path)
		path = getenv("HEADSTART_SOCKET");
	snprintf(client->path, sizeof client->path, "%s", path && *path ? path : HSC_SOCKET);
	atomic_init(&client->lock, lock);
	client->pid = lock->pid;
	client->fd = -1;
	return client;
}

void hsc_delete(struct hsc *client)
{
	if (!client)
		return;
	disconnect(client);
	free(atomic_load(&client->lock));
	free(client);
}

int hsc_connect(struct hsc *client)
{
	int code = enter(client);
	return code == HSC_OK ? leave(client, HSC_OK) : code;
}

int hsc_recv_msg(struct hsc *client, uint64_t id, const char *content, uint32_t flags, uint32_t timeout_ms,
		 struct hsc_reply *reply)
{
	struct header head = {.op = HSC_OP_RECV_MSG, .id = id, .flags = flags, .deadline = timeout_ms};
	head.payload = content ? (uint32_t)strlen(content) : 0;
	*reply = (struct hsc_reply){.data = "", .file = ""};
	int code = enter(client);
	return code == HSC_OK ? leave(client, ask(client, head, content, reply)) : code;
}

int hsc_await(struct hsc *client, struct hsc_reply *reply, uint64_t length, uint32_t timeout_ms)
{
	struct answer answer;
	struct hsc_segment *segment = reply->segment;
	if (reply->done || length <= reply->length)
		return HSC_OK;
	if (length > reply->total)
		length = reply->total;
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	struct header head = {.op = HSC_OP_AWAIT, .a = segment->number, .b = reply->offset, .c = length};
	head.flags = HSC_FLAG_NO_FD; /* the segment is mapped, be it by another connection */
	head.deadline = timeout_ms;
	code = exchange(client, head, NULL, -1, &answer);
	if (code != HSC_OK)
		return leave(client, code);
	if (answer.fd >= 0)
		close(answer.fd);
	int done = (answer.head.flags & HSC_FLAG_DONE) != 0;
	uint64_t now = answer.head.c;
	if (now < reply->length || (!done && now < length) || now > segment->length - reply->offset ||
	    (reply->total != HSC_UNKNOWN && now > reply->total))
		return leave(client, lose(client, HSC_PROTOCOL, "the bridge sent a length that cannot be", ""));
	reply->length = now;
	reply->done = done || now == reply->total;
	if (reply->done)
		reply->total = now;
	return leave(client, HSC_OK);
}

int hsc_call(struct hsc *client, const char *head_text, const void *body, size_t length, uint32_t flags,
	     uint32_t timeout_ms, struct hsc_reply *reply)
{
	struct header head = {.op = HSC_OP_CALL, .flags = flags, .deadline = timeout_ms, .b = length};
	head.payload = (uint32_t)strlen(head_text);
	*reply = (struct hsc_reply){.data = "", .file = ""};
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	code = put(client, body, length);
	return leave(client, code == HSC_OK ? ask(client, head, head_text, reply) : code);
}

void hsc_free(struct hsc *client, struct hsc_reply *reply)
{
	if (reply->segment)
		release(reply->segment);
	*reply = (struct hsc_reply){.data = "", .file = ""};
	struct lock *lock = client ? lock_of(client) : NULL;
	/* Never behind a call of another thread, which may wait: that one's next call gives it back. */
	if (!lock || pthread_mutex_trylock(&lock->mutex) != 0)
		return;
	begin(client, lock->pid);
	leave(client, HSC_OK);
}

int hsc_outbox(struct hsc *client, size_t length, void **memory)
{
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	code = reserve(client, length > 0 ? length : 1);
	*memory = client->outbox;
	return leave(client, code);
}

int hsc_mark(struct hsc *client, const char *name)
{
	return simple(client, (struct header){.op = HSC_OP_MARK, .payload = (uint32_t)strlen(name)}, name, -1);
}

int hsc_send_msg(struct hsc *client, uint64_t id, const void *data, size_t length)
{
	struct header head = {.op = HSC_OP_SEND_MSG, .id = id};
	struct answer answer;
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	if (length <= HSC_INLINE) {
		head.flags = HSC_FLAG_INLINE;
		head.payload = (uint32_t)length;
	} else {
		head.b = length;
		code = put(client, data, length);
	}
	if (code == HSC_OK)
		code = exchange(client, head, data, -1, &answer);
	return leave(client, code);
}

int hsc_get_conn(struct hsc *client, uint64_t id, const char *address, uint32_t timeout_ms, struct hsc_conn *conn)
{
	struct header head = {.op = HSC_OP_GET_CONN, .id = id, .deadline = timeout_ms};
	struct answer answer;
	head.payload = (uint32_t)strlen(address);
	*conn = (struct hsc_conn){.fd = -1};
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	code = exchange(client, head, address, -1, &answer);
	if (code == HSC_OK && answer.fd < 0)
		code = lose(client, HSC_PROTOCOL, "the bridge sent a connection without its fd", "");
	if (code != HSC_OK)
		return leave(client, code);
	*conn = (struct hsc_conn){.fd = answer.fd, .number = answer.head.a, .kind = answer.head.status};
	snprintf(conn->peer, sizeof conn->peer, "%.*s", (int)answer.head.payload, (const char *)answer.payload);
	return leave(client, HSC_OK);
}

int hsc_transfer_conn(struct hsc *client, uint64_t id, const char *address, int fd, uint64_t number)
{
	struct header head = {.op = HSC_OP_TRANSFER_CONN, .id = id, .a = fd < 0 ? number : 0};
	head.payload = (uint32_t)strlen(address);
	int code = simple(client, head, address, fd);
	if (code == HSC_OK && fd >= 0)
		close(fd);
	return code;
}

int hsc_conn_status(struct hsc *client, uint64_t number, struct hsc_conn_status *status)
{
	struct answer answer;
	*status = (struct hsc_conn_status){0};
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	code = exchange(client, (struct header){.op = HSC_OP_CONN_STATUS, .a = number}, NULL, -1, &answer);
	if (code == HSC_OK)
		*status = (struct hsc_conn_status){answer.head.status, (int)answer.head.id, answer.head.c, answer.head.total};
	return leave(client, code);
}

int hsc_next(struct hsc *client, uint32_t timeout_ms, struct hsc_reply *event)
{
	*event = (struct hsc_reply){.data = "", .file = ""};
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	return leave(client, ask(client, (struct header){.op = HSC_OP_NEXT, .deadline = timeout_ms}, NULL, event));
}

int hsc_begin(struct hsc *client, uint64_t invocation, const char *head)
{
	struct header it = {.op = HSC_OP_RESPOND, .id = invocation, .flags = HSC_FLAG_BEGIN};
	it.payload = (uint32_t)strlen(head);
	return simple(client, it, head, -1);
}

int hsc_write(struct hsc *client, uint64_t invocation, const void *data, size_t length)
{
	struct header head = {.op = HSC_OP_RESPOND, .id = invocation};
	struct answer answer;
	const unsigned char *rest = data;
	int code = enter(client);
	if (code != HSC_OK)
		return code;
	if (length <= HSC_INLINE) {
		head.flags = HSC_FLAG_INLINE;
		head.payload = (uint32_t)length;
		code = exchange(client, head, data, -1, &answer);
	} else if (client->outbox && data == client->outbox && length <= client->outbox_length) {
		head.b = length;
		code = exchange(client, head, NULL, -1, &answer);
	} else {
		for (size_t piece; length > 0 && code == HSC_OK; rest += piece, length -= piece) {
			head.b = piece = length < PIECE ? length : PIECE;
			code = put(client, rest, piece);
			if (code == HSC_OK)
				code = exchange(client, head, NULL, -1, &answer);
		}
	}
	return leave(client, code);
}

int hsc_end(struct hsc *client, uint64_t invocation)
{
	struct header head = {.op = HSC_OP_RESPOND, .id = invocation, .flags = HSC_FLAG_INLINE | HSC_FLAG_END};
	return simple(client, head, NULL, -1);
}

int hsc_answer(struct hsc *client, uint64_t invocation, int status, const char *type, const void *data, size_t length)
{
	char head[512], headers[384] = "";
	if (type)
		snprintf(headers, sizeof headers, "[\"content-type\",\"%.300s\"]", type);
	snprintf(head, sizeof head, "{\"status\":%d,\"headers\":[%s]}", status, headers);
	int code = hsc_begin(client, invocation, head);
	if (code == HSC_OK && length > 0)
		code = hsc_write(client, invocation, data, length);
	return code == HSC_OK ? hsc_end(client, invocation) : code;
}

int hsc_fail(struct hsc *client, uint64_t invocation, const char *what)
{
	struct header head = {.op = HSC_OP_RESPOND, .id = invocation, .flags = HSC_FLAG_ERROR};
	size_t length = strlen(what);
	head.payload = (uint32_t)(length < HSC_INLINE ? length : HSC_INLINE);
	return simple(client, head, what, -1);
}

int hsc_serve(struct hsc *client, hsc_handler handler, void *context)
{
	for (;;) {
		struct hsc_reply event;
		int code = hsc_next(client, NEXT_MS, &event);
		if (code == HSC_DEADLINE)
			continue;
		if (code != HSC_OK)
			return code == HSC_INSTANCE_CLOSED ? HSC_OK : code;
		uint64_t invocation = event.id;
		code = handler(client, &event, context);
		hsc_free(NULL, &event);
		if (code != HSC_OK && code != HSC_CANCELLED) {
			char why[512];
			snprintf(why, sizeof why, "%s: %.400s", hsc_name(code), hsc_message());
			hsc_fail(client, invocation, why);
		}
	}
}
