/* Prints what the headers make: sizes, offsets, and, by the compiler's own check, types of functions. */
#include <libmilter/mfapi.h>
#include <stddef.h>
#include <stdio.h>

#define OFFSET(field) \
	printf("%s at %d, %d bytes\n", #field, (int) offsetof(struct smfiDesc, field), \
	       (int) sizeof(((struct smfiDesc *) 0)->field))

/* A wrong prototype does not compile. */
static int (*p_register)(struct smfiDesc) = smfi_register;
static int (*p_opensocket)(bool) = smfi_opensocket;
static int (*p_main)(void) = smfi_main;
static int (*p_setbacklog)(int) = smfi_setbacklog;
static int (*p_setdbg)(int) = smfi_setdbg;
static int (*p_settimeout)(int) = smfi_settimeout;
static int (*p_setconn)(char *) = smfi_setconn;
static int (*p_stop)(void) = smfi_stop;
static size_t (*p_setmaxdatasize)(size_t) = smfi_setmaxdatasize;
static int (*p_version)(unsigned int *, unsigned int *, unsigned int *) = smfi_version;
static char *(*p_getsymval)(SMFICTX *, char *) = smfi_getsymval;
static int (*p_setreply)(SMFICTX *, char *, char *, char *) = smfi_setreply;
static int (*p_setmlreply)(SMFICTX *, const char *, const char *, ...) = smfi_setmlreply;
static int (*p_addheader)(SMFICTX *, char *, char *) = smfi_addheader;
static int (*p_chgheader)(SMFICTX *, char *, int, char *) = smfi_chgheader;
static int (*p_insheader)(SMFICTX *, int, char *, char *) = smfi_insheader;
static int (*p_chgfrom)(SMFICTX *, char *, char *) = smfi_chgfrom;
static int (*p_addrcpt)(SMFICTX *, char *) = smfi_addrcpt;
static int (*p_addrcpt_par)(SMFICTX *, char *, char *) = smfi_addrcpt_par;
static int (*p_delrcpt)(SMFICTX *, char *) = smfi_delrcpt;
static int (*p_progress)(SMFICTX *) = smfi_progress;
static int (*p_replacebody)(SMFICTX *, unsigned char *, int) = smfi_replacebody;
static int (*p_quarantine)(SMFICTX *, char *) = smfi_quarantine;
static int (*p_setpriv)(SMFICTX *, void *) = smfi_setpriv;
static void *(*p_getpriv)(SMFICTX *) = smfi_getpriv;
static int (*p_setsymlist)(SMFICTX *, int, char *) = smfi_setsymlist;

/* So does one of a callback. */
static sfsistat c_connect(SMFICTX *c, char *h, _SOCK_ADDR *a) { (void) c; (void) h; (void) a; return SMFIS_CONTINUE; }
static sfsistat c_text(SMFICTX *c, char *t) { (void) c; (void) t; return SMFIS_CONTINUE; }
static sfsistat c_args(SMFICTX *c, char **t) { (void) c; (void) t; return SMFIS_CONTINUE; }
static sfsistat c_header(SMFICTX *c, char *n, char *v) { (void) c; (void) n; (void) v; return SMFIS_CONTINUE; }
static sfsistat c_plain(SMFICTX *c) { (void) c; return SMFIS_CONTINUE; }
static sfsistat c_body(SMFICTX *c, unsigned char *p, size_t n) { (void) c; (void) p; (void) n; return SMFIS_CONTINUE; }
static sfsistat c_unknown(SMFICTX *c, const char *t) { (void) c; (void) t; return SMFIS_CONTINUE; }
static sfsistat c_negotiate(SMFICTX *c, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
			    unsigned long *p0, unsigned long *p1, unsigned long *p2, unsigned long *p3)
{
	(void) c; (void) f0; (void) f1; (void) f2; (void) f3; (void) p0; (void) p1; (void) p2; (void) p3;
	return SMFIS_ALL_OPTS;
}

static struct smfiDesc filter = {
	"layout", SMFI_VERSION, SMFIF_NONE, c_connect, c_text,	c_args,	   c_args,  c_header,
	c_plain,  c_body,	c_plain,    c_plain,   c_plain, c_unknown, c_plain, c_negotiate,
};

int
main(void)
{
	unsigned int major, minor, patch;
	SMFICTX_PTR none = NULL;

	OFFSET(xxfi_name);
	OFFSET(xxfi_version);
	OFFSET(xxfi_flags);
	OFFSET(xxfi_connect);
	OFFSET(xxfi_helo);
	OFFSET(xxfi_envfrom);
	OFFSET(xxfi_envrcpt);
	OFFSET(xxfi_header);
	OFFSET(xxfi_eoh);
	OFFSET(xxfi_body);
	OFFSET(xxfi_eom);
	OFFSET(xxfi_abort);
	OFFSET(xxfi_close);
	OFFSET(xxfi_unknown);
	OFFSET(xxfi_data);
	OFFSET(xxfi_negotiate);
	printf("sizeof smfiDesc %d\n", (int) sizeof(struct smfiDesc));
	printf("sizeof sfsistat %d, _SOCK_ADDR %d\n", (int) sizeof(sfsistat), (int) sizeof(_SOCK_ADDR));
	printf("version %x: %d %d %d\n", SMFI_VERSION, (int) SM_LM_VRS_MAJOR(SMFI_VERSION),
	       (int) SM_LM_VRS_MINOR(SMFI_VERSION), (int) SM_LM_VRS_PLVL(SMFI_VERSION));

	/* And what was compiled against either can be called. */
	printf("register %d\n", p_register(filter));
	p_version(&major, &minor, &patch);
	printf("library %u.%u.%u\n", major, minor, patch);
	printf("without a connection: %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d\n", p_setreply(none, "550", NULL, NULL),
	       p_setmlreply(none, "550", NULL, "text", (char *) NULL), p_addheader(none, "n", "v"),
	       p_chgheader(none, "n", 1, "v"), p_insheader(none, 1, "n", "v"), p_chgfrom(none, "<>", NULL),
	       p_addrcpt(none, "<a@b>"), p_addrcpt_par(none, "<a@b>", NULL), p_delrcpt(none, "<a@b>"), p_progress(none),
	       p_replacebody(none, NULL, 0), p_quarantine(none, "x"), p_setpriv(none, NULL), p_setsymlist(none, 0, "x"),
	       p_getpriv(none) == NULL && p_getsymval(none, "j") == NULL);
	printf("settings: %d %d %d %d\n", p_setbacklog(5), p_setdbg(0), p_settimeout(10), p_setconn("inet:1@localhost"));
	printf("size %d %d\n", (int) p_setmaxdatasize(1), (int) p_setmaxdatasize(65535));
	return p_opensocket == NULL || p_main == NULL || p_stop == NULL;
}
