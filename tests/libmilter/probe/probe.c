/*
 * A filter that reports every callback with all that it is given, and does in each what a script says: calls of
 * smfi_ functions with any arguments, and any return value. One binary, run on one libmilter and on another.
 *
 *   probe CONTROL SOCKET [NAME=VALUE]...
 *
 * CONTROL is a unix socket on which the driver waits; scripts come from there and reports go there. SOCKET is what
 * smfi_setconn takes. The options are in `options` below; README.md explains scripts and reports.
 */

#include <arpa/inet.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum stage {
	NEGOTIATE, CONNECT, HELO, MAIL, RCPT, DATA, HEADER, EOH, BODY, EOM, ABORT, CLOSE, UNKNOWN, STAGES
};

static const char *const stage_names[STAGES] = {
	"negotiate", "connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom", "abort", "close",
	"unknown"
};

/* The macros that every callback asks for. */
static char *const macros[] = {
	"j", "_", "v", "i", "{i}", "{j}", "x", "{x}", "{mail_addr}", "{rcpt_addr}", "{daemon_name}", "{msg_id}",
	"mail_addr", "{no_such}", NULL
};

enum { MAX_ARGS = 44, LONGEST_SHOWN = 400, START_SHOWN = 48 };

struct arg {
	char *text;		/* NULL for a null pointer */
	size_t length;
	long number;
};

/* One line of a script: what to do at the nth callback of a stage (0: at each). */
struct step {
	enum stage stage;
	int nth;
	char *action;
	int null_context;
	int count;
	struct arg args[MAX_ARGS];
	struct step *next;
};

struct script {
	struct step *steps;
	int users;		/* sessions, and the current script itself */
	char id[24];
};

struct session {
	SMFICTX *ctx;
	struct script *script;
	unsigned long number;
	int counts[STAGES];
	int busy;
	struct session *next;
};

struct report {
	char *text;
	size_t length, room;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;
static struct script *current;
static struct session *sessions;
static unsigned long session_count;
/* A connection is over at its close callback; otherwise its counts go on in the one that may follow on the stream. */
static int forgetful;
static int control = -1;

static void die(const char *what)
{
	perror(what);
	exit(3);
}

static void *need(void *memory)
{
	if (memory == NULL)
		die("memory");
	return memory;
}

/* Reports. */

static void put_bytes(struct report *report, const char *bytes, size_t length)
{
	if (report->length + length > report->room) {
		report->room = 2 * (report->length + length) + 512;
		report->text = need(realloc(report->text, report->room));
	}
	memcpy(report->text + report->length, bytes, length);
	report->length += length;
}

static void put(struct report *report, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	put_bytes(report, line, length < (int) sizeof line ? (size_t) length : sizeof line - 1);
}

/* In quotes; of long text the beginning, the length and a sum. */
static void put_text(struct report *report, const void *text, size_t length)
{
	const unsigned char *bytes = text;
	size_t shown = length > LONGEST_SHOWN ? START_SHOWN : length;

	if (text == NULL) {
		put(report, " ~");
		return;
	}
	put(report, " \"");
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = bytes[i];
		if (c < ' ' || c > '~' || c == '"' || c == '\\')
			put(report, "\\x%02x", c);
		else
			put_bytes(report, (const char *) &bytes[i], 1);
	}
	put(report, "\"");
	if (shown < length) {
		uint32_t sum = 2166136261u;
		for (size_t i = 0; i < length; i++)
			sum = (sum ^ bytes[i]) * 16777619u;
		put(report, "+%zu:%08x", length, (unsigned) sum);
	}
}

static void put_string(struct report *report, const char *text)
{
	put_text(report, text, text == NULL ? 0 : strlen(text));
}

static void send_all(const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(control, bytes, length, MSG_NOSIGNAL);
		if (sent <= 0)
			_exit(4);	/* The driver is gone. */
		bytes += sent;
		length -= (size_t) sent;
	}
}

static void tell(const char *id, unsigned long session, struct report *report)
{
	char head[80];
	int length = snprintf(head, sizeof head, "%s %lu %zu\n", id, session, report->length);

	pthread_mutex_lock(&control_lock);
	send_all(head, (size_t) length);
	send_all(report->text, report->length);
	pthread_mutex_unlock(&control_lock);
	free(report->text);
}

static void tell_line(const char *id, const char *word, int number)
{
	struct report report = { 0 };

	put(&report, "%s %d\n", word, number);
	tell(id, 0, &report);
}

/* Scripts. */

