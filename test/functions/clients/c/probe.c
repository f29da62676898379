/* The clients' probe in C: see ../README.md. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "headstart_client.h"

#define MOST_THREADS 64

static uint64_t id_of(const char *text)
{
	return *text == '#' ? strtoull(text + 1, NULL, 10) : hsc_id(text);
}

static unsigned long sum(const void *data, uint64_t length)
{
	unsigned long result = 0;
	for (uint64_t at = 0; at < length; at++)
		result += ((const unsigned char *)data)[at];
	return result;
}

/* One line about a reply, which is freed. */
static void tell(FILE *out, struct hsc *client, int code, struct hsc_reply *reply)
{
	int early = code == HSC_OK && reply->length < reply->total;
	if (code == HSC_OK)
		code = hsc_await(client, reply, reply->total, 0);
	if (code == HSC_OK)
		fprintf(out, "ok %llu %lu %u %s", (unsigned long long)reply->length, sum(reply->data, reply->length),
			reply->status, early ? "early" : "whole");
	else
		fprintf(out, "error %s", hsc_name(code));
	if (code == HSC_OK && *reply->file)
		fprintf(out, " at %llu of %s", (unsigned long long)reply->offset, reply->file);
	fprintf(out, "\n");
	hsc_free(client, reply);
}

static void receive(FILE *out, struct hsc *client, const char *id, const char *content, int progressive, uint32_t ms)
{
	struct hsc_reply reply;
	int code = hsc_recv_msg(client, id_of(id), content, progressive ? HSC_FLAG_PROGRESSIVE : 0, ms, &reply);
	tell(out, client, code, &reply);
}

static int call(struct hsc *client, const char *request, size_t length, struct hsc_reply *reply)
{
	char head[512];
	void *body = NULL;
	snprintf(head, sizeof head, "%s\n\n", request);
	int code = length > 0 ? hsc_outbox(client, length, &body) : HSC_OK;
	if (body)
		memset(body, 'b', length);
	return code == HSC_OK ? hsc_call(client, head, body, length, 0, 10000, reply) : code;
}

static void churn(FILE *out, struct hsc *client, const char *request, int times)
{
	for (int done = 0; done < times; done++) {
		struct hsc_reply reply;
		int code = call(client, request, 0, &reply);
		hsc_free(client, &reply);
		if (code != HSC_OK) {
			fprintf(out, "error %s\n", hsc_name(code));
			return;
		}
	}
	fprintf(out, "ok %d\n", times);
}

struct thread {
	pthread_t thread;
	struct hsc *shared; /* or NULL: it opens one of its own */
	pthread_barrier_t *together;
	char id[64];
	int code;
};

static void *in_thread(void *argument)
{
	struct thread *it = argument;
	struct hsc *client = it->shared ? it->shared : hsc_new(NULL);
	struct hsc_reply reply;
	pthread_barrier_wait(it->together);
	it->code = client ? hsc_recv_msg(client, hsc_id(it->id), NULL, 0, 10000, &reply) : HSC_INTERNAL;
	if (client)
		hsc_free(client, &reply);
	if (client != it->shared)
		hsc_delete(client);
	return NULL;
}

/* Every other one has a client of its own. */
static void threads(FILE *out, struct hsc *client, int count, const char *prefix)
{
	struct thread all[MOST_THREADS];
	pthread_barrier_t together;
	int right = 0;
	pthread_barrier_init(&together, NULL, (unsigned)count);
	for (int at = 0; at < count; at++) {
		all[at].together = &together;
		all[at].shared = at % 2 ? client : NULL;
		snprintf(all[at].id, sizeof all[at].id, "%s%d", prefix, at);
		pthread_create(&all[at].thread, NULL, in_thread, &all[at]);
	}
	for (int at = 0; at < count; at++) {
		pthread_join(all[at].thread, NULL);
		right += all[at].code == HSC_OK;
	}
	pthread_barrier_destroy(&together);
	fprintf(out, "ok %d\n", right);
}

/* The child goes on with the parent's client. */
static void forked(FILE *out, struct hsc *client, const char *id, const char *other)
{
	int ends[2];
	char line[128] = "";
	fflush(out);
	if (pipe(ends) < 0)
		return;
	pid_t child = fork();
	if (child == 0) {
		FILE *up = fdopen(ends[1], "w");
		receive(up, client, id, NULL, 0, 5000);
		fclose(up);
		_exit(0);
	}
	close(ends[1]);
	FILE *down = fdopen(ends[0], "r");
	if (fgets(line, sizeof line, down))
		fputs(line, out);
	fclose(down);
	waitpid(child, NULL, 0);
	receive(out, client, other, NULL, 0, 5000);
}

static void done(FILE *out, int code)
{
	if (code == HSC_OK)
		fprintf(out, "ok\n");
	else
		fprintf(out, "error %s\n", hsc_name(code));
}

static void send_message(FILE *out, struct hsc *client, const char *id, size_t length)
{
	char *data = malloc(length + 1);
	memset(data, 'm', length);
	done(out, hsc_send_msg(client, id_of(id), data, length));
	free(data);
}

