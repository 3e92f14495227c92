/* Makes one call of the host fail. Loaded before libc (LD_PRELOAD), it stands in front of the calls by which Python,
   SQLite and the other libraries ask the kernel. What is to fail, and what was called, is in a file that the process
   and its children have in common: see shim.py, which declares the same structure. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { OFF, RECORD, FAIL };
enum { SHORT = -1, END = -2 };
#define NAME 12
#define PATH 244
#define CALLS 16384

struct call { char name[NAME]; char path[PATH]; };
struct state {
    _Atomic int mode;
    int fault; /* an errno, SHORT or END */
    long at;   /* the first call from this one on, counted from 0, that is `name`, fails */
    char name[NAME];
    int unused;
    _Atomic long count;
    _Atomic long hit; /* the number of the one that failed, counted from 1 */
    _Atomic int memory_mode;
    int memory_length; /* so many allocations fail, from the `memory_at`th on */
    long memory_at;
    _Atomic long memory_count;
    _Atomic long memory_hits;
    char prefix[256]; /* paths that begin so, and what is no file, count */
    struct call calls[CALLS];
};

static struct state *state;
static struct state nowhere;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("WCLAYER_FAULTS");
    state = &nowhere;
    if (name == NULL) return;
    int fd = syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = (void *)syscall(SYS_mmap, NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) state = at;
    syscall(SYS_close, fd);
}

static int starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* The path that a call is about; an empty one if it is about none. */
static void resolve(char *path, const char *name, int fd)
{
    path[0] = 0;
    if (name != NULL && name[0] == '/') {
        strncpy(path, name, PATH - 1);
        path[PATH - 1] = 0;
        return;
    }
    if (name == NULL && fd < 0) return;
    char link[32] = "/proc/self/cwd";
    if (fd >= 0) {
        char digits[12], *digit = digits + 11;
        *digit = 0;
        do *--digit = '0' + fd % 10; while (fd /= 10);
        strcpy(link, "/proc/self/fd/");
        strcat(link, digit);
    }
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH - 1);
    path[length < 0 ? 0 : length] = 0;
    if (name != NULL && name[0] && length > 0 && length + strlen(name) + 1 < PATH) {
        strcat(path, "/");
        strcat(path, name);
    }
}

/* What becomes of a call: 0, or the fault that it is to have. */
static int due(const char *what, const char *name, int fd)
{
    if (state == NULL || atomic_load(&state->mode) == OFF) return 0;
    int known = errno;
    char path[PATH];
    resolve(path, name, fd);
    errno = known;
    if (path[0] == '/' && !starts(path, state->prefix) && !starts(path, "/proc/") && !starts(path, "/dev/fuse"))
        return 0;
    if (path[0] == 0 && (name != NULL || fd >= 0)) return 0;
    long number = atomic_fetch_add(&state->count, 1);
    if (number < CALLS) {
        strncpy(state->calls[number].name, what, NAME - 1);
        memcpy(state->calls[number].path, path, PATH);
    }
    if (atomic_load(&state->mode) != FAIL || number < state->at || strcmp(what, state->name)) return 0;
    long none = 0;
    if (!atomic_compare_exchange_strong(&state->hit, &none, number + 1)) return 0;
    return state->fault;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, #name)

/* A call that returns -1 and sets errno. */
#define CALL(type, name, declared, given, what, path, fd) \
    type name declared \
    { \
        REAL(name); \
        int fault = due(what, path, fd); \
        if (fault > 0) { errno = fault; return (type)-1; } \
        return real given; \
    }

/* A call of which a part can be done, or nothing because the end is there. */
#define PART(name, declared, given, what, length) \
    ssize_t name declared \
    { \
        REAL(name); \
        int fault = due(what, NULL, fd); \
        if (fault > 0) { errno = fault; return -1; } \
        if (fault == END) return 0; \
        if (fault == SHORT) length = (length + 1) / 2; \
        return real given; \
    }

#define OPEN(name, declared, given, path, fd) \
    int name declared \
    { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
        int fault = due(flags & O_CREAT ? "create" : "open", path, fd); \
        if (fault > 0) { errno = fault; return -1; } \
        return real given; \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), path, -1)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), path, -1)
OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode), path, fd)
OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode), path, fd)

