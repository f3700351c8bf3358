/*
 * A disk that fails on command: LD_PRELOADed into a process, it counts the writes and the syncs of
 * files under some directories, and interferes with the n-th of them.
 *
 *   DISK_SHIM=DIRECTORY=CONTROL[:DIRECTORY=CONTROL...]
 *
 * CONTROL is a file that holds one `struct control`; the test maps it too, and changes it at any
 * time. A sync is what must not return before the data is on the disk: fsync, fdatasync, and any
 * write through a descriptor opened with O_DSYNC or O_SYNC, which is how LMDB writes its meta page.
 *
 * Left alone: files elsewhere, memory maps, names (rename, unlink), reads.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* Keep in step with disk_shim.py. */
enum act {
    NOTHING, KILL_BEFORE, KILL_AFTER, CUT_BEFORE, CUT_AFTER, FAIL, LIE, DELAY, TEAR, STOP_SHORT
};
enum target { SYNCS, WRITES, PAGES, METAS };

enum { META_BYTES = 2 * 4096 }; /* the two meta pages that an LMDB file begins with */

struct control {
    uint64_t syncs;         /* counted here */
    uint64_t writes;        /* counted here; a write that is a sync is not one of them */
    uint64_t pages;         /* counted here: writes behind the meta pages of an LMDB file */
    uint64_t metas;         /* counted here: writes of these */
    uint64_t written_bytes; /* counted here */
    uint64_t target;        /* which calls `first` and `last` number */
    uint64_t first;         /* act at the calls with these numbers, from 1 */
    uint64_t last;
    uint64_t act;
    /* FAIL: errno; DELAY: microseconds; TEAR: bytes written before the kill; STOP_SHORT: before the
       call returns, as on a disk that has no room for more */
    uint64_t value;
};

struct rule {
    const char *directory;
    size_t length;
    struct control *control;
};

enum { RULES_MAX = 16 };

static struct rule rules[RULES_MAX];
static int rule_count;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);

static void refuse(const char *why, const char *what)
{
    fprintf(stderr, "disk shim: %s: %s\n", why, what);
    _exit(99);
}

__attribute__((constructor)) static void set_up(void)
{
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_write = dlsym(RTLD_NEXT, "write");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_pwritev = dlsym(RTLD_NEXT, "pwritev");
    const char *text = getenv("DISK_SHIM");
    char *rest = text ? strdup(text) : NULL;
    for (char *part; (part = strsep(&rest, ":")) != NULL;) {
        char *equals = strchr(part, '=');
        if (equals == NULL || rule_count == RULES_MAX)
            refuse("DISK_SHIM cannot be understood", part);
        *equals = '\0';
        int descriptor = open(equals + 1, O_RDWR | O_CLOEXEC);
        void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED,
                         descriptor, 0);
        if (descriptor < 0 || map == MAP_FAILED)
            refuse("cannot map", equals + 1);
        close(descriptor);
        rules[rule_count++] = (struct rule){part, strlen(part), map};
    }
}