static void drop_script(struct script *script)
{
	if (script == NULL || --script->users > 0)
		return;
	while (script->steps != NULL) {
		struct step *step = script->steps;
		script->steps = step->next;
		for (int i = 0; i < step->count; i++)
			free(step->args[i].text);
		free(step->action);
		free(step);
	}
	free(script);
}

static char hex(const char *digits)
{
	char text[3] = { digits[0], digits[1], 0 };
	return (char) strtol(text, NULL, 16);
}

/* ~  "text with \xNN"  *COUNT:"text"  NUMBER */
static char *read_arg(char *at, struct arg *arg)
{
	unsigned long times = 1;

	memset(arg, 0, sizeof *arg);
	if (*at == '~')
		return at + 1;
	if (*at == '*') {
		times = strtoul(at + 1, &at, 10);
		at++;
	}
	if (*at != '"') {
		arg->number = strtol(at, &at, 0);
		return at;
	}
	char *text = need(malloc(strlen(at) + 1));
	size_t length = 0;
	for (at++; *at != '"'; at++) {
		if (*at == 0 || *at == '\n')
			die("unterminated text in a script");
		if (at[0] == '\\' && at[1] == 'x') {
			text[length++] = hex(at + 2);
			at += 3;
		} else
			text[length++] = *at;
	}
	arg->length = length * times;
	arg->text = need(malloc(arg->length + 1));
	for (unsigned long i = 0; i < times; i++)
		memcpy(arg->text + i * length, text, length);
	arg->text[arg->length] = 0;
	free(text);
	return at + 1;
}

static enum stage stage_named(const char *name, size_t length)
{
	for (int stage = 0; stage < STAGES; stage++)
		if (strlen(stage_names[stage]) == length && memcmp(stage_names[stage], name, length) == 0)
			return (enum stage) stage;
	die("no such stage");
	return STAGES;
}

/* Lines `STAGE NTH ACTION ARGUMENT...`; NTH is a number or `*`, ACTION may begin with `null-`. */
static struct script *read_script(const char *id, char *text)
{
	struct script *script = need(calloc(1, sizeof *script));
	struct step **end = &script->steps;

	script->users = 1;
	snprintf(script->id, sizeof script->id, "%s", id);
	while (*text != 0) {
		struct step *step = need(calloc(1, sizeof *step));
		size_t word = strcspn(text, " ");
		step->stage = stage_named(text, word);
		text += word + 1;
		step->nth = *text == '*' ? 0 : atoi(text);
		text += strcspn(text, " ") + 1;
		if (strncmp(text, "null-", 5) == 0) {
			step->null_context = 1;
			text += 5;
		}
		word = strcspn(text, " \n");
		step->action = need(strndup(text, word));
		text += word;
		while (*text == ' ' && step->count < MAX_ARGS)
			text = read_arg(text + 1, &step->args[step->count++]);
		if (*text != '\n')
			die("a line of a script goes on");
		text++;
		*end = step;
		end = &step->next;
	}
	return script;
}

/* Sessions. */

static struct session *session_of(SMFICTX *ctx)
{
	pthread_mutex_lock(&lock);
	struct session *session = sessions;
	while (session != NULL && session->ctx != ctx)
		session = session->next;
	if (session == NULL) {
		session = need(calloc(1, sizeof *session));
		session->ctx = ctx;
		session->number = ++session_count;
		session->script = current;
		current->users++;
		session->next = sessions;
		sessions = session;
	}
	pthread_mutex_unlock(&lock);
	return session;
}

static void forget(struct session **at)
{
	struct session *ended = *at;

	*at = ended->next;
	drop_script(ended->script);
	free(ended);
}

static void end_session(struct session *ended)
{
	pthread_mutex_lock(&lock);
	struct session **at = &sessions;
	while (*at != ended)
		at = &(*at)->next;
	forget(at);
	pthread_mutex_unlock(&lock);
}

/* The sessions of the script before. */
static void forget_idle(void)
{
	struct session **at = &sessions;

	while (*at != NULL) {
		if (__atomic_load_n(&(*at)->busy, __ATOMIC_SEQ_CST))
			at = &(*at)->next;
		else
			forget(at);
	}
}

/* Whatever the driver sends is the script of the sessions that begin from now on: `ID LENGTH` and the text. */
static void *read_control(void *unused)
{
	FILE *input = fdopen(dup(control), "r");
	char id[24];
	size_t length;

	(void) unused;
	while (fscanf(input, "%23s %zu", id, &length) == 2 && fgetc(input) == '\n') {
		char *text = need(calloc(1, length + 1));
		if (fread(text, 1, length, input) != length)
			break;
		struct script *script = read_script(id, text);
		free(text);
		pthread_mutex_lock(&lock);
		forget_idle();
		drop_script(current);
		current = script;
		pthread_mutex_unlock(&lock);
		tell_line(id, "ready", 0);
	}
	_exit(0);
}