PART(read, (int fd, void *to, size_t length), (fd, to, length), "read", length)
PART(pread, (int fd, void *to, size_t length, off_t at), (fd, to, length, at), "read", length)
PART(pread64, (int fd, void *to, size_t length, off64_t at), (fd, to, length, at), "read", length)
PART(write, (int fd, const void *from, size_t length), (fd, from, length), "write", length)
PART(pwrite, (int fd, const void *from, size_t length, off_t at), (fd, from, length, at), "write", length)
PART(pwrite64, (int fd, const void *from, size_t length, off64_t at), (fd, from, length, at), "write", length)

/* Of several buffers a part: the first one, half of it. */
#define VECTOR(name, declared, given, what) \
    ssize_t name declared \
    { \
        REAL(name); \
        struct iovec half; \
        int fault = due(what, NULL, fd); \
        if (fault > 0) { errno = fault; return -1; } \
        if (fault == END) return 0; \
        if (fault == SHORT && count > 0) { \
            half = *parts; \
            half.iov_len = (half.iov_len + 1) / 2; \
            parts = &half; \
            count = 1; \
        } \
        return real given; \
    }

VECTOR(readv, (int fd, const struct iovec *parts, int count), (fd, parts, count), "read")
VECTOR(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), "write")
VECTOR(preadv64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags), (fd, parts, count, at, flags), "read")
VECTOR(pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags), (fd, parts, count, at, flags), "write")
VECTOR(preadv64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at), "read")
VECTOR(pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at), "write")

PART(copy_file_range, (int from, off64_t *source, int fd, off64_t *target, size_t length, unsigned int flags),
     (from, source, fd, target, length, flags), "copy", length)
PART(sendfile64, (int fd, int from, off64_t *at, size_t length), (fd, from, at, length), "copy", length)

CALL(int, fsync, (int fd), (fd), "sync", NULL, fd)
CALL(int, fdatasync, (int fd), (fd), "sync", NULL, fd)
CALL(int, syncfs, (int fd), (fd), "sync", NULL, fd)
CALL(int, ftruncate, (int fd, off_t size), (fd, size), "truncate", NULL, fd)
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), "truncate", NULL, fd)
CALL(int, truncate64, (const char *path, off64_t size), (path, size), "truncate", path, -1)
CALL(int, rename, (const char *from, const char *to), (from, to), "rename", to, -1)
CALL(int, renameat, (int from_fd, const char *from, int fd, const char *to), (from_fd, from, fd, to), "rename", to, fd)
CALL(int, renameat2, (int from_fd, const char *from, int fd, const char *to, unsigned int flags),
     (from_fd, from, fd, to, flags), "rename", to, fd)
CALL(int, link, (const char *from, const char *to), (from, to), "link", to, -1)
CALL(int, linkat, (int from_fd, const char *from, int fd, const char *to, int flags), (from_fd, from, fd, to, flags), "link", to, fd)
CALL(int, symlink, (const char *text, const char *to), (text, to), "symlink", to, -1)
CALL(int, symlinkat, (const char *text, int fd, const char *to), (text, fd, to), "symlink", to, fd)
CALL(int, unlink, (const char *path), (path), "unlink", path, -1)
CALL(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), "unlink", path, fd)
CALL(int, rmdir, (const char *path), (path), "unlink", path, -1)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), "mkdir", path, -1)
CALL(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), "mkdir", path, fd)
CALL(int, stat, (const char *path, struct stat *to), (path, to), "stat", path, -1)
CALL(int, stat64, (const char *path, struct stat64 *to), (path, to), "stat", path, -1)
CALL(int, lstat, (const char *path, struct stat *to), (path, to), "stat", path, -1)
CALL(int, lstat64, (const char *path, struct stat64 *to), (path, to), "stat", path, -1)
CALL(int, fstat, (int fd, struct stat *to), (fd, to), "fstat", NULL, fd)
CALL(int, fstat64, (int fd, struct stat64 *to), (fd, to), "fstat", NULL, fd)
CALL(int, fstatat, (int fd, const char *path, struct stat *to, int flags), (fd, path, to, flags), "stat", path, fd)
CALL(int, fstatat64, (int fd, const char *path, struct stat64 *to, int flags), (fd, path, to, flags), "stat", path, fd)
CALL(int, statvfs64, (const char *path, struct statvfs64 *to), (path, to), "stat", path, -1)
CALL(int, fstatvfs64, (int fd, struct statvfs64 *to), (fd, to), "fstat", NULL, fd)
CALL(int, fstatfs, (int fd, struct statfs *to), (fd, to), "fstat", NULL, fd)
CALL(int, access, (const char *path, int mode), (path, mode), "access", path, -1)
CALL(int, faccessat, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags), "access", path, fd)
CALL(ssize_t, readlink, (const char *path, char *to, size_t size), (path, to, size), "readlink", path, -1)
CALL(ssize_t, readlinkat, (int fd, const char *path, char *to, size_t size), (fd, path, to, size), "readlink", path, fd)
CALL(int, chmod, (const char *path, mode_t mode), (path, mode), "chmod", path, -1)
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), "chmod", NULL, fd)
CALL(int, fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, path, mode, flags), "chmod", path, fd)
CALL(int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group), "chown", NULL, fd)
CALL(int, utimensat, (int fd, const char *path, const struct timespec times[2], int flags), (fd, path, times, flags), "utime", path, fd)
CALL(int, futimens, (int fd, const struct timespec times[2]), (fd, times), "utime", NULL, fd)
CALL(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags), (fd, name, value, size, flags), "setxattr", NULL, fd)
CALL(int, setxattr, (const char *path, const char *name, const void *value, size_t size, int flags), (path, name, value, size, flags), "setxattr", path, -1)
CALL(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size), (fd, name, value, size), "getxattr", NULL, fd)
CALL(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t size), (path, name, value, size), "getxattr", path, -1)
CALL(int, flock, (int fd, int operation), (fd, operation), "lock", NULL, fd)
CALL(void *, mmap64, (void *at, size_t length, int protection, int flags, int fd, off64_t offset), (at, length, protection, flags, fd, offset), "mmap", fd < 0 ? "/" : NULL, fd)
CALL(int, pipe2, (int fds[2], int flags), (fds, flags), "pipe", NULL, -1)
CALL(pid_t, fork, (void), (), "fork", NULL, -1)