/* The rule for the file behind a descriptor, NULL if it is none of our business. */
static const struct rule *rule_of(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (rule_count == 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return NULL;
    path[length] = '\0';
    for (const struct rule *rule = rules; rule < rules + rule_count; rule++)
        if (strncmp(path, rule->directory, rule->length) == 0 &&
            (path[rule->length] == '/' || path[rule->length] == '\0'))
            return rule;
    return NULL;
}

static int is_synchronous(int descriptor)
{
    int flags = fcntl(descriptor, F_GETFL);
    return flags >= 0 && (flags & O_DSYNC);
}

static uint64_t count(uint64_t *counter)
{
    return __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

/* What is to be done at the call with this number. */
static enum act act_at(const struct control *control, enum target target, uint64_t number)
{
    uint64_t act = __atomic_load_n(&control->act, __ATOMIC_SEQ_CST);
    if (control->target != target || number < control->first || number > control->last)
        return NOTHING;
    return (enum act)act;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    pause();
}

/* Let the file system forget what it has not written: a power cut. ext4 only. */
static void cut_power(const struct rule *rule)
{
    uint32_t without_flush = 2; /* EXT4_GOING_FLAGS_NOLOGFLUSH */
    int descriptor = open(rule->directory, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0 || ioctl(descriptor, _IOR('X', 125, uint32_t), &without_flush) != 0)
        refuse("cannot cut the power of", rule->directory);
    die();
}

/* Do what comes before a call; returns whether the call itself is to be made. */
static int before(const struct rule *rule, enum act act)
{
    switch (act) {
    case KILL_BEFORE:
        die();
        return 0;
    case CUT_BEFORE:
        cut_power(rule);
        return 0;
    case FAIL:
        errno = (int)rule->control->value;
        return 0;
    case DELAY:
        usleep((useconds_t)rule->control->value);
        return 1;
    default:
        return 1;
    }
}

static void after(const struct rule *rule, enum act act)
{
    if (act == KILL_AFTER)
        die();
    if (act == CUT_AFTER)
        cut_power(rule);
}

static int sync_with(int (*call)(int), int descriptor)
{
    const struct rule *rule = rule_of(descriptor);
    if (rule == NULL)
        return call(descriptor);
    enum act act = act_at(rule->control, SYNCS, count(&rule->control->syncs));
    if (!before(rule, act))
        return -1;
    int result = act == LIE ? 0 : call(descriptor);
    after(rule, act);
    return result;
}

int fsync(int descriptor)
{
    return sync_with(real_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    return sync_with(real_fdatasync, descriptor);
}

/* A write at `offset`, or where the descriptor stands if it is negative. */
static ssize_t write_real(int descriptor, const struct iovec *parts, int part_count, off_t offset)
{
    if (offset >= 0)
        return part_count == 1 ? real_pwrite(descriptor, parts->iov_base, parts->iov_len, offset)
                               : real_pwritev(descriptor, parts, part_count, offset);
    return part_count == 1 ? real_write(descriptor, parts->iov_base, parts->iov_len)
                           : real_writev(descriptor, parts, part_count);
}

/* The same write without its sync: through a second descriptor that is not O_DSYNC. */
static ssize_t write_lying(int descriptor, const struct iovec *parts, int part_count, off_t offset)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int other = open(path, O_WRONLY | O_CLOEXEC);
    if (other < 0 || offset < 0)
        refuse("cannot lie about", path);
    ssize_t result = write_real(other, parts, part_count, offset);
    close(other);
    return result;
}

/* Write the first so many bytes; of several parts, of the first one only. */
static ssize_t write_first(int descriptor, const struct iovec *parts, off_t offset, size_t bytes)
{
    struct iovec first = {parts->iov_base, bytes < parts->iov_len ? bytes : parts->iov_len};
    return write_real(descriptor, &first, 1, offset);
}

static ssize_t write_with(int descriptor, const struct iovec *parts, int part_count, off_t offset)
{
    const struct rule *rule = rule_of(descriptor);
    if (rule == NULL)
        return write_real(descriptor, parts, part_count, offset);
    struct control *control = rule->control;
    enum act act = is_synchronous(descriptor)
                       ? act_at(control, SYNCS, count(&control->syncs))
                       : act_at(control, WRITES, count(&control->writes));
    off_t begins_at = offset < 0 ? lseek(descriptor, 0, SEEK_CUR) : offset;
    enum act act_there = begins_at < META_BYTES
                             ? act_at(control, METAS, count(&control->metas))
                             : act_at(control, PAGES, count(&control->pages));
    if (act == NOTHING)
        act = act_there;
    if (!before(rule, act))
        return -1;
    if (act == TEAR || act == STOP_SHORT) {
        ssize_t written = write_first(descriptor, parts, offset, control->value);
        if (act == TEAR)
            die();
        return written;
    }
    ssize_t result = (act == LIE ? write_lying : write_real)(descriptor, parts, part_count, offset);
    if (result > 0)
        __atomic_add_fetch(&control->written_bytes, (uint64_t)result, __ATOMIC_SEQ_CST);
    after(rule, act);
    return result;
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    struct iovec part = {(void *)bytes, length};
    return write_with(descriptor, &part, 1, -1);
}

ssize_t writev(int descriptor, const struct iovec *parts, int part_count)
{
    return write_with(descriptor, parts, part_count, -1);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset)
{
    struct iovec part = {(void *)bytes, length};
    return write_with(descriptor, &part, 1, offset);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int part_count, off_t offset)
{
    return write_with(descriptor, parts, part_count, offset);
}

/* On 64 bits these are the same calls under other names. */
_Static_assert(sizeof(off_t) == 8, "64-bit offsets");

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off_t offset)
{
    return pwrite(descriptor, bytes, length, offset);
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int part_count, off_t offset)
{
    return pwritev(descriptor, parts, part_count, offset);
}