/* What a callback does. */

static char *str(struct step *step, int index)
{
	return index < step->count ? step->args[index].text : NULL;
}

static long num(struct step *step, int index)
{
	return index < step->count ? step->args[index].number : 0;
}

static int many_lines(SMFICTX *ctx, struct step *step)
{
#define LINE(n) str(step, (n) + 2)
#define TEN(n) \
	LINE(n), LINE(n + 1), LINE(n + 2), LINE(n + 3), LINE(n + 4), LINE(n + 5), LINE(n + 6), LINE(n + 7), \
	LINE(n + 8), LINE(n + 9)
	return smfi_setmlreply(ctx, str(step, 0), str(step, 1), TEN(0), TEN(10), TEN(20), TEN(30), NULL);
}

/* Calls what the step names and reports what it returns. */
static void call(struct report *report, SMFICTX *ctx, struct step *step)
{
	const char *name = step->action;
	int result;

	/* Two functions for one thing. */
	put(report, "  %s", strcmp(name, "setmlreply") == 0 ? "setreply" : name);
	if (strcmp(name, "getsymval") == 0) {
		put_string(report, smfi_getsymval(ctx, str(step, 0)));
		put(report, "\n");
		return;
	}
	if (strcmp(name, "getpriv") == 0) {
		put(report, " %ld\n", (long) (intptr_t) smfi_getpriv(ctx));
		return;
	}
	if (strcmp(name, "setmaxdatasize") == 0) {
		put(report, " %zu\n", smfi_setmaxdatasize((size_t) num(step, 0)));
		return;
	}
	if (strcmp(name, "addheader") == 0)
		result = smfi_addheader(ctx, str(step, 0), str(step, 1));
	else if (strcmp(name, "chgheader") == 0)
		result = smfi_chgheader(ctx, str(step, 0), (int) num(step, 1), str(step, 2));
	else if (strcmp(name, "insheader") == 0)
		result = smfi_insheader(ctx, (int) num(step, 0), str(step, 1), str(step, 2));
	else if (strcmp(name, "chgfrom") == 0)
		result = smfi_chgfrom(ctx, str(step, 0), str(step, 1));
	else if (strcmp(name, "addrcpt") == 0)
		result = smfi_addrcpt(ctx, str(step, 0));
	else if (strcmp(name, "addrcpt_par") == 0)
		result = smfi_addrcpt_par(ctx, str(step, 0), str(step, 1));
	else if (strcmp(name, "delrcpt") == 0)
		result = smfi_delrcpt(ctx, str(step, 0));
	else if (strcmp(name, "progress") == 0)
		result = smfi_progress(ctx);
	else if (strcmp(name, "replacebody") == 0)
		result = smfi_replacebody(ctx, (unsigned char *) str(step, 0),
			step->count > 1 ? (int) num(step, 1) : (int) step->args[0].length);
	else if (strcmp(name, "quarantine") == 0)
		result = smfi_quarantine(ctx, str(step, 0));
	else if (strcmp(name, "setreply") == 0)
		result = smfi_setreply(ctx, str(step, 0), str(step, 1), str(step, 2));
	else if (strcmp(name, "setmlreply") == 0)
		result = many_lines(ctx, step);
	else if (strcmp(name, "setsymlist") == 0)
		result = smfi_setsymlist(ctx, (int) num(step, 0), str(step, 1));
	else if (strcmp(name, "setpriv") == 0)
		result = smfi_setpriv(ctx, (void *) (intptr_t) num(step, 0));
	else if (strcmp(name, "stop") == 0)
		result = smfi_stop();
	else
		die(name);
	put(report, " %d\n", result);
}

static void put_macros(struct report *report, SMFICTX *ctx)
{
	for (char *const *name = macros; *name != NULL; name++) {
		char *value = smfi_getsymval(ctx, *name);
		if (value != NULL) {
			put(report, "  macro %s", *name);
			put_string(report, value);
			put(report, "\n");
		}
	}
}

struct callback {
	struct session *session;
	struct report report;
	enum stage stage;
};