static void converse(FILE *out, struct hsc *client, const char *id, const char *address, const char *text)
{
	struct hsc_conn conn;
	char line[256] = "";
	int code = hsc_get_conn(client, id_of(id), address, 5000, &conn);
	if (code != HSC_OK) {
		done(out, code);
		return;
	}
	dprintf(conn.fd, "%s\n", text);
	for (size_t at = 0; at + 1 < sizeof line && read(conn.fd, line + at, 1) == 1 && line[at] != '\n';)
		at++;
	line[strcspn(line, "\r\n")] = 0;
	fprintf(out, "ok %u %s\n", conn.kind, line);
	close(conn.fd);
}

static void pass(FILE *out, struct hsc *client, const char *id, const char *address, const char *new_id)
{
	struct hsc_conn conn;
	int code = hsc_get_conn(client, id_of(id), address, 5000, &conn);
	if (code == HSC_OK && conn.kind == 1) {
		code = hsc_transfer_conn(client, id_of(new_id), address, conn.fd, 0);
	} else if (code == HSC_OK) {
		code = hsc_transfer_conn(client, id_of(new_id), address, -1, conn.number);
		close(conn.fd);
	}
	done(out, code);
}

static void broken(FILE *out, struct hsc *client, const char *id, const char *address, const char *text)
{
	struct hsc_conn conn;
	struct hsc_conn_status status;
	char byte;
	int code = hsc_get_conn(client, id_of(id), address, 5000, &conn);
	if (code == HSC_OK) {
		dprintf(conn.fd, "%s\n", text);
		while (read(conn.fd, &byte, 1) == 1)
			;
		code = hsc_conn_status(client, conn.number, &status);
		close(conn.fd);
	}
	if (code == HSC_OK)
		fprintf(out, "ok %u %s\n", status.state, hsc_name(status.error));
	else
		done(out, code);
}

/* Answers the event by its steps. */
static int handler(struct hsc *client, const struct hsc_reply *event, void *context)
{
	(void)context;
	char *text = calloc(1, event->length + 1), *at, *line, *answer = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&answer, &length);
	long size = -1;
	int status = 200, code = HSC_OK;
	memcpy(text, event->data, event->length);
	at = strstr(text, "\n---\n");
	at = at ? at + 5 : text + event->length;
	while (code == HSC_OK && (line = strsep(&at, "\n"))) {
		char *field[6] = {NULL};
		for (int n = 0; n < 6 && line; n++)
			field[n] = strsep(&line, "\t");
		const char *step = field[0], *a = field[1] ? field[1] : "", *b = field[2] ? field[2] : "";
		const char *c = field[3] ? field[3] : "", *d = field[4] ? field[4] : "";
		struct hsc_reply reply;
		if (!strcmp(step, "event"))
			fprintf(out, "ok %llu %lu\n", (unsigned long long)event->length, sum(event->data, event->length));
		else if (!strcmp(step, "recv"))
			receive(out, client, a, b, !strcmp(c, "progressive"), (uint32_t)atoi(d));
		else if (!strcmp(step, "call"))
			tell(out, client, call(client, a, (size_t)atol(b), &reply), &reply);
		else if (!strcmp(step, "churn"))
			churn(out, client, a, atoi(b));
		else if (!strcmp(step, "threads"))
			threads(out, client, atoi(a), b);
		else if (!strcmp(step, "fork"))
			forked(out, client, a, b);
		else if (!strcmp(step, "sleep"))
			usleep((useconds_t)atoi(a) * 1000);
		else if (!strcmp(step, "mark"))
			done(out, hsc_mark(client, a));
		else if (!strcmp(step, "send"))
			send_message(out, client, a, (size_t)atol(b));
		else if (!strcmp(step, "conn"))
			converse(out, client, a, b, c);
		else if (!strcmp(step, "pass"))
			pass(out, client, a, b, c);
		else if (!strcmp(step, "broken"))
			broken(out, client, a, b, c);
		else if (!strcmp(step, "answer"))
			size = atol(a);
		else if (!strcmp(step, "status"))
			status = atoi(a);
		else if (!strcmp(step, "fail"))
			code = hsc_fail(client, event->id, a) == HSC_OK ? HSC_CANCELLED : HSC_BRIDGE_LOST;
	}
	fclose(out);
	if (code == HSC_OK && size >= 0) {
		answer = realloc(answer, (size_t)size + 1);
		memset(answer, 'x', length = (size_t)size);
	}
	if (code == HSC_OK)
		code = hsc_answer(client, event->id, status, "text/plain", answer, length);
	free(answer);
	free(text);
	return code;
}

int main(void)
{
	struct hsc *client = hsc_new(NULL);
	int code = client ? hsc_connect(client) : HSC_INTERNAL;
	if (code == HSC_OK)
		code = hsc_serve(client, handler, NULL);
	if (code != HSC_OK)
		fprintf(stderr, "%s: %s\n", hsc_name(code), client ? hsc_message() : "no memory");
	hsc_delete(client);
	return code == HSC_OK ? 0 : 1;
}
