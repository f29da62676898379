/*
 * LD_PRELOAD library: gives a program that knows nothing of headstart the connections that its initscript handed over.
 *
 * HEADSTART_HANDOVER lists addresses, "redis://db:6379,tcp://10.0.0.7:4000". A connect() to one of them takes the connection
 * that the initscript transferred under that text as its id, and then those under "TEXT#2", "TEXT#3", … Its fd is put over the
 * program's own, which keeps its number. Where there is none, connect() is the kernel's, and this address is not asked for
 * again.
 *
 * A connection that the bridge splices is one end of a unix socketpair. For these, what a program may ask of a TCP socket is
 * answered here: getpeername, getsockname, getsockopt, setsockopt. They are known by their inode, which fds that are
 * duplicated have in common and which no later socket has, so that close and dup need no attention.
 *
 * A name of the list that cannot be resolved (a sandbox without a network has no names) resolves to 127.77.0.N, which stands
 * for it. docs/preload.md says what all this cannot serve.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "headstart_client.h"

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))real(#name))

/* Addresses in the list; connections that are known at one time, the oldest are forgotten; addresses of one name. */
#define MOST_ADDRESSES 64
#define MOST_PAIRS 1024
#define MOST_PLACES 8
/* How long a connection that the initscript is still opening is waited for. What it does not open is a miss much earlier. */
#define WAIT_MS 5000
/* 127.77.0.0 */
#define STAND_IN 0x7f4d0000u

/* An address of the list. */
struct handover {
	char text[300]; /* as in the list: its hash is the connection's id */
	char host[256];
	in_port_t port; /* in network order, as everywhere here */
	struct sockaddr_storage places[MOST_PLACES];
	int place_count;
	atomic_uint taken; /* how many connections were asked for */
	atomic_int done;   /* there are no more */
};

/* A socket that is not what the program made: a socketpair's end, or a TCP socket of the other family. */
struct pair {
	dev_t device;
	ino_t inode;
	struct sockaddr_storage peer;
	socklen_t peer_length;
	int is_tcp;
	int no_delay; /* of a socketpair */
};

static struct handover handovers[MOST_ADDRESSES];
static unsigned handover_count;
static pthread_once_t listed = PTHREAD_ONCE_INIT, resolved = PTHREAD_ONCE_INIT;
/* Set while this library itself resolves names. */
static _Thread_local int inside;

static pthread_mutex_t pairs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pair pairs[MOST_PAIRS];
static unsigned pair_count; /* ever */

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* ---- The list ---- */

static in_port_t default_port(const char *text)
{
	static const struct {
		const char *scheme;
		uint16_t port;
	} known[] = {{"redis:", 6379}, {"rediss:", 6379}, {"memcached:", 11211}, {"http:", 80}, {"https:", 443}};
	for (size_t at = 0; at < sizeof known / sizeof *known; at++)
		if (!strncmp(text, known[at].scheme, strlen(known[at].scheme)))
			return htons(known[at].port);
	return 0;
}

/* "scheme://host:port", "scheme://[v6]:port", the port may be missing where the scheme has one. */
static int parse(const char *text, size_t length, struct handover *it)
{
	memset(it, 0, sizeof *it);
	if (length >= sizeof it->text)
		return 0;
	memcpy(it->text, text, length);
	char *host = strstr(it->text, "://"), *colon, *end;
	if (!host)
		return 0;
	host += 3;
	size_t host_length = strcspn(host, ":/?");
	if (*host == '[') {
		host++;
		host_length = strcspn(host, "]");
	}
	if (host_length == 0 || host_length >= sizeof it->host)
		return 0;
	memcpy(it->host, host, host_length);
	colon = host + host_length;
	colon += *colon == ']';
	it->port = default_port(it->text);
	if (*colon == ':') {
		unsigned long port = strtoul(colon + 1, &end, 10);
		it->port = port > 0 && port < 65536 ? htons((uint16_t)port) : 0;
	}
	return it->port != 0;
}

