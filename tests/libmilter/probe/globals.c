/*
 * Calls the functions that come before smfi_main, each scenario in a process of its own, and prints what they return.
 *
 *   globals FOLDER PORT
 *
 * FOLDER is empty and becomes the working directory; nothing listens on PORT of loopback.
 */

#include <errno.h>
#include <fcntl.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *port;

static sfsistat on_eom(SMFICTX *ctx)
{
	(void) ctx;
	return SMFIS_CONTINUE;
}

static struct smfiDesc filter(int version)
{
	struct smfiDesc desc;

	memset(&desc, 0, sizeof desc);
	desc.xxfi_name = "globals";
	desc.xxfi_version = version;
	desc.xxfi_eom = on_eom;
	return desc;
}

/* Every socket of this process: where it is bound, whether it listens, and how. */
static void show_sockets(void)
{
	for (int fd = 3; fd < 64; fd++) {
		union { struct sockaddr any; struct sockaddr_in in; struct sockaddr_in6 in6; struct sockaddr_un un; } address;
		socklen_t length = sizeof address;
		char text[INET6_ADDRSTRLEN];
		int listens = 0, reuse = 0;
		socklen_t size = sizeof listens;

		memset(&address, 0, sizeof address);
		if (getsockname(fd, &address.any, &length) != 0)
			continue;
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
		getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &size);
		if (!listens)
			continue;
		if (address.any.sa_family == AF_UNIX)
			printf(" unix(%s)", address.un.sun_path);
		else if (address.any.sa_family == AF_INET)
			printf(" inet(%s,%s)", inet_ntop(AF_INET, &address.in.sin_addr, text, sizeof text),
				ntohs(address.in.sin_port) == atoi(port) ? "PORT" : "another");
		else
			printf(" inet6(%s,%s)", inet_ntop(AF_INET6, &address.in6.sin6_addr, text, sizeof text),
				ntohs(address.in6.sin6_port) == atoi(port) ? "PORT" : "another");
		printf(" reuse=%d cloexec=%d", reuse != 0, (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	}
}

/* Runs a scenario in a child, so that nothing of it is left for the next. */
#define SCENARIO(name, ...) \
	do { \
		fflush(stdout); \
		pid_t child = fork(); \
		if (child == 0) { \
			alarm(20); \
			printf("%s:", name); \
			__VA_ARGS__ \
			printf("\n"); \
			fflush(stdout); \
			_exit(0); \
		} \
		int status; \
		waitpid(child, &status, 0); \
		if (status != 0) \
			printf("%s: ended with %d\n", name, status); \
	} while (0)

#define SAY(call) printf(" %ld", (long) (call))

static void open_socket(const char *spec, int removes)
{
	char text[300], name[340];

	snprintf(text, sizeof text, spec, port);
	snprintf(name, sizeof name, "opensocket %s %d", spec, removes);
	SCENARIO(name, {
		umask(027);
		SAY(smfi_setconn(text));
		SAY(smfi_register(filter(SMFI_VERSION)));
		SAY(smfi_opensocket(removes));
		SAY(smfi_opensocket(removes));
		show_sockets();
	});
}

static void touch(const char *path)
{
	close(open(path, O_CREAT | O_WRONLY, 0644));
}

/* A socket file that nobody listens on. */
static void leave_stale(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	bind(fd, (struct sockaddr *) &address, sizeof address);
	close(fd);
}

static void show_file(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0)
		printf("file %s: errno %d\n", path, errno);
	else
		printf("file %s: %o\n", path, (unsigned) status.st_mode);
}

static void versions(void)
{
	static const int all[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 0x01000000, 0x01000001, 0x01000002, 0x0100007f, 0x01000100, 0x02000000, 0x00000100,
		0x7f000001, (int) 0x81000001, -1
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		char name[40];
		snprintf(name, sizeof name, "register version %#x", (unsigned) all[i]);
		SCENARIO(name, { SAY(smfi_register(filter(all[i]))); });
	}
}

