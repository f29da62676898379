/*
 * The first program in a bubblewrap sandbox whose files are an image: gives up root and becomes the application.
 *
 *   enter UID NAME... -- PROGRAM ARGUMENT...
 *
 * It is ours and linked statically, since it runs as root and none of the image's own programs may: setpriv, a shell and a
 * loader of libraries would be. The value of the n-th NAME comes as the variable HEADSTART_VALUE_n (see bubblewrap.rs).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what, int status)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return status;
}

/* Gives up the user, the groups and every capability, for good. 0, or -1. */
static int give_up(unsigned long id)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || setgroups(0, NULL) < 0)
		return -1;
	if (setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return -1;
	if (syscall(SYS_capset, &header, none) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int main(int count, char **arguments)
{
	int last = 2;

	while (last < count && strcmp(arguments[last], "--") != 0)
		last++;
	if (last + 1 >= count) {
		fputs("enter: no program\n", stderr);
		return 127;
	}
	if (give_up(strtoul(arguments[1], NULL, 10)) < 0)
		return fail("enter: cannot give up root", 126);

	/* All values first: a name may be another's carrier. */
	char **values = calloc(last, sizeof(*values));
	if (values == NULL)
		return fail("enter", 126);
	for (int index = 2; index < last; index++) {
		char carrier[40];
		snprintf(carrier, sizeof(carrier), "HEADSTART_VALUE_%d", index - 2);
		char *value = getenv(carrier);
		values[index] = value == NULL ? NULL : strdup(value);
	}
	clearenv();
	for (int index = 2; index < last; index++)
		if (values[index] != NULL && setenv(arguments[index], values[index], 1) < 0)
			return fail("enter", 126);
	execvp(arguments[last + 1], &arguments[last + 1]);
	return fail(arguments[last + 1], 127);
}