static void begin(struct callback *callback, SMFICTX *ctx, enum stage stage)
{
	memset(callback, 0, sizeof *callback);
	callback->session = session_of(ctx);
	callback->stage = stage;
	if (__atomic_exchange_n(&callback->session->busy, 1, __ATOMIC_SEQ_CST))
		put(&callback->report, "another callback of this connection is running\n");
	callback->session->counts[stage]++;
	put(&callback->report, "%s", stage_names[stage]);
}

/* After what the callback was given: the macros, what the script wants, and the end of the report. */
static sfsistat end(struct callback *callback)
{
	struct session *session = callback->session;
	struct report *report = &callback->report;
	int status = SMFIS_CONTINUE;

	put(report, "\n");
	put_macros(report, session->ctx);
	for (struct step *step = session->script->steps; step != NULL; step = step->next) {
		if (step->stage != callback->stage || (step->nth != 0 && step->nth != session->counts[step->stage]))
			continue;
		if (strcmp(step->action, "return") == 0)
			status = (int) num(step, 0);
		else if (strcmp(step->action, "sleep") == 0)
			usleep((useconds_t) num(step, 0) * 1000);
		else if (strcmp(step->action, "out") != 0 && strcmp(step->action, "scribble") != 0)
			call(report, step->null_context ? NULL : session->ctx, step);
	}
	put(report, "  return %d\n", status);
	__atomic_store_n(&session->busy, 0, __ATOMIC_SEQ_CST);
	tell(session->script->id, session->number, report);
	if (callback->stage == CLOSE && forgetful)
		end_session(session);
	return status;
}

/* Whether the script wants the arguments to be overwritten, as callbacks may. */
static int scribbles(struct callback *callback)
{
	struct session *session = callback->session;

	for (struct step *step = session->script->steps; step != NULL; step = step->next)
		if (step->stage == callback->stage && strcmp(step->action, "scribble") == 0)
			return 1;
	return 0;
}

static void given(struct callback *callback, char *text)
{
	put_string(&callback->report, text);
	if (scribbles(callback))
		memset(text, 'x', strlen(text));
}

/* The callbacks. */

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	struct callback callback;
	unsigned long *outs[] = { pf0, pf1, pf2, pf3 };

	begin(&callback, ctx, NEGOTIATE);
	put(&callback.report, " %lx %lx %lx %lx preset %lx %lx %lx %lx", f0, f1, f2, f3, *pf0, *pf1, *pf2, *pf3);
	for (struct step *step = callback.session->script->steps; step != NULL; step = step->next)
		if (step->stage == NEGOTIATE && strcmp(step->action, "out") == 0)
			*outs[num(step, 0) & 3] = (unsigned long) num(step, 1);
	return end(&callback);
}

static void put_address(struct report *report, _SOCK_ADDR *address)
{
	char text[INET6_ADDRSTRLEN];

	if (address == NULL)
		put(report, " ~");
	else if (address->sa_family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *) address;
		put(report, " inet %s %d", inet_ntop(AF_INET, &in->sin_addr, text, sizeof text), ntohs(in->sin_port));
	} else if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) address;
		put(report, " inet6 %s %d", inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text),
			ntohs(in6->sin6_port));
		put(report, " %u %u", (unsigned) in6->sin6_flowinfo, (unsigned) in6->sin6_scope_id);
	} else if (address->sa_family == AF_UNIX) {
		put(report, " unix");
		put_string(report, ((struct sockaddr_un *) address)->sun_path);
	} else
		put(report, " family %d", address->sa_family);
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address)
{
	struct callback callback;

	begin(&callback, ctx, CONNECT);
	given(&callback, host);
	put_address(&callback.report, address);
	return end(&callback);
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	struct callback callback;

	begin(&callback, ctx, HELO);
	given(&callback, name);
	return end(&callback);
}

static sfsistat on_envelope(SMFICTX *ctx, enum stage stage, char **argv)
{
	struct callback callback;

	begin(&callback, ctx, stage);
	while (*argv != NULL)
		given(&callback, *argv++);
	return end(&callback);
}

static sfsistat on_mail(SMFICTX *ctx, char **argv)
{
	return on_envelope(ctx, MAIL, argv);
}

static sfsistat on_rcpt(SMFICTX *ctx, char **argv)
{
	return on_envelope(ctx, RCPT, argv);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	struct callback callback;

	begin(&callback, ctx, HEADER);
	given(&callback, name);
	given(&callback, value);
	return end(&callback);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *body, size_t length)
{
	struct callback callback;

	begin(&callback, ctx, BODY);
	put_text(&callback.report, body, length);
	if (scribbles(&callback))
		memset(body, 'x', length);
	return end(&callback);
}

