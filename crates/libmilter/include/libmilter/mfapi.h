/*
 * The interface of libmilter, for filters in C.
 *
 * Written for Tamis from the protocol's description (docs/protocol.md, section 9); a program that was written for
 * Sendmail's libmilter compiles against either. MIT OR Apache-2.0.
 */

#ifndef _LIBMILTER_MFAPI_H
#define _LIBMILTER_MFAPI_H 1

/* Version of the library, which a filter names in xxfi_version. */
#ifndef SMFI_VERSION
# define SMFI_VERSION 0x01000001
#endif
#define SM_LM_VRS_MAJOR(version) (((version) & 0x7f000000) >> 24)
#define SM_LM_VRS_MINOR(version) (((version) & 0x007fff00) >> 8)
#define SM_LM_VRS_PLVL(version) ((version) & 0x0000007f)

#include <sys/types.h>
#include <sys/socket.h>

#include "libmilter/mfdef.h"

/* A program's own bool is left alone, and old C has none. The library looks at its lowest byte only. */
#if !defined(__cplusplus) && !defined(bool)
# if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L
#  include <stdbool.h>
# else
typedef int bool;
# endif
#endif

#ifndef LIBMILTER_API
# define LIBMILTER_API extern
#endif

#ifndef SM__P
# define SM__P(parameters) parameters
#endif

#ifndef _SOCK_ADDR
# define _SOCK_ADDR struct sockaddr
#endif

#define MI_SUCCESS 0
#define MI_FAILURE (-1)

/* A connection. There is nothing in it for programs. */
typedef struct smfi_str SMFICTX;
typedef struct smfi_str *SMFICTX_PTR;

/* What callbacks return. */
typedef int sfsistat;

#define SMFIS_CONTINUE 0
#define SMFIS_REJECT 1
#define SMFIS_DISCARD 2
#define SMFIS_ACCEPT 3
#define SMFIS_TEMPFAIL 4
#define SMFIS_NOREPLY 7
#define SMFIS_SKIP 8
#define SMFIS_ALL_OPTS 10

/* What a filter may do to a message: xxfi_flags, and the actions of the negotiation. */
#define SMFIF_NONE 0x00000000L
#define SMFIF_ADDHDRS 0x00000001L
#define SMFIF_CHGBODY 0x00000002L
#define SMFIF_MODBODY SMFIF_CHGBODY
#define SMFIF_ADDRCPT 0x00000004L
#define SMFIF_DELRCPT 0x00000008L
#define SMFIF_CHGHDRS 0x00000010L
#define SMFIF_QUARANTINE 0x00000020L
#define SMFIF_CHGFROM 0x00000040L
#define SMFIF_ADDRCPT_PAR 0x00000080L
#define SMFIF_SETSYMLIST 0x00000100L

/* All actions of a version. */
#define SMFI_V1_ACTS 0x0000000FL
#define SMFI_V2_ACTS 0x0000003FL
#define SMFI_CURR_ACTS 0x000001FFL

/* Stages at which macros can be asked for. */
#define SMFIM_NOMACROS (-1)
#define SMFIM_FIRST 0
#define SMFIM_CONNECT 0
#define SMFIM_HELO 1
#define SMFIM_ENVFROM 2
#define SMFIM_ENVRCPT 3
#define SMFIM_DATA 4
#define SMFIM_EOM 5
#define SMFIM_EOH 6
#define SMFIM_LAST 6

#if defined(__cplusplus)
extern "C" {
#endif

/* A filter: what it is called, what it may do, and its callbacks, any of which may be NULL. */
struct smfiDesc
{
	char *xxfi_name;
	int xxfi_version;
	unsigned long xxfi_flags;
	sfsistat (*xxfi_connect)(SMFICTX *, char *host, _SOCK_ADDR *address);
	sfsistat (*xxfi_helo)(SMFICTX *, char *name);
	sfsistat (*xxfi_envfrom)(SMFICTX *, char **sender_and_parameters);
	sfsistat (*xxfi_envrcpt)(SMFICTX *, char **recipient_and_parameters);
	sfsistat (*xxfi_header)(SMFICTX *, char *field, char *value);
	sfsistat (*xxfi_eoh)(SMFICTX *);
	sfsistat (*xxfi_body)(SMFICTX *, unsigned char *piece, size_t length);
	sfsistat (*xxfi_eom)(SMFICTX *);
	sfsistat (*xxfi_abort)(SMFICTX *);
	sfsistat (*xxfi_close)(SMFICTX *);
	sfsistat (*xxfi_unknown)(SMFICTX *, const char *command);
	sfsistat (*xxfi_data)(SMFICTX *);
	sfsistat (*xxfi_negotiate)(SMFICTX *, unsigned long, unsigned long, unsigned long, unsigned long,
				   unsigned long *, unsigned long *, unsigned long *, unsigned long *);
};
typedef struct smfiDesc smfiDesc_str;
typedef struct smfiDesc *smfiDesc_ptr;

/* Before smfi_main. */
LIBMILTER_API int smfi_register(struct smfiDesc);
LIBMILTER_API int smfi_setconn(char *where);
LIBMILTER_API int smfi_opensocket(bool remove_old);
LIBMILTER_API int smfi_settimeout(int seconds);
LIBMILTER_API int smfi_setbacklog(int connections);
LIBMILTER_API int smfi_setdbg(int level);
LIBMILTER_API int smfi_main(void);

/* At any time. */
LIBMILTER_API int smfi_stop(void);
LIBMILTER_API size_t smfi_setmaxdatasize(size_t bytes);
LIBMILTER_API int smfi_version(unsigned int *major, unsigned int *minor, unsigned int *patch_level);

/* In any callback. */
LIBMILTER_API char *smfi_getsymval(SMFICTX *, char *name);
LIBMILTER_API int smfi_setreply(SMFICTX *, char *code, char *enhanced_code, char *text);
LIBMILTER_API int smfi_setmlreply(SMFICTX *, const char *code, const char *enhanced_code, ...);
LIBMILTER_API int smfi_setpriv(SMFICTX *, void *);
LIBMILTER_API void *smfi_getpriv(SMFICTX *);

/* In xxfi_negotiate. */
LIBMILTER_API int smfi_setsymlist(SMFICTX *, int stage, char *names);

/* In xxfi_eom. */
LIBMILTER_API int smfi_progress(SMFICTX *);
LIBMILTER_API int smfi_addheader(SMFICTX *, char *field, char *value);
LIBMILTER_API int smfi_chgheader(SMFICTX *, char *field, int index, char *value);
LIBMILTER_API int smfi_insheader(SMFICTX *, int index, char *field, char *value);
LIBMILTER_API int smfi_chgfrom(SMFICTX *, char *sender, char *parameters);
LIBMILTER_API int smfi_addrcpt(SMFICTX *, char *recipient);
LIBMILTER_API int smfi_addrcpt_par(SMFICTX *, char *recipient, char *parameters);
LIBMILTER_API int smfi_delrcpt(SMFICTX *, char *recipient);
LIBMILTER_API int smfi_replacebody(SMFICTX *, unsigned char *piece, int length);
LIBMILTER_API int smfi_quarantine(SMFICTX *, char *reason);

#if defined(__cplusplus)
}
#endif

#endif /* _LIBMILTER_MFAPI_H */
