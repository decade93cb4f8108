/*
 * A filter that does what a script says, and tells what happens to it on standard output.
 *
 *   scripted SOCKET SCRIPT
 *
 * A line of the script is CALLBACK|OPERATION|ARGUMENT|…; all lines of a callback are done, in their order, each time it
 * is called. "return|N" at the end; 0 if there is none. "~" is a null pointer. "setup" lines are done before smfi_main,
 * "end" lines after it.
 */
#include <libmilter/mfapi.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define MAXLINES 256
#define MAXWORDS 40

static char *lines[MAXLINES][MAXWORDS + 1];
static int nlines;
static SMFICTX *kept; /* a context of old */
static char *symbol;  /* a macro's value of old */

static void
say(const char *format, ...)
{
	va_list arguments;
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
	pthread_mutex_unlock(&lock);
}

static char *
word(char **line, int number)
{
	int count;

	for (count = 0; line[count] != NULL; count++)
		;
	return number < count && strcmp(line[number], "~") != 0 ? line[number] : NULL;
}

static int
number(char **line, int place)
{
	char *text = word(line, place);

	return text == NULL ? 0 : (int) strtol(text, NULL, 0);
}

struct job
{
	SMFICTX *ctx;
	char **line;
};

static int operate(SMFICTX *ctx, char **line);

static void *
elsewhere(void *data)
{
	struct job *job = data;

	operate(job->ctx, job->line);
	return NULL;
}

/* The rest of a line, done by another thread. */
static void
in_thread(SMFICTX *ctx, char **line)
{
	struct job job;
	pthread_t thread;

	job.ctx = ctx;
	job.line = line;
	pthread_create(&thread, NULL, elsewhere, &job);
	pthread_join(thread, NULL);
}