static void sockets(void)
{
	static const char *const specs[] = {
		"local:a", "unix:b", ":c", "d", "./e", "LOCAL:f", "UnIx:g", "local: h", "local:i:j", "local:", "unix:", ":",
		"inet:%s@127.0.0.1", "inet:%s@localhost", "inet:%s@[127.0.0.1]", "INET:%s@127.0.0.1", "inet:%s", "inet: %s@127.0.0.1",
		"inet:%s@", "inet:@127.0.0.1", "inet:", "inet:x%s@127.0.0.1", "inet:%sx@127.0.0.1", "inet:no-such-service@127.0.0.1",
		"inet:%s@no.such.host.invalid", "inet:%s@[127.0.0.1", "inet:%s@127.0.0.1]", "inet:%s@127.0.0.1@127.0.0.1",
		"inet6:%s@[::1]", "inet6:%s@::1", "inet6:%s@[IPv6:::1]", "inet6:%s@IPv6:::1", "inet6:%s", "inet6:%s@127.0.0.1",
		"inet4:%s@127.0.0.1", "tcp:%s@127.0.0.1", "x:y", "inet:%s@256.1.1.1", "inet:%s@[256.1.1.1]"
	};

	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
		open_socket(specs[i], 0);
	for (const char *path = "abcdefghi"; *path != 0; path++) {
		char name[2] = { *path, 0 };
		show_file(name);
	}
	show_file(" h");
	show_file("i:j");
	touch("file");
	leave_stale("stale");
	mkdir("folder", 0755);
	symlink("stale", "link");
	open_socket("local:file", 1);
	open_socket("local:file", 0);
	open_socket("local:folder", 1);
	open_socket("local:no/such/folder", 1);
	open_socket("local:stale", 0);
	open_socket("local:link", 1);
	open_socket("local:stale", 1);
	show_file("stale");
	show_file("file");
	show_file("link");
	for (int length = 105; length <= 109; length++) {
		char spec[300] = "local:";
		memset(spec + 6, 'p', (size_t) length);
		open_socket(spec, 0);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3 || chdir(argv[1]) != 0)
		return 2;
	port = argv[2];
	SCENARIO("version", {
		unsigned major, minor, patch;
		SAY(smfi_version(&major, &minor, &patch));
		printf(" %u.%u.%u", major, minor, patch);
		SAY(smfi_version(NULL, NULL, NULL));
		SAY(smfi_version(&major, NULL, NULL));
	});
	SCENARIO("setconn", {
		SAY(smfi_setconn(NULL));
		SAY(smfi_setconn(""));
		SAY(smfi_setconn("no such syntax: at all"));
		SAY(smfi_setconn("local:x"));
		SAY(smfi_setconn("local:y"));
	});
	SCENARIO("setbacklog", {
		SAY(smfi_setbacklog(-1));
		SAY(smfi_setbacklog(0));
		SAY(smfi_setbacklog(1));
		SAY(smfi_setbacklog(100000));
	});
	SCENARIO("settimeout", {
		SAY(smfi_settimeout(-1));
		SAY(smfi_settimeout(0));
		SAY(smfi_settimeout(1));
		SAY(smfi_settimeout(2147483647));
	});
	SCENARIO("setdbg", {
		SAY(smfi_setdbg(-1));
		SAY(smfi_setdbg(0));
		SAY(smfi_setdbg(0));
	});
	SCENARIO("setmaxdatasize", {
		SAY(smfi_setmaxdatasize(1));
		SAY(smfi_setmaxdatasize(0));
		SAY(smfi_setmaxdatasize((size_t) -1));
		SAY(smfi_setmaxdatasize(65535));
	});
	SCENARIO("opensocket without anything", { SAY(smfi_opensocket(1)); });
	SCENARIO("opensocket without setconn", {
		SAY(smfi_register(filter(SMFI_VERSION)));
		SAY(smfi_opensocket(1));
	});
	SCENARIO("opensocket without register", {
		SAY(smfi_setconn("local:unregistered"));
		SAY(smfi_opensocket(1));
		show_sockets();
	});
	SCENARIO("only the low byte of a bool", {
		leave_stale("low");
		SAY(smfi_setconn("local:low"));
		SAY(smfi_register(filter(SMFI_VERSION)));
		SAY(smfi_opensocket(0x100));
	});
	SCENARIO("register", {
		SAY(smfi_register(filter(SMFI_VERSION)));
		struct smfiDesc unnamed = filter(SMFI_VERSION);
		unnamed.xxfi_name = NULL;
		SAY(smfi_register(unnamed));
		unnamed.xxfi_flags = ~0UL;
		SAY(smfi_register(unnamed));
	});
	SCENARIO("main without setconn", {
		SAY(smfi_register(filter(SMFI_VERSION)));
		SAY(smfi_main());
	});
	SCENARIO("main where it cannot listen", {
		SAY(smfi_setconn("local:no/such/folder"));
		SAY(smfi_register(filter(SMFI_VERSION)));
		SAY(smfi_main());
	});
	SCENARIO("main after stop", {
		SAY(smfi_setconn("local:stopped"));
		SAY(smfi_register(filter(SMFI_VERSION)));
		SAY(smfi_opensocket(1));
		SAY(smfi_stop());
		SAY(smfi_main());
		SAY(smfi_stop());
		SAY(smfi_main());
	});
	show_file("stopped");
	versions();
	sockets();
	return 0;
}