static void read_list(void)
{
	const char *list = getenv("HEADSTART_HANDOVER");
	while (list && *list && handover_count < MOST_ADDRESSES) {
		size_t length = strcspn(list, ", ");
		if (length > 0 && parse(list, length, &handovers[handover_count]))
			handover_count++;
		list += length + (list[length] != 0);
	}
}

/* An address as IPv6 says it: IPv4 is mapped, as programs with sockets for both (Java) write it. */
static struct in6_addr in_ipv6(const struct sockaddr *address)
{
	struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	if (address->sa_family == AF_INET6)
		return ((const struct sockaddr_in6 *)address)->sin6_addr;
	memcpy(&mapped.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr, 4);
	return mapped;
}

static int same_place(const struct sockaddr *a, const struct sockaddr *b)
{
	struct in6_addr one = in_ipv6(a), other = in_ipv6(b);
	return !memcmp(&one, &other, sizeof one);
}

/* The number of the first address of the list with this host, from 1; 0: there is none. */
static int named(const char *host)
{
	for (unsigned at = 0; at < handover_count; at++)
		if (!strcasecmp(handovers[at].host, host))
			return (int)at + 1;
	return 0;
}

/* Finds where each address of the list is. */
static void resolve_list(void)
{
	inside++;
	for (unsigned at = 0; at < handover_count; at++) {
		struct handover *it = &handovers[at];
		unsigned number = (unsigned)named(it->host);
		struct sockaddr_in stand_in = {.sin_family = AF_INET, .sin_addr = {htonl(STAND_IN + number)}};
		struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
		memcpy(&it->places[it->place_count++], &stand_in, sizeof stand_in);
		if (REAL(getaddrinfo)(it->host, NULL, &hints, &found) != 0)
			continue;
		for (struct addrinfo *one = found; one && it->place_count < MOST_PLACES; one = one->ai_next)
			memcpy(&it->places[it->place_count++], one->ai_addr, one->ai_addrlen);
		freeaddrinfo(found);
	}
	inside--;
}

/* The address of the list that a program connects to, or NULL. */
static struct handover *find_handover(const struct sockaddr *to, socklen_t length)
{
	in_port_t port;
	if (inside || !to || length < sizeof to->sa_family)
		return NULL;
	if (to->sa_family == AF_INET && length >= sizeof(struct sockaddr_in))
		port = ((const struct sockaddr_in *)to)->sin_port;
	else if (to->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6))
		port = ((const struct sockaddr_in6 *)to)->sin6_port;
	else
		return NULL;
	pthread_once(&listed, read_list);
	if (handover_count == 0)
		return NULL;
	pthread_once(&resolved, resolve_list);
	for (unsigned at = 0; at < handover_count; at++)
		for (int place = 0; handovers[at].port == port && place < handovers[at].place_count; place++)
			if (same_place(to, (const struct sockaddr *)&handovers[at].places[place]))
				return &handovers[at];
	return NULL;
}

/* ---- Sockets that stand for TCP connections ---- */

/* Copies what is known of an fd; false when it is none of ours. */
static int find_pair(int fd, struct pair *copy)
{
	struct stat about;
	int saved = errno, found = 0;
	unsigned count = __atomic_load_n(&pair_count, __ATOMIC_ACQUIRE);
	if (count > 0 && fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode)) {
		pthread_mutex_lock(&pairs_lock);
		for (unsigned at = 0; at < MOST_PAIRS && at < count && !found; at++)
			if (pairs[at].inode == about.st_ino && pairs[at].device == about.st_dev) {
				*copy = pairs[at];
				found = 1;
			}
		pthread_mutex_unlock(&pairs_lock);
	}
	errno = saved;
	return found;
}

