/* Preloaded into a process, makes the n-th call that changes something below one folder fail, or be its last.
 *
 * It sits between the process and libc, so it also sees what safetensors, tokenizers and SQLite do. Counted are
 * open, write, sync, close (of what was opened for writing), rename, mkdir, unlink, rmdir and truncate; a write
 * that fails has written half of its bytes before. Build: cc -shared -fPIC -O1 -o faults.so faults.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ONCE, CRASH, FOR_GOOD };
enum { FILES = 4096, CRASHED = 99 };

static char folder[PATH_MAX];
static size_t folder_length;
static long calls, fail_at;
static int fail_with, mode;
static char watched[FILES], written[FILES];
static char *log_text;
static size_t log_left;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void faults_arm(const char *below, long at, int error, int how) {
    strncpy(folder, below, sizeof folder - 1);
    folder_length = strlen(folder);
    calls = 0, fail_at = at, fail_with = error, mode = how;
    memset(watched, 0, sizeof watched);
}

long faults_calls(void) { return calls; }

/* The names of all calls go to `text`, one letter each. */
void faults_record(char *text, size_t size) { log_text = text, log_left = size; }

static int below(const char *path) {
    return folder_length && path && !strncmp(path, folder, folder_length);
}

static int at_folder(int at, const char *path) {
    if (path && path[0] == '/') return below(path);
    return at >= 0 && at < FILES && watched[at];
}

static int file_watched(int file) { return file >= 0 && file < FILES && watched[file]; }

/* Whether this call is to fail; does not return where it is to crash
 * (but for a write, of which half is written first). */
static int fails(char letter) {
    calls++;
    if (log_text && log_left) *log_text++ = letter, log_left--;
    if (!fail_at || calls < fail_at || (calls > fail_at && mode != FOR_GOOD)) return 0;
    if (mode == CRASH && letter != 'w') _exit(CRASHED);
    errno = fail_with;
    return 1;
}

static ssize_t after_half(ssize_t written_bytes) {
    (void)written_bytes;
    if (mode == CRASH) _exit(CRASHED);
    errno = fail_with;
    return -1;
}

static int opened(int file, int is_below, int flags) {
    if (file >= 0 && file < FILES) {
        watched[file] = (char)is_below;
        written[file] = is_below && (flags & O_ACCMODE) != O_RDONLY;
    }
    return file;
}

#define OPEN(name, function)                                                  \
    int name(const char *path, int flags, ...) {                              \
        va_list rest;                                                         \
        va_start(rest, flags);                                                \
        mode_t permissions = va_arg(rest, mode_t);                            \
        va_end(rest);                                                         \
        int is_below = below(path);                                           \
        if (is_below && fails('o')) return -1;                                \
        return opened(REAL(function)(path, flags, permissions), is_below, flags); \
    }
OPEN(open, open)
OPEN(open64, open64)

#define OPENAT(name)                                                          \
    int name(int at, const char *path, int flags, ...) {                      \
        va_list rest;                                                         \
        va_start(rest, flags);                                                \
        mode_t permissions = va_arg(rest, mode_t);                            \
        va_end(rest);                                                         \
        int is_below = at_folder(at, path);                                   \
        if (is_below && fails('o')) return -1;                                \
        return opened(REAL(name)(at, path, flags, permissions), is_below, flags); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *bytes, size_t count) {
    if (file_watched(file) && fails('w'))
        return after_half(REAL(write)(file, bytes, count / 2));
    return REAL(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    if (file_watched(file) && fails('w'))
        return after_half(REAL(pwrite)(file, bytes, count / 2, at));
    return REAL(pwrite)(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    if (file_watched(file) && fails('w'))
        return after_half(REAL(pwrite64)(file, bytes, count / 2, at));
    return REAL(pwrite64)(file, bytes, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (file_watched(file) && fails('w'))
        return after_half(REAL(write)(file, parts[0].iov_base, parts[0].iov_len / 2));
    return REAL(writev)(file, parts, count);
}

ssize_t sendfile(int to, int from, off_t *at, size_t count) {
    if (file_watched(to) && fails('w')) return after_half(REAL(sendfile)(to, from, at, count / 2));
    return REAL(sendfile)(to, from, at, count);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t count) {
    if (file_watched(to) && fails('w')) return after_half(REAL(sendfile64)(to, from, at, count / 2));
    return REAL(sendfile64)(to, from, at, count);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t count, unsigned flags) {
    if (file_watched(to) && fails('w'))
        return after_half(REAL(copy_file_range)(from, at, to, to_at, count / 2, flags));
    return REAL(copy_file_range)(from, at, to, to_at, count, flags);
}

int close(int file) {
    int counted = file_watched(file) && written[file];
    if (file >= 0 && file < FILES) watched[file] = written[file] = 0;
    int done = REAL(close)(file);
    return counted && fails('c') ? -1 : done;
}

int fsync(int file) { return file_watched(file) && fails('s') ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return file_watched(file) && fails('s') ? -1 : REAL(fdatasync)(file); }
int ftruncate(int file, off_t size) { return file_watched(file) && fails('t') ? -1 : REAL(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return file_watched(file) && fails('t') ? -1 : REAL(ftruncate64)(file, size); }
int rename(const char *from, const char *to) { return below(to) && fails('r') ? -1 : REAL(rename)(from, to); }
int mkdir(const char *path, mode_t permissions) { return below(path) && fails('m') ? -1 : REAL(mkdir)(path, permissions); }
int unlink(const char *path) { return below(path) && fails('u') ? -1 : REAL(unlink)(path); }
int rmdir(const char *path) { return below(path) && fails('d') ? -1 : REAL(rmdir)(path); }

int renameat(int at, const char *from, int to_at, const char *to) {
    return at_folder(to_at, to) && fails('r') ? -1 : REAL(renameat)(at, from, to_at, to);
}

int mkdirat(int at, const char *path, mode_t permissions) {
    return at_folder(at, path) && fails('m') ? -1 : REAL(mkdirat)(at, path, permissions);
}

int unlinkat(int at, const char *path, int flags) {
    return at_folder(at, path) && fails('u') ? -1 : REAL(unlinkat)(at, path, flags);
}