static sfsistat on_unknown(SMFICTX *ctx, const char *line)
{
	struct callback callback;

	begin(&callback, ctx, UNKNOWN);
	put_string(&callback.report, line);
	return end(&callback);
}

#define PLAIN(name, stage) \
	static sfsistat name(SMFICTX *ctx) \
	{ \
		struct callback callback; \
		begin(&callback, ctx, stage); \
		return end(&callback); \
	}

PLAIN(on_data, DATA)
PLAIN(on_eoh, EOH)
PLAIN(on_eom, EOM)
PLAIN(on_abort, ABORT)
PLAIN(on_close, CLOSE)

/* Start. */

static struct smfiDesc filter = {
	.xxfi_name = "probe",
	.xxfi_version = SMFI_VERSION,
	.xxfi_flags = SMFI_CURR_ACTS,
	.xxfi_connect = on_connect,
	.xxfi_helo = on_helo,
	.xxfi_envfrom = on_mail,
	.xxfi_envrcpt = on_rcpt,
	.xxfi_header = on_header,
	.xxfi_eoh = on_eoh,
	.xxfi_body = on_body,
	.xxfi_eom = on_eom,
	.xxfi_abort = on_abort,
	.xxfi_close = on_close,
	.xxfi_unknown = on_unknown,
	.xxfi_data = on_data,
	.xxfi_negotiate = on_negotiate,
};

/* `without=helo,eoh`: callbacks that are not registered. */
static void leave_out(const char *list)
{
	while (*list != 0) {
		size_t length = strcspn(list, ",");
		switch (stage_named(list, length)) {
		case NEGOTIATE: filter.xxfi_negotiate = NULL; break;
		case CONNECT: filter.xxfi_connect = NULL; break;
		case HELO: filter.xxfi_helo = NULL; break;
		case MAIL: filter.xxfi_envfrom = NULL; break;
		case RCPT: filter.xxfi_envrcpt = NULL; break;
		case DATA: filter.xxfi_data = NULL; break;
		case HEADER: filter.xxfi_header = NULL; break;
		case EOH: filter.xxfi_eoh = NULL; break;
		case BODY: filter.xxfi_body = NULL; break;
		case EOM: filter.xxfi_eom = NULL; break;
		case ABORT: filter.xxfi_abort = NULL; break;
		case CLOSE: filter.xxfi_close = NULL; break;
		case UNKNOWN: filter.xxfi_unknown = NULL; break;
		case STAGES: break;
		}
		list += length + (list[length] == ',');
	}
}

static int remove_socket;

static void options(int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		if (value == NULL)
			die(argv[i]);
		*value++ = 0;
		if (strcmp(argv[i], "version") == 0)
			filter.xxfi_version = (int) strtol(value, NULL, 0);
		else if (strcmp(argv[i], "flags") == 0)
			filter.xxfi_flags = strtoul(value, NULL, 0);
		else if (strcmp(argv[i], "without") == 0)
			leave_out(value);
		else if (strcmp(argv[i], "timeout") == 0)
			smfi_settimeout(atoi(value));
		else if (strcmp(argv[i], "debug") == 0)
			smfi_setdbg(atoi(value));
		else if (strcmp(argv[i], "datasize") == 0)
			smfi_setmaxdatasize((size_t) strtoul(value, NULL, 0));
		else if (strcmp(argv[i], "forgetful") == 0)
			forgetful = atoi(value);
		else if (strcmp(argv[i], "remove") == 0)
			remove_socket = atoi(value);
		else
			die(argv[i]);
	}
}

static void connect_control(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	control = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(control, (struct sockaddr *) &address, sizeof address) != 0)
		die(path);
}

/* The library catches these in a thread of its own, which ours must not be in the way of. */
static void start_reading(void)
{
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, read_control, NULL) != 0)
		die("thread");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(int argc, char **argv)
{
	char nothing[] = "";

	if (argc < 3) {
		fprintf(stderr, "usage: probe CONTROL SOCKET [NAME=VALUE]...\n");
		return 2;
	}
	openlog("probe", LOG_PERROR, LOG_MAIL);
	options(argc, argv);
	connect_control(argv[1]);
	current = read_script("none", nothing);
	if (smfi_setconn(argv[2]) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS)
		return 5;
	if (smfi_opensocket(remove_socket) != MI_SUCCESS)
		return 6;
	tell_line("probe", "listening", 0);
	start_reading();
	int result = smfi_main();
	tell_line("probe", "main", result);
	return result == MI_SUCCESS ? 0 : 1;
}