static void set_no_delay(const struct pair *pair, int no_delay)
{
	pthread_mutex_lock(&pairs_lock);
	for (unsigned at = 0; at < MOST_PAIRS; at++)
		if (pairs[at].inode == pair->inode && pairs[at].device == pair->device)
			pairs[at].no_delay = no_delay;
	pthread_mutex_unlock(&pairs_lock);
}

static void add_pair(int fd, int is_tcp, const struct sockaddr *peer, socklen_t length, int no_delay)
{
	struct stat about;
	if (fstat(fd, &about) < 0)
		return;
	struct pair pair = {.device = about.st_dev, .inode = about.st_ino, .is_tcp = is_tcp, .no_delay = no_delay};
	pair.peer_length = length < sizeof pair.peer ? length : sizeof pair.peer;
	memcpy(&pair.peer, peer, pair.peer_length);
	pthread_mutex_lock(&pairs_lock);
	pairs[pair_count % MOST_PAIRS] = pair;
	__atomic_store_n(&pair_count, pair_count + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&pairs_lock);
}

/* A forked child's copy of the lock may be held by a thread that it does not have. */
static void in_child(void)
{
	pairs_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(NULL, NULL, in_child);
}

/* ---- Taking a connection ---- */

/* Takes the next connection to an address: its fd and kind, or -1. */
static int take(struct handover *it, uint32_t *kind)
{
	char id[sizeof it->text + 16];
	struct hsc_conn conn = {.fd = -1};
	struct hsc *client = atomic_load(&it->done) ? NULL : hsc_new(NULL);
	while (client) {
		unsigned number = atomic_fetch_add(&it->taken, 1) + 1;
		snprintf(id, sizeof id, number == 1 ? "%s" : "%s#%u", it->text, number);
		int code = hsc_get_conn(client, hsc_id(id), it->text, WAIT_MS, &conn);
		if (code == HSC_OK)
			break;
		if (code == HSC_ALREADY_CLAIMED || code == HSC_CONNECTION_RESET)
			continue; /* another process has it, or the server has closed it: the next one */
		atomic_store(&it->done, 1);
		break;
	}
	hsc_delete(client);
	*kind = conn.kind;
	return conn.fd;
}

/* Gives the new socket what was set on the old one. */
static void copy_options(int from, int to)
{
	static const struct {
		int level, name;
	} options[] = {{SOL_SOCKET, SO_RCVTIMEO}, {SOL_SOCKET, SO_SNDTIMEO}, {SOL_SOCKET, SO_KEEPALIVE},
		       {SOL_SOCKET, SO_LINGER},	  {IPPROTO_TCP, TCP_NODELAY}};
	for (size_t at = 0; at < sizeof options / sizeof *options; at++) {
		char value[64];
		socklen_t length = sizeof value;
		if (REAL(getsockopt)(from, options[at].level, options[at].name, value, &length) == 0)
			REAL(setsockopt)(to, options[at].level, options[at].name, value, length);
	}
}