/* Does what a line says, from its second word on; what it says to return, or -1. */
static int
operate(SMFICTX *ctx, char **line)
{
	const char *what = line[1];
	char **l = line;
	int r = -2;

	if (strcmp(what, "return") == 0)
		return number(l, 2);
	if (strcmp(what, "addheader") == 0)
		r = smfi_addheader(ctx, word(l, 2), word(l, 3));
	else if (strcmp(what, "insheader") == 0)
		r = smfi_insheader(ctx, number(l, 2), word(l, 3), word(l, 4));
	else if (strcmp(what, "chgheader") == 0)
		r = smfi_chgheader(ctx, word(l, 2), number(l, 3), word(l, 4));
	else if (strcmp(what, "chgfrom") == 0)
		r = smfi_chgfrom(ctx, word(l, 2), word(l, 3));
	else if (strcmp(what, "addrcpt") == 0)
		r = smfi_addrcpt(ctx, word(l, 2));
	else if (strcmp(what, "addrcpt_par") == 0)
		r = smfi_addrcpt_par(ctx, word(l, 2), word(l, 3));
	else if (strcmp(what, "delrcpt") == 0)
		r = smfi_delrcpt(ctx, word(l, 2));
	else if (strcmp(what, "quarantine") == 0)
		r = smfi_quarantine(ctx, word(l, 2));
	else if (strcmp(what, "replacebody") == 0)
		r = smfi_replacebody(ctx, (unsigned char *) word(l, 2), l[3] != NULL ? number(l, 3) : (int) strlen(l[2]));
	else if (strcmp(what, "replacebody_size") == 0)
	{
		unsigned char *body = malloc(number(l, 2) + 1);

		memset(body, 'b', number(l, 2));
		r = smfi_replacebody(ctx, body, number(l, 2));
		free(body);
	}
	else if (strcmp(what, "addheader_size") == 0)
	{
		char *value = malloc(number(l, 2) + 1);

		memset(value, 'v', number(l, 2));
		value[number(l, 2)] = '\0';
		r = smfi_addheader(ctx, "N", value);
		free(value);
	}
	else if (strcmp(what, "progress") == 0)
		r = smfi_progress(ctx);
	else if (strcmp(what, "setreply") == 0)
		r = smfi_setreply(ctx, word(l, 2), word(l, 3), word(l, 4));
	else if (strcmp(what, "setmlreply") == 0)
#define W(n) word(l, n)
		r = smfi_setmlreply(ctx, W(2), W(3), W(4), W(5), W(6), W(7), W(8), W(9), W(10), W(11), W(12), W(13),
				    W(14), W(15), W(16), W(17), W(18), W(19), W(20), W(21), W(22), W(23), W(24), W(25),
				    W(26), W(27), W(28), W(29), W(30), W(31), W(32), W(33), W(34), W(35), W(36), (char *) NULL);
	else if (strcmp(what, "setpriv") == 0)
		r = smfi_setpriv(ctx, l[2] != NULL && strcmp(l[2], "~") != 0 ? (void *) l[2] : NULL);
	else if (strcmp(what, "getpriv") == 0)
	{
		char *private = smfi_getpriv(ctx);

		say("getpriv %s", private == NULL ? "(null)" : private);
		return -1;
	}
	else if (strcmp(what, "getsymval") == 0)
	{
		char *value = smfi_getsymval(ctx, word(l, 2));

		say("getsymval %s %s", l[2], value == NULL ? "(null)" : value);
		return -1;
	}
	else if (strcmp(what, "keepsymval") == 0)
	{
		symbol = smfi_getsymval(ctx, word(l, 2));
		return -1;
	}
	else if (strcmp(what, "saysymval") == 0)
	{
		say("kept %s", symbol == NULL ? "(null)" : symbol);
		return -1;
	}
	else if (strcmp(what, "setsymlist") == 0)
		r = smfi_setsymlist(ctx, number(l, 2), word(l, 3));
	else if (strcmp(what, "setmaxdatasize") == 0)
		r = (int) smfi_setmaxdatasize((size_t) number(l, 2));
	else if (strcmp(what, "settimeout") == 0)
		r = smfi_settimeout(number(l, 2));
	else if (strcmp(what, "setbacklog") == 0)
		r = smfi_setbacklog(number(l, 2));
	else if (strcmp(what, "setdbg") == 0)
		r = smfi_setdbg(number(l, 2));
	else if (strcmp(what, "setconn") == 0)
		r = smfi_setconn(word(l, 2));
	else if (strcmp(what, "opensocket") == 0)
		r = smfi_opensocket(number(l, 2) != 0);
	else if (strcmp(what, "stop") == 0)
		r = smfi_stop();
	else if (strcmp(what, "main") == 0)
		r = smfi_main();
	else if (strcmp(what, "version") == 0)
	{
		unsigned int a = 9, b = 9, c = 9;

		r = smfi_version(&a, NULL, NULL) + smfi_version(NULL, &b, NULL) + smfi_version(&a, &b, &c);
		say("version %u.%u.%u %d", a, b, c, r);
		return -1;
	}
	else if (strcmp(what, "usleep") == 0)
	{
		usleep((useconds_t) number(l, 2));
		return -1;
	}
	else if (strcmp(what, "kill") == 0)
	{
		kill(getpid(), number(l, 2));
		return -1;
	}
	/* What programs do before smfi_main, to be a daemon: the parent ends. */
	else if (strcmp(what, "daemon") == 0)
	{
		if (fork() != 0)
			_exit(0);
		setsid();
		say("daemon %d", (int) getpid());
		return -1;
	}
	else if (strcmp(what, "system") == 0)
		r = system(l[2]);
	else if (strcmp(what, "keep") == 0)
	{
		kept = ctx;
		return -1;
	}
	else if (strcmp(what, "say") == 0)
	{
		say("%s", l[2]);
		return -1;
	}
	/* Another context, or another thread, and what to do with it. */
	else if (strcmp(what, "null") == 0)
		return operate(NULL, l + 1);
	else if (strcmp(what, "kept") == 0)
		return operate(kept, l + 1);
	else if (strcmp(what, "wild") == 0)
		return operate((SMFICTX *) (unsigned long) 0xdeadbeef, l + 1);
	else if (strcmp(what, "thread") == 0)
	{
		in_thread(ctx, l + 1);
		return -1;
	}
	else
	{
		say("no such operation: %s", what);
		exit(3);
	}
	say("%s %d", what, r);
	return -1;
}

static int
run(SMFICTX *ctx, const char *callback)
{
	int line, answer = SMFIS_CONTINUE;

	for (line = 0; line < nlines; line++)
	{
		int r;

		if (strcmp(lines[line][0], callback) != 0)
			continue;
		r = operate(ctx, lines[line]);
		if (r != -1 || strcmp(lines[line][1], "return") == 0)
			answer = r;
	}
	return answer;
}

static int
has(const char *callback)
{
	int line;

	for (line = 0; line < nlines; line++)
		if (strcmp(lines[line][0], callback) == 0)
			return 1;
	return 0;
}

static sfsistat
on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (address == NULL)
		say("connect %s null", host);
	else if (address->sa_family == AF_INET)
	{
		struct sockaddr_in *in = (struct sockaddr_in *) address;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		say("connect %s inet %s %d", host, text, ntohs(in->sin_port));
	}
	else if (address->sa_family == AF_INET6)
	{
		struct sockaddr_in6 *in = (struct sockaddr_in6 *) address;

		inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
		say("connect %s inet6 %s %d", host, text, ntohs(in->sin6_port));
	}
	else
		say("connect %s unix %s", host, ((struct sockaddr_un *) address)->sun_path);
	return run(ctx, "connect");
}

static sfsistat
on_helo(SMFICTX *ctx, char *name)
{
	say("helo %s", name);
	return run(ctx, "helo");
}

