/*
 * The C library, Sendmail's libmilter or one that takes its place: libmilter SOCKET SCENARIO
 *
 * Built by `cargo xtask bench-peers` with: cc -O2 -o libmilter libmilter.c -lmilter
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

#define FOOTER "-- \r\nThis message was read by a program.\r\n"

enum scenario { ANSWERED, HEADER, FOOTERS, NO_REPLY, WAIT50, LOOK };

static enum scenario scenario;

/* What is kept of a message. */
struct message {
	unsigned char *body;
	size_t length;
	size_t room;
};

static struct message *message_of(SMFICTX *ctx)
{
	struct message *message = smfi_getpriv(ctx);
	if (message == NULL) {
		message = calloc(1, sizeof *message);
		if (message != NULL)
			smfi_setpriv(ctx, message);
	}
	return message;
}

static void forget(SMFICTX *ctx)
{
	struct message *message = smfi_getpriv(ctx);
	if (message != NULL) {
		free(message->body);
		free(message);
		smfi_setpriv(ctx, NULL);
	}
}

static sfsistat step(void)
{
	return scenario == NO_REPLY ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static sfsistat negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps, unsigned long f2,
    unsigned long f3, unsigned long *want_actions, unsigned long *want_steps, unsigned long *want_f2,
    unsigned long *want_f3)
{
	(void)ctx;
	(void)f2;
	(void)f3;
	const unsigned long no_reply = SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT |
	    SMFIP_NR_DATA | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY | SMFIP_NR_UNKN;
	*want_actions = 0;
	if (scenario == HEADER || scenario == LOOK)
		*want_actions = SMFIF_ADDHDRS;
	if (scenario == FOOTERS)
		*want_actions = SMFIF_CHGBODY;
	*want_actions &= actions;
	*want_steps = scenario == NO_REPLY ? steps & no_reply : 0;
	*want_f2 = 0;
	*want_f3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address)
{
	(void)ctx;
	(void)host;
	(void)address;
	return step();
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	(void)ctx;
	(void)name;
	return step();
}

static sfsistat on_envelope(SMFICTX *ctx, char **arguments)
{
	(void)ctx;
	(void)arguments;
	return step();
}

static sfsistat on_data(SMFICTX *ctx)
{
	(void)ctx;
	return step();
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	(void)ctx;
	(void)name;
	(void)value;
	return step();
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *piece, size_t length)
{
	if (scenario != LOOK && scenario != FOOTERS)
		return step();
	struct message *message = message_of(ctx);
	if (message == NULL)
		return SMFIS_TEMPFAIL;
	if (scenario == FOOTERS) {
		if (message->length + length > message->room) {
			size_t room = 2 * message->room + length;
			unsigned char *body = realloc(message->body, room);
			if (body == NULL)
				return SMFIS_TEMPFAIL;
			message->body = body;
			message->room = room;
		}
		memcpy(message->body + message->length, piece, length);
	}
	message->length += length;
	return SMFIS_CONTINUE;
}

static sfsistat look(SMFICTX *ctx)
{
	char text[32];
	struct message *message = message_of(ctx);
	if (message == NULL)
		return SMFIS_TEMPFAIL;
	snprintf(text, sizeof text, "%zu", message->length);
	return smfi_addheader(ctx, "X-Length", text) == MI_SUCCESS ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

static sfsistat add_footer(SMFICTX *ctx)
{
	struct message *message = message_of(ctx);
	if (message == NULL)
		return SMFIS_TEMPFAIL;
	/* The library cuts it into packets. */
	if (message->length > 0 && smfi_replacebody(ctx, message->body, message->length) != MI_SUCCESS)
		return SMFIS_TEMPFAIL;
	if (smfi_replacebody(ctx, (unsigned char *)FOOTER, sizeof FOOTER - 1) != MI_SUCCESS)
		return SMFIS_TEMPFAIL;
	return SMFIS_CONTINUE;
}

static sfsistat on_end_of_message(SMFICTX *ctx)
{
	sfsistat verdict = SMFIS_CONTINUE;
	switch (scenario) {
	case HEADER:
		if (smfi_addheader(ctx, "X-Scanned", "yes") != MI_SUCCESS)
			verdict = SMFIS_TEMPFAIL;
		break;
	case LOOK:
		verdict = look(ctx);
		break;
	case FOOTERS:
		verdict = add_footer(ctx);
		break;
	case WAIT50:
		usleep(50 * 1000);
		break;
	default:
		break;
	}
	forget(ctx);
	return verdict;
}

static sfsistat on_abort(SMFICTX *ctx)
{
	forget(ctx);
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	forget(ctx);
	return SMFIS_CONTINUE;
}

static int choose(const char *name)
{
	static const struct {
		const char *name;
		enum scenario scenario;
	} all[] = {
		{ "answered", ANSWERED }, { "header", HEADER }, { "footer", FOOTERS }, { "no-reply", NO_REPLY },
		{ "wait50", WAIT50 }, { "look", LOOK }, { "replace25", FOOTERS }, { "idle", ANSWERED },
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (strcmp(name, all[i].name) == 0) {
			scenario = all[i].scenario;
			return 0;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	char socket[512];
	struct smfiDesc filter = {
		.xxfi_name = "peer",
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGBODY,
		.xxfi_connect = on_connect,
		.xxfi_helo = on_helo,
		.xxfi_envfrom = on_envelope,
		.xxfi_envrcpt = on_envelope,
		.xxfi_header = on_header,
		.xxfi_eoh = on_data,
		.xxfi_body = on_body,
		.xxfi_eom = on_end_of_message,
		.xxfi_abort = on_abort,
		.xxfi_close = on_close,
		.xxfi_data = on_data,
		.xxfi_negotiate = negotiate,
	};
	if (argc != 3 || choose(argv[2]) != 0) {
		fprintf(stderr,
		    "usage: libmilter SOCKET answered|header|footer|no-reply|wait50|look|replace25|idle\n");
		return 2;
	}
	snprintf(socket, sizeof socket, "unix:%s", argv[1]);
	if (smfi_setconn(socket) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS)
		return 1;
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
