/* Defining a function with "..." is not possible in stable Rust: this walks the arguments, Rust does the rest. */
#include <stdarg.h>
#include <stddef.h>

#define LINES 32 /* MAXREPLIES */

__attribute__((visibility("hidden"))) extern int
tamis_setmlreply(void *ctx, const char *rcode, const char *xcode, const char **lines, size_t count);

__attribute__((visibility("hidden"))) int
tamis_setmlreply_walk(void *ctx, const char *rcode, const char *xcode, ...)
{
	const char *lines[LINES + 1]; /* one more, so that too many can be told */
	size_t count = 0;
	va_list arguments;

	va_start(arguments, xcode);
	while (count <= LINES && (lines[count] = va_arg(arguments, const char *)) != NULL)
		count++;
	va_end(arguments);
	return tamis_setmlreply(ctx, rcode, xcode, lines, count);
}