int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    REAL(posix_fallocate64);
    int fault = due("truncate", NULL, fd);
    return fault > 0 ? fault : real(fd, offset, length);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*body)(void *), void *argument)
{
    REAL(pthread_create);
    int fault = due("thread", NULL, -1);
    return fault > 0 ? fault : real(thread, how, body, argument);
}

/* The descriptor is free afterwards, whatever close says. */
int close(int fd)
{
    REAL(close);
    int fault = due("close", NULL, fd);
    int answer = real(fd);
    if (fault > 0) { errno = fault; return -1; }
    return answer;
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    int fault = due("opendir", path, -1);
    if (fault > 0) { errno = fault; return NULL; }
    return real(path);
}

DIR *fdopendir(int fd)
{
    REAL(fdopendir);
    int fault = due("opendir", NULL, fd);
    if (fault > 0) { errno = fault; return NULL; }
    return real(fd);
}

struct dirent64 *readdir64(DIR *directory)
{
    REAL(readdir64);
    int fault = due("readdir", NULL, dirfd(directory));
    if (fault > 0) { errno = fault; return NULL; }
    return real(directory);
}

int fcntl64(int fd, int what, ...)
{
    REAL(fcntl64);
    va_list more;
    va_start(more, what);
    void *argument = va_arg(more, void *);
    va_end(more);
    const char *name = what == F_DUPFD_CLOEXEC || what == F_DUPFD ? "dup" : what == F_SETLK || what == F_SETLKW ? "lock" : NULL;
    int fault = name == NULL ? 0 : due(name, NULL, fd);
    if (fault > 0) { errno = fault; return -1; }
    return real(fd, what, argument);
}

int ioctl(int fd, unsigned long what, ...)
{
    static int (*real)(int, unsigned long, ...);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "ioctl");
    va_list more;
    va_start(more, what);
    void *argument = va_arg(more, void *);
    va_end(more);
    int fault = due("ioctl", NULL, fd);
    if (fault > 0) { errno = fault; return -1; }
    return real(fd, what, argument);
}

/* Memory. */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static int is_exhausted(void)
{
    if (state == NULL || atomic_load(&state->memory_mode) == OFF) return 0;
    long number = atomic_fetch_add(&state->memory_count, 1);
    if (atomic_load(&state->memory_mode) != FAIL) return 0;
    if (number < state->memory_at || number >= state->memory_at + state->memory_length) return 0;
    atomic_fetch_add(&state->memory_hits, 1);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return is_exhausted() ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return is_exhausted() ? NULL : __libc_calloc(count, size); }
void *realloc(void *known, size_t size) { return is_exhausted() ? NULL : __libc_realloc(known, size); }