static void
envelope(const char *what, char **arguments)
{
	char text[4096];
	size_t used = 0;

	text[0] = '\0';
	for (; *arguments != NULL && used < sizeof text - 1; arguments++)
	{
		used += (size_t) snprintf(text + used, sizeof text - used, " %s", *arguments);
		/* Programs may write there. */
		if (**arguments != '\0')
			**arguments = '#';
	}
	say("%s%s", what, text);
}

static sfsistat
on_mail(SMFICTX *ctx, char **arguments)
{
	envelope("mail", arguments);
	return run(ctx, "mail");
}

static sfsistat
on_rcpt(SMFICTX *ctx, char **arguments)
{
	envelope("rcpt", arguments);
	return run(ctx, "rcpt");
}

static sfsistat
on_data(SMFICTX *ctx)
{
	say("data");
	return run(ctx, "data");
}

static sfsistat
on_header(SMFICTX *ctx, char *field, char *value)
{
	say("header %s:%s", field, value);
	return run(ctx, "header");
}

static sfsistat
on_eoh(SMFICTX *ctx)
{
	say("eoh");
	return run(ctx, "eoh");
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *piece, size_t length)
{
	unsigned int sum = 0;
	size_t at;

	for (at = 0; at < length; at++)
		sum = sum * 31 + piece[at];
	memset(piece, 0, length);
	say("body %lu %u", (unsigned long) length, sum);
	return run(ctx, "body");
}

static sfsistat
on_eom(SMFICTX *ctx)
{
	say("eom");
	return run(ctx, "eom");
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	say("abort");
	return run(ctx, "abort");
}

static sfsistat
on_close(SMFICTX *ctx)
{
	say("close");
	return run(ctx, "close");
}

static sfsistat
on_unknown(SMFICTX *ctx, const char *command)
{
	say("unknown %s", command);
	return run(ctx, "unknown");
}

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	int line;

	say("negotiate %lx %lx %lx %lx preset %lx %lx %lx %lx", f0, f1, f2, f3, *pf0, *pf1, *pf2, *pf3);
	for (line = 0; line < nlines; line++)
	{
		if (strcmp(lines[line][0], "actions") == 0)
			*pf0 = strtoul(lines[line][1], NULL, 16);
		if (strcmp(lines[line][0], "steps") == 0)
			*pf1 = strtoul(lines[line][1], NULL, 16);
	}
	return has("negotiate") ? run(ctx, "negotiate") : SMFIS_ALL_OPTS;
}

static struct smfiDesc filter = {
	"scripted",  SMFI_VERSION, 0x1ff,   on_connect, on_helo,  on_mail,    on_rcpt, on_header,
	on_eoh,	     on_body,	   on_eom,  on_abort,	on_close, on_unknown, on_data, on_negotiate,
};

static void
without(const char *name)
{
#define WITHOUT(what) \
	if (strcmp(name, #what) == 0) \
		filter.xxfi_##what = NULL;
	WITHOUT(connect) WITHOUT(helo) WITHOUT(envfrom) WITHOUT(envrcpt) WITHOUT(data) WITHOUT(header) WITHOUT(eoh)
	WITHOUT(body) WITHOUT(eom) WITHOUT(abort) WITHOUT(close) WITHOUT(unknown) WITHOUT(negotiate)
	if (strcmp(name, "name") == 0)
		filter.xxfi_name = NULL;
}

static void
read_script(const char *path)
{
	static char text[1 << 16];
	FILE *file = fopen(path, "r");
	size_t length = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
	char *line, *next;

	text[length] = '\0';
	if (file != NULL)
		fclose(file);
	for (line = text; *line != '\0'; line = next)
	{
		int words = 0;
		char *end = strchr(line, '\n');

		next = end == NULL ? line + strlen(line) : end + 1;
		if (end != NULL)
			*end = '\0';
		if (*line == '\0')
			continue;
		while (line != NULL && words < MAXWORDS)
		{
			char *bar = strchr(line, '|');

			if (bar != NULL)
				*bar = '\0';
			lines[nlines][words++] = line;
			line = bar == NULL ? NULL : bar + 1;
		}
		nlines++;
	}
}

int
main(int argc, char **argv)
{
	int line, r;

	if (argc != 3)
		return 2;
	read_script(argv[2]);
	for (line = 0; line < nlines; line++)
	{
		if (strcmp(lines[line][0], "without") == 0)
			without(lines[line][1]);
		if (strcmp(lines[line][0], "version") == 0)
			filter.xxfi_version = number(lines[line], 1);
		if (strcmp(lines[line][0], "flags") == 0)
			filter.xxfi_flags = strtoul(lines[line][1], NULL, 16);
	}
	run(NULL, "before");
	r = smfi_register(filter);
	if (r != MI_SUCCESS)
	{
		say("register %d", r);
		return 1;
	}
	if (smfi_setconn(argv[1]) != MI_SUCCESS)
		return 1;
	run(NULL, "setup");
	r = smfi_main();
	say("main %d", r);
	run(NULL, "end");
	return r == MI_SUCCESS ? 0 : 1;
}
