/* Nothing but the headers, twice. */
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <libmilter/mfapi.h>