/* Puts a connection over the program's socket. */
static int replace(int fd, int handed, uint32_t kind, const struct sockaddr *to, socklen_t length)
{
	int status = fcntl(fd, F_GETFL), flags = fcntl(fd, F_GETFD), no_delay = 0, family = AF_UNSPEC;
	socklen_t size = sizeof family;
	REAL(getsockopt)(handed, SOL_SOCKET, SO_DOMAIN, &family, &size);
	size = sizeof no_delay;
	REAL(getsockopt)(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
	copy_options(fd, handed);
	int done = status >= 0 && flags >= 0 && fcntl(handed, F_SETFL, status) == 0 &&
		   dup3(handed, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0) == fd;
	close(handed);
	if (done && (kind != 1 || family != to->sa_family))
		add_pair(fd, kind == 1, to, length, no_delay);
	return done;
}

EXPORT int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	const struct sockaddr *to = address.__sockaddr__;
	int saved = errno, type = 0;
	socklen_t size = sizeof type;
	uint32_t kind;
	struct pair pair;
	struct handover *it = find_handover(to, length);
	if (it && find_pair(fd, &pair)) {
		errno = EISCONN;
		return -1;
	}
	if (it && REAL(getsockopt)(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM) {
		int handed = take(it, &kind);
		if (handed >= 0 && replace(fd, handed, kind, to, length)) {
			errno = saved;
			return 0;
		}
	}
	errno = saved;
	return REAL(connect)(fd, address, length);
}

/* ---- What programs ask of a TCP socket ---- */

static int give_address(const struct sockaddr_storage *address, socklen_t has, struct sockaddr *to, socklen_t *length)
{
	if (!to || !length) {
		errno = EFAULT;
		return -1;
	}
	memcpy(to, address, *length < has ? *length : has);
	*length = has;
	return 0;
}

EXPORT int getpeername(int fd, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	struct pair pair;
	if (!find_pair(fd, &pair))
		return REAL(getpeername)(fd, address, length);
	return give_address(&pair.peer, pair.peer_length, address.__sockaddr__, length);
}

/* The local end is the bridge's: the unspecified address, without a port. */
EXPORT int getsockname(int fd, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	struct pair pair;
	struct sockaddr_storage local;
	if (!find_pair(fd, &pair))
		return REAL(getsockname)(fd, address, length);
	memset(&local, 0, sizeof local);
	local.ss_family = pair.peer.ss_family;
	return give_address(&local, pair.peer_length, address.__sockaddr__, length);
}

static int give_option(const void *value, socklen_t has, void *to, socklen_t *length)
{
	if (!to || !length) {
		errno = EFAULT;
		return -1;
	}
	*length = *length < has ? *length : has;
	memcpy(to, value, *length);
	return 0;
}

EXPORT int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length)
{
	struct pair pair;
	int ours = level == IPPROTO_TCP || level == IPPROTO_IP || level == IPPROTO_IPV6 ||
		   (level == SOL_SOCKET && (name == SO_DOMAIN || name == SO_PROTOCOL));
	if (!ours || !find_pair(fd, &pair) || (level == IPPROTO_TCP && pair.is_tcp))
		return REAL(getsockopt)(fd, level, name, value, length);
	if (level == IPPROTO_TCP && name == TCP_INFO) {
		struct tcp_info info = {.tcpi_state = TCP_ESTABLISHED};
		return give_option(&info, sizeof info, value, length);
	}
	int number = 0;
	if (level == SOL_SOCKET)
		number = name == SO_DOMAIN ? pair.peer.ss_family : IPPROTO_TCP;
	else if (level == IPPROTO_TCP && name == TCP_NODELAY)
		number = pair.no_delay;
	return give_option(&number, sizeof number, value, length);
}

/* What tunes TCP or IP is taken, and left to the bridge's own connection, which does not wait before it sends. */
EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	struct pair pair;
	int ours = level == IPPROTO_TCP || level == IPPROTO_IP || level == IPPROTO_IPV6;
	if (!ours || !find_pair(fd, &pair) || (level == IPPROTO_TCP && pair.is_tcp))
		return REAL(setsockopt)(fd, level, name, value, length);
	int number;
	if (level == IPPROTO_TCP && name == TCP_NODELAY && value && length >= sizeof number) {
		memcpy(&number, value, sizeof number);
		set_no_delay(&pair, number != 0);
	}
	return 0;
}

/* ---- Names ---- */

EXPORT int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict hints,
		       struct addrinfo **restrict found)
{
	char stand_in[32];
	int result = REAL(getaddrinfo)(host, service, hints, found);
	if (result == 0 || inside || !host || (hints && hints->ai_family == AF_INET6))
		return result;
	pthread_once(&listed, read_list);
	int number = named(host);
	if (number == 0)
		return result;
	snprintf(stand_in, sizeof stand_in, "127.77.0.%d", number);
	return REAL(getaddrinfo)(stand_in, service, hints, found);
}
